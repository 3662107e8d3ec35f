use crate::support::*;
use futures_util::future::join_all;
use ledger_core::event::{self, Digest};
use ledger_core::{
    Actor, Annex, Command, NewEvent, Position, Rejection, StreamId, Version, limits,
};
use ledger_store::{Expectation, WriteError};

pub(super) async fn positions_are_gapless_across_refused_writes(place: &Place) {
    let log = place.open().await;
    write(&log, create_workspace()).await;
    for n in 1..=20 {
        assert!(matches!(log.write(create_workspace()).await, Err(WriteError::Rejected(_))));
        let stale = Expectation { stream: StreamId::Node(node()), version: Version(1_000) };
        let conflict = log.write(ledger_store::Write { expect: vec![stale], ..one_event() }).await;
        assert!(matches!(conflict, Err(WriteError::Conflict { .. })));
        assert_eq!(positions(log.write(one_event()).await), (n + 1, n + 1));
    }
    assert_eq!(read_all(&log).await.len(), 21);
}

pub(super) async fn a_refused_request_leaves_its_batch_alone(place: &Place) {
    let log = place.open_at(ManualClock::ticking()).await;
    write(&log, create_workspace()).await;
    let stale = Expectation { stream: StreamId::Node(node()), version: Version(9) };
    let verdicts = join_all([
        log.write(one_event()),
        log.write(create_workspace()),
        log.write(ledger_store::Write { expect: vec![stale], ..one_event() }),
        log.write(one_event()),
    ])
    .await;
    let verdicts: Vec<_> = verdicts.into_iter().collect();
    let [first, rejected, conflict, last] = <[_; 4]>::try_from(verdicts).unwrap();
    assert_eq!(positions(first), (2, 2));
    let exists = Rejection::WorkspaceExists { workspace: workspace() };
    assert!(matches!(rejected, Err(WriteError::Rejected(r)) if r == exists));
    assert!(matches!(conflict, Err(WriteError::Conflict { actual: Version(1), .. })));
    assert_eq!(positions(last), (3, 3));
    let records = read_all(&log).await;
    assert_eq!(records[1].recorded_at, records[2].recorded_at, "they were not one batch");
}

pub(super) async fn later_requests_of_a_batch_see_earlier_ones(place: &Place) {
    let log = place.open_at(ManualClock::ticking()).await;
    let verdicts = join_all([
        log.write(create_workspace()),
        log.write(connect(1)),
        log.write(create_workspace()),
    ])
    .await;
    assert!(verdicts[0].is_ok() && verdicts[1].is_ok());
    assert!(matches!(verdicts[2], Err(WriteError::Rejected(_))));
    let records = read_all(&log).await;
    assert!(records.iter().all(|r| r.recorded_at == records[0].recorded_at));
}

pub(super) async fn a_stream_that_is_written_must_have_the_expected_version(place: &Place) {
    let log = place.open().await;
    let stream = StreamId::Node(node());
    let expecting = |version| ledger_store::Write {
        expect: vec![Expectation { stream: stream.clone(), version: Version(version) }],
        ..one_event()
    };
    assert_eq!(positions(log.write(expecting(0)).await), (1, 1));
    assert!(matches!(
        log.write(expecting(0)).await,
        Err(WriteError::Conflict { stream: s, expected: Version(0), actual: Version(1) }) if s == stream
    ));
    // Of two that expect the same, one wins.
    let verdicts = join_all([log.write(expecting(1)), log.write(expecting(1))]).await;
    assert!(verdicts[0].is_ok());
    assert!(matches!(verdicts[1], Err(WriteError::Conflict { actual: Version(2), .. })));
}

pub(super) async fn a_stream_that_is_only_read_must_have_the_expected_version(place: &Place) {
    let log = place.open().await;
    write(&log, create_workspace()).await;
    let read = StreamId::Workspace(workspace());
    for (version, holds) in [(1, true), (0, false), (2, false)] {
        let expectation = Expectation { stream: read.clone(), version: Version(version) };
        let result =
            log.write(ledger_store::Write { expect: vec![expectation], ..one_event() }).await;
        assert_eq!(result.is_ok(), holds, "version {version}");
    }
    // A stream that is not remembered but looked up.
    let (activation, id) = activation([]);
    write(&log, activation).await;
    for (version, holds) in [(1, true), (0, false)] {
        let stream = StreamId::Activation(id);
        let expectation = Expectation { stream, version: Version(version) };
        let result =
            log.write(ledger_store::Write { expect: vec![expectation], ..one_event() }).await;
        assert_eq!(result.is_ok(), holds, "version {version} of an activation");
    }
}

