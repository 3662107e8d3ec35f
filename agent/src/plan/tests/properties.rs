//! What holds whatever comes.

use super::*;
use proptest::prelude::*;

/// Inputs of every kind, over a few deployments, so that they often meet.
fn any_input() -> impl Strategy<Value = (u8, u8, u8)> {
    (0..14_u8, 1..4_u8, 0..40_u8)
}

fn give(agent: &mut Agent, (kind, n, m): (u8, u8, u8)) {
    let n = u128::from(n);
    let request_id = match agent.state.reports.front() {
        Some(report) if m % 2 == 0 => report.request_id,
        _ => agent.state.waiting.as_ref().map_or(RequestId::new(Uuid::nil()), |w| w.claim),
    };
    let conclusion = match agent.step() {
        Some(Step::Conclude(conclusion)) => conclusion,
        _ => Conclusion::Succeeded,
    };
    match kind {
        0 => drop(agent.welcomed((m % 2 == 0).then_some(n), (m % 3 == 0).then_some(n + 1))),
        1 => drop(agent.hears_of(&[(n, requested())])),
        2 => drop(agent.hears_of(&[(9, superseded(n, n + 1)), (n + 1, requested())])),
        3 => drop(agent.hears_of(&[(9, started(n))])),
        4 => drop(agent.hears_of(&[(9, failed(n)), (10, cancelled(n + 1))])),
        5 => drop(agent.hears(Input::Claimed { deployment: id(n) })),
        6 => drop(agent.hears(Input::Acknowledged { request_id })),
        7 => drop(agent.hears(Input::Refused { request_id, code: Code::ReportOutOfOrder })),
        8 => drop(agent.hears(Input::Output { bytes: u64::from(m) })),
        9 => {
            let fetched = Outcome::Fetched { closure_bytes: 1, closure_paths: 1 };
            agent.hears(Input::Done(fetched));
        }
        10 => drop(agent.hears(Input::Done(remembered()))),
        11 => drop(agent.hears(Input::Done(Outcome::Activated { generation: Some(1) }))),
        12 => {
            let concluded = Outcome::Concluded { conclusion, output: output() };
            agent.hears(Input::Done(concluded));
        }
        _ => drop(agent.hears(Input::Done(Outcome::Interrupted { error: String::new() }))),
    }
}

proptest! {
    #[test]
    fn whatever_comes_nothing_is_begun_twice_and_the_journal_says_it_all(
        inputs in proptest::collection::vec(any_input(), 0..80),
    ) {
        let mut agent = Agent::default();
        let mut begun = std::collections::HashSet::new();
        for input in inputs {
            let ran = agent.state.run.as_ref().map(|run| run.assignment.deployment);
            give(&mut agent, input);
            let runs = agent.state.run.as_ref().map(|run| run.assignment.deployment);
            if let Some(runs) = runs.filter(|runs| Some(*runs) != ran) {
                prop_assert_eq!(ran, None, "one at a time");
                prop_assert!(begun.insert(runs), "begun twice");
            }
            // A restarted agent does exactly what this one would.
            let written = serde_json::to_string(&agent.state).expect("JSON");
            let read: State = serde_json::from_str(&written).expect("JSON");
            prop_assert_eq!(&read, &agent.state);
            let actions = agent.does();
            let claims = actions.iter().filter(|a| matches!(a, Action::Claim { .. })).count();
            let steps = actions.iter().filter(|a| matches!(a, Action::Work(..))).count();
            prop_assert!(claims + steps <= 1, "{:?}", actions);
        }
    }
}
