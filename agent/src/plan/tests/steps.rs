//! What comes from the machine.

use super::*;

#[test]
fn the_steps_follow_one_another() {
    let mut agent = Agent::running();
    assert_eq!(agent.step(), Some(Step::Fetch));
    let fetched = Outcome::Fetched { closure_bytes: 1, closure_paths: 1 };
    assert_eq!(agent.hears(Input::Done(fetched)), ["fetched"]);
    assert_eq!(agent.step(), Some(Step::Remember));
    assert_eq!(agent.hears(Input::Done(remembered())), ["activating"]);
    assert_eq!(agent.step(), Some(Step::Activate { closure: ClosureKind::Plain, previous: None }));
    assert_eq!(agent.hears(Input::Done(Outcome::Activated { generation: Some(1) })), ["activated"]);
    assert_eq!(agent.step(), Some(Step::Conclude(Conclusion::Succeeded)));
    let concluded = Outcome::Concluded { conclusion: Conclusion::Succeeded, output: output() };
    assert_eq!(agent.hears(Input::Done(concluded)), ["ended"]);
    assert_eq!(agent.step(), None);
    agent.answer_all();
    assert_eq!(agent.state.run, None);
    assert!(agent.state.knows(id(1)), "it is not begun again");
}

#[test]
fn each_failure_is_reported_with_what_is_true() {
    let at = |steps: usize| {
        let mut agent = Agent::running();
        let outcomes = [Outcome::Fetched { closure_bytes: 1, closure_paths: 1 }, remembered()];
        for outcome in outcomes.into_iter().take(steps) {
            agent.hears(Input::Done(outcome));
        }
        agent
    };
    let error = || "words".to_owned();
    let (unchanged, unknown) = (FailureOutcome::Unchanged, FailureOutcome::Unknown);
    let cases = [
        (0, Outcome::FetchFailed { error: error() }, FailureReason::FetchFailed, unchanged),
        (
            0,
            Outcome::Hindered { outcome: unchanged, error: error() },
            FailureReason::AgentError,
            unchanged,
        ),
        (
            1,
            Outcome::Hindered { outcome: unchanged, error: error() },
            FailureReason::AgentError,
            unchanged,
        ),
        (2, Outcome::Interrupted { error: error() }, FailureReason::Interrupted, unknown),
        (
            2,
            Outcome::ActivationFailed { exit_status: Some(1), outcome: unknown, error: error() },
            FailureReason::ActivationFailed,
            unknown,
        ),
    ];
    for (steps, outcome, reason, left) in cases {
        let mut agent = at(steps);
        let what = format!("{outcome:?}");
        assert_eq!(agent.hears(Input::Done(outcome)), ["failing"], "{what}");
        let conclusion = Conclusion::Failed { reason, outcome: left, error: error() };
        assert_eq!(agent.step(), Some(Step::Conclude(conclusion.clone())), "{what}");
        let done = Outcome::Concluded { conclusion, output: output() };
        assert_eq!(agent.hears(Input::Done(done)), ["ended"], "{what}");
        let last = agent.state.reports.back().expect("a report");
        assert_eq!(
            last.report,
            Report::Failed { reason, outcome: left, output: output(), error: error() }
        );
    }
}

#[test]
fn an_end_that_the_log_does_not_take_is_reported_as_lost_once() {
    let mut agent = Agent::running();
    agent.hears(Input::Done(Outcome::FetchFailed { error: String::new() }));
    let conclusion = Conclusion::Failed {
        reason: FailureReason::FetchFailed,
        outcome: FailureOutcome::Unchanged,
        error: String::new(),
    };
    agent.hears(Input::Done(Outcome::Concluded { conclusion, output: output() }));
    let code = Code::ReportOutOfOrder;
    let request_id = agent.state.reports[0].request_id;
    assert_eq!(agent.hears(Input::Refused { request_id, code }), ["answered", "lost"]);
    assert_eq!(agent.state.run, None);
    let request_id = agent.state.reports[0].request_id;
    assert_eq!(agent.hears(Input::Refused { request_id, code }), ["answered"]);
    // And where the log still says so in a later session, again.
    assert_eq!(agent.welcomed(None, Some(1)), ["lost"]);
}

#[test]
fn an_outcome_out_of_step_notes_nothing() {
    let mut agent = Agent::running();
    assert!(agent.hears(Input::Done(remembered())).is_empty());
    assert!(agent.hears(Input::Done(Outcome::Activated { generation: None })).is_empty());
    assert!(Agent::default().hears(Input::Done(remembered())).is_empty());
}

#[test]
fn the_end_is_told_after_the_output_and_reports_one_by_one() {
    let mut agent = Agent::running();
    agent.hears(Input::Output { bytes: 10 });
    agent.hears(Input::Done(Outcome::FetchFailed { error: String::new() }));
    let conclusion = Conclusion::Failed {
        reason: FailureReason::FetchFailed,
        outcome: FailureOutcome::Unchanged,
        error: String::new(),
    };
    let output = OutputDigest { blake3: Digest::of(b"0123456789abcde"), bytes: 15 };
    agent.hears(Input::Done(Outcome::Concluded { conclusion, output }));
    let reports = |agent: &Agent| {
        agent.does().iter().filter(|action| matches!(action, Action::Report(_))).count()
    };
    assert_eq!(reports(&agent), 0);
    agent.hears(Input::Output { bytes: 5 });
    let run = agent.state.run.as_mut().expect("it runs");
    run.acknowledge_to(10);
    assert_eq!((run.acknowledged, run.chunks.len()), (10, 1));
    assert_eq!(reports(&agent), 0);
    agent.state.run.as_mut().expect("it runs").acknowledge_to(15);
    assert_eq!(reports(&agent), 1);
}

#[test]
fn chunks_join_without_gap_and_only_some_are_under_way() {
    let mut agent = Agent::running();
    for _ in 0..20 {
        agent.hears(Input::Output { bytes: 7 });
    }
    let offsets: Vec<u64> = agent
        .does()
        .into_iter()
        .filter_map(|action| match action {
            Action::Output(_, chunk) => Some(chunk.offset),
            _ => None,
        })
        .collect();
    assert_eq!(offsets, (0..8).map(|n| n * 7).collect::<Vec<_>>());
    assert!(!agent.does().iter().any(|action| matches!(action, Action::Seal(..))));
}