pub(super) async fn an_activation_is_one_append_over_all_its_agents(place: &Place) {
    const N_AGENTS: usize = 50_000;
    let log = place.open().await;
    write(&log, create_workspace()).await;
    write(&log, register(0..N_AGENTS)).await;
    let (activation, id) = activation(0..N_AGENTS);
    // Its neighbours in the queue neither wait for it in vain nor join it.
    let (before, activated, after) =
        tokio::join!(log.write(one_event()), log.write(activation), log.write(one_event()));
    let first = N_AGENTS as u64 + 2;
    assert_eq!(positions(before), (first, first));
    assert_eq!(positions(activated), (first + 1, first + 1 + N_AGENTS as u64));
    assert_eq!(positions(after), (first + 2 + N_AGENTS as u64, first + 2 + N_AGENTS as u64));
    let requested = log.read_stream(&StreamId::Activation(id), Version(1), 10).await.unwrap();
    assert_eq!(requested.len(), 1);
    let last = StreamId::Agent(workspace(), agent(N_AGENTS - 1));
    let stream = log.read_stream(&last, Version(1), 10).await.unwrap();
    let types: Vec<&str> = stream.iter().map(|r| r.type_name.as_str()).collect();
    assert_eq!(types, ["AgentRegistered", "DeploymentRequested"]);
    assert_eq!(stream[1].causation_id, Some(requested[0].event_id));
    assert_eq!(read_all(&log).await.len(), 2 * N_AGENTS + 4);
}

pub(super) async fn a_refused_activation_appends_nothing(place: &Place) {
    let log = place.open().await;
    write(&log, create_workspace()).await;
    write(&log, register(0..10)).await;
    let (activation, id) = activation(0..11);
    let unknown = Rejection::AgentNotFound { agents: vec![agent(10)] };
    let result = log.write(activation).await;
    assert!(matches!(result, Err(WriteError::Rejected(r)) if r == unknown));
    assert_eq!(*log.head().borrow(), Position(11));
    assert!(log.read_stream(&StreamId::Activation(id), Version(1), 1).await.unwrap().is_empty());
}

pub(super) async fn what_is_too_large_is_refused(place: &Place) {
    let log = place.open().await;
    let too_large = |result| assert!(matches!(result, Err(WriteError::TooLarge { .. })));
    let long = "\u{1}".repeat(limits::TEXT_CHARS_MAX);
    // Each control character takes six bytes: more than an annex may have.
    let annex = Annex { description: Some(long.clone()), error: Some(long), ..Annex::default() };
    too_large(log.write(events(vec![created("a").with_annex(annex)])).await);
    let scripts = (0..3_000).map(|n| (system(n), store_path(n))).collect();
    let large = event::ActivationRequested {
        workspace: workspace(),
        spec_digest: Digest::of(b""),
        agents: 0,
        rollback_scripts: scripts,
        ci: None,
    };
    let payload = NewEvent::new(StreamId::Node(node()), large);
    too_large(log.write(events(vec![payload.clone()])).await);
    let many = vec![created("a"); 2 * limits::ACTIVATION_AGENTS_MAX + 2];
    too_large(log.write(events(many)).await);
    for id in [String::new(), "x".repeat(129)] {
        let nobody = Actor { id, ..actor() };
        too_large(log.write(ledger_store::Write { actor: nobody, ..one_event() }).await);
    }
    assert_eq!(*log.head().borrow(), Position(0));
    assert_eq!(positions(log.write(one_event()).await), (1, 1));
    // Also when it is found late, in the middle of a batch: its neighbours stand.
    for at in [0, 63, 64, 199] {
        let large =
            (0..200).map(|n| if n == at { payload.clone() } else { created(&format!("w{n}")) });
        let before = log.head().borrow().0;
        let (first, large, last) = tokio::join!(
            log.write(one_event()),
            log.write(events(large.collect())),
            log.write(one_event())
        );
        too_large(large);
        assert_eq!(positions(first), (before + 1, before + 1));
        assert_eq!(positions(last), (before + 2, before + 2));
    }
}

pub(super) async fn a_command_without_effect_appends_nothing(place: &Place) {
    let log = place.open().await;
    let stop = command(Command::StopNode { node: node() });
    let written = write(&log, stop).await;
    assert_eq!((written.positions, written.repeated), (None, false));
    assert_eq!(*log.head().borrow(), Position(0));
}

pub(super) async fn what_a_refused_request_would_have_begun_is_not_believed(place: &Place) {
    let log = place.open().await;
    write(&log, create_workspace()).await;
    let (activation, id) = activation([]);
    write(&log, activation).await;
    let stream = StreamId::Activation(id);
    let to_it = NewEvent { stream: stream.clone(), ..one() };
    let nothing = event::AnnexErased { position: Position(1) };
    let no_annex = vec![to_it.clone(), NewEvent::new(StreamId::Node(node()), nothing)];
    let long = "\u{1}".repeat(limits::TEXT_CHARS_MAX);
    let annex = Annex { description: Some(long.clone()), error: Some(long), ..Annex::default() };
    let too_large = vec![to_it, one().with_annex(annex)];
    for refused in [no_annex, too_large] {
        for (version, holds) in [(1, true), (0, false)] {
            // A batch before it, so that it may be judged without a question.
            write(&log, one_event()).await;
            let expectation = Expectation { stream: stream.clone(), version: Version(version) };
            let (refused, read) = tokio::join!(
                log.write(events(refused.clone())),
                log.write(ledger_store::Write { expect: vec![expectation], ..one_event() }),
            );
            assert!(
                matches!(refused, Err(WriteError::NoAnnex { .. } | WriteError::TooLarge { .. })),
                "{refused:?}"
            );
            match read {
                Ok(_) => assert!(holds, "version {version}"),
                Err(WriteError::Conflict { actual, .. }) => {
                    assert_eq!((actual, holds), (Version(1), false));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
