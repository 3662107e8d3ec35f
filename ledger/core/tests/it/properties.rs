//! What holds of every history.

use crate::decisions::{self, Ledger};
use crate::samples::{self, id, of};
use ledger_core::ids::*;
use ledger_core::{Command, Event, State, StreamId, Timestamp};
use proptest::prelude::*;

/// One of the samples, with another deployment, on any stream.
fn any_event() -> impl Strategy<Value = (StreamId, EventId, Event)> {
    let samples = samples::all();
    let streams: Vec<StreamId> = samples.iter().map(|(_, stream, _)| stream.clone()).collect();
    (0..samples.len(), 0..streams.len(), 0u32..4, 0u32..4, any::<bool>()).prop_map(
        move |(sample, stream, event_id, deployment, home)| {
            let (_, own, event) = &samples[sample];
            // Deployments 0 to 3 are the ids of the first four events.
            let text = String::from_utf8(event.encode()).expect("JSON");
            let text = text.replace(&id(5), &id(deployment)).replace(&id(6), &id(deployment + 1));
            let event = Event::decode(event.type_name(), text.as_bytes()).expect("same shape");
            let stream = if home { own } else { &streams[stream] };
            (stream.clone(), of(&id(event_id)), event)
        },
    )
}

fn fold(mut state: State, events: &[(StreamId, EventId, Event)]) -> State {
    for (n, (stream, event_id, event)) in events.iter().enumerate() {
        state.evolve(stream, *event_id, Timestamp::from_micros(n as i64), event);
    }
    state
}

proptest! {
    #[test]
    fn folding_on_equals_folding_at_once(
        a in prop::collection::vec(any_event(), 0..60),
        b in prop::collection::vec(any_event(), 0..60),
    ) {
        let whole: Vec<_> = a.iter().chain(&b).cloned().collect();
        // The moments differ, and only the last one is kept.
        let mut halves = fold(fold(State::default(), &a), &b);
        let mut whole = fold(State::default(), &whole);
        for state in [&mut halves, &mut whole] {
            state.last_recorded_at = None;
            state.nodes.clear();
        }
        prop_assert_eq!(halves, whole);
    }

    #[test]
    fn no_events_make_the_fold_panic_and_ends_are_kept_in_bounds(
        events in prop::collection::vec(any_event(), 0..300),
    ) {
        let state = fold(State::default(), &events);
        for workspace in state.workspaces.values() {
            for agent in workspace.agents.values() {
                prop_assert!(agent.ended.len() <= ledger_core::limits::ENDED_DEPLOYMENTS_KEPT);
                // No deployment both waits and runs.
                if let (Some(pending), Some(running)) = (&agent.pending, &agent.running) {
                    prop_assert_ne!((pending.id, pending.index), (running.deployment.id, running.deployment.index));
                }
            }
        }
    }

    #[test]
    fn no_payload_makes_decoding_panic(
        type_name in prop::sample::select(Event::TYPE_NAMES),
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(event) = Event::decode(type_name, &payload) {
            prop_assert_eq!(Event::decode(type_name, &event.encode()).expect("its own bytes"), event);
        }
    }

    #[test]
    fn event_ids_differ_and_keep_the_order_of_time(a in any::<u128>(), b in 0u32..1_000, c in 0u32..1_000) {
        let request = RequestId::new(uuid::Uuid::from_u128(a));
        let (first, second) = (EventId::derive(request, b), EventId::derive(request, c));
        prop_assert_eq!(first == second, b == c);
        prop_assert_eq!(&first.bytes()[..6], &request.bytes()[..6]);
        prop_assert_eq!(first.uuid().get_version_num(), 7);
    }
}

/// A script of commands over two agents, each able to hit or miss.
fn any_command() -> impl Strategy<Value = Command> {
    (0u8..8, prop::sample::select(vec!["web", "db"]), 0u32..12, 1u32..5)
        .prop_map(|(kind, name, n, activation)| decisions::command(kind, name, n, activation))
}

proptest! {
    /// What has taken effect and is commanded again decides nothing, or is refused.
    ///
    /// Only what is new each time by its nature is left out: an activation, a
    /// connection and a start of a node, which their request ids make one.
    #[test]
    fn a_command_repeated_decides_nothing(script in prop::collection::vec(any_command(), 1..60)) {
        let mut ledger = Ledger::with_agents(&["web", "db"]);
        for command in script {
            let new_each_time = matches!(
                command,
                Command::Activate(_) | Command::Connect { .. } | Command::StartNode { .. }
            );
            if ledger.decide(command.clone()).is_ok() && !new_each_time {
                let again = ledger.decide(command.clone());
                prop_assert!(again.as_ref().map_or(true, Vec::is_empty), "{:?}: {:?}", command, again);
            }
        }
    }
}
