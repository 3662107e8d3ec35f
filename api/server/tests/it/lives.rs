//! Liveness, starts and stops.

use crate::client::Agent;
use crate::node::{DEADLINE, Node, config, data_folder, events, wait_for};
use api_server::{StartError, start};
use api_wire::agent::GoodbyeReason;
use futures_util::StreamExt;
use ledger_core::event::DisconnectReason;
use ledger_core::{Event, Position, Timestamp};
use ledger_store::{Clock, Log, SystemClock};
use std::sync::Arc;
use std::time::Duration;

/// Short, but long enough that a busy machine is not taken for a dead agent.
const FAST: Duration = Duration::from_millis(400);

fn reasons(events: &[Event]) -> Vec<DisconnectReason> {
    let reason = |event: &Event| match event {
        Event::AgentDisconnected(event) => Some(event.reason),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}

#[tokio::test]
async fn a_silent_agent_is_gone_and_a_pinged_one_stays() {
    let node = Node::pinging(FAST).await;
    // Reads nothing, and so answers no ping.
    let (_silent, _) = Agent::welcomed(&node, "silent", 1).await;
    let (mut lively, _) = Agent::welcomed(&node, "lively", 2).await;
    let listening = tokio::spawn(async move {
        while lively.pings < 5 {
            let message = tokio::time::timeout(DEADLINE, lively.socket.next()).await;
            if message.expect("in time").expect("open").expect("whole").is_ping() {
                lively.pings += 1;
            }
        }
        lively
    });
    node.event(|event| {
        matches!(event, Event::AgentDisconnected(e)
            if e.agent.as_str() == "silent" && e.reason == DisconnectReason::TimedOut)
    })
    .await;
    let lively = listening.await.expect("still connected");
    assert_eq!(reasons(&node.events().await), [DisconnectReason::TimedOut]);
    drop(lively);
    node.event(|event| {
        matches!(event, Event::AgentDisconnected(e) if e.reason == DisconnectReason::ConnectionLost)
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn a_stop_tells_the_agents_and_is_recorded() {
    let node = Node::new().await;
    let (mut agent, _) = Agent::welcomed(&node, "web", 1).await;
    let (reason, folder) = tokio::join!(agent.goodbye(), node.stop());
    assert_eq!(reason, GoodbyeReason::Unavailable);
    let log = Log::open_sqlite(folder.path(), Arc::new(SystemClock)).await;
    let log = log.expect("the log is free again");
    let events = events(&log).await;
    assert_eq!(reasons(&events), [DisconnectReason::NodeStopped]);
    assert!(matches!(events.last(), Some(Event::NodeStopped(_))), "{:?}", events.last());
    log.close().await;
}

#[tokio::test]
async fn a_start_after_a_kill_records_the_sessions_that_were_lost() {
    let node = Node::new().await;
    let (id, admin) = (node.running.node(), node.admin.clone());
    let (_agent, welcome) = Agent::welcomed(&node, "web", 1).await;
    let folder = node.kill().await;
    let config = config(folder.path(), FAST);
    let node = Node::on(folder, config).await;
    // The same node, with the same secrets, and no second first token.
    assert_eq!((node.running.node(), &node.admin), (id, &admin));
    assert_eq!(node.running.admin_token(), None);
    let lost = node.event(|event| matches!(event, Event::SessionsLost(_))).await;
    let Ok(Event::SessionsLost(lost)) = lost.event() else { panic!("just found") };
    assert_eq!((lost.node, lost.sessions.len()), (id, 1));
    assert_eq!(lost.sessions[0].session, welcome.session);
    let agents = node.get("/v1/agents").await;
    assert_eq!(agents["agents"][0]["session"], serde_json::Value::Null);
    let starts = node.events().await.iter().filter(|e| matches!(e, Event::NodeStarted(_))).count();
    assert_eq!(starts, 2);
    node.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_data_folder_is_its_owners_and_the_first_token_is_announced() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new().await;
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("there").permissions().mode() & 0o777
    };
    let folder = node.folder.path();
    assert_eq!(mode(folder), 0o700);
    for file in ["admin-token", "token-key"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    assert_eq!(node.running.admin_token(), Some(folder.join("admin-token").as_path()));
    let first = node.log.read(Position(1), 3).await.expect("read");
    let types: Vec<_> = first.iter().map(|record| record.type_name.as_str()).collect();
    assert_eq!(types, ["WorkspaceCreated", "TokenIssued", "NodeStarted"]);
    // The secret is nowhere in the log.
    let whole = first.iter().map(|r| String::from_utf8_lossy(&r.payload).into_owned());
    assert!(!whole.collect::<String>().contains(&node.admin));
    node.stop().await;
}

#[tokio::test]
async fn a_first_token_that_a_crash_left_behind_is_the_one_that_is_issued() {
    let folder = data_folder();
    let left = format!("ldg_admin_{}", "a".repeat(43));
    std::fs::write(folder.path().join("admin-token"), &left).expect("written");
    let config = config(folder.path(), FAST);
    let node = Node::on(folder, config).await;
    assert_eq!(node.admin, left);
    node.get("/v1/tokens").await;
    node.stop().await;
}

#[tokio::test]
async fn an_address_in_use_is_an_error_and_leaves_no_running_node() {
    let node = Node::new().await;
    let folder = data_folder();
    let clock = Arc::new(SystemClock);
    let log = Log::open_sqlite(folder.path(), clock.clone()).await.expect("a log");
    let mut config = config(folder.path(), FAST);
    config.listen = node.running.address();
    let started = start(config, log, clock.clone()).await;
    assert!(matches!(started, Err(StartError::Listen { .. })));
    let log = Log::open_sqlite(folder.path(), clock).await.expect("free again");
    assert!(matches!(events(&log).await.last(), Some(Event::NodeStopped(_))));
    log.close().await;
    node.stop().await;
}

/// A machine whose clock is set back by as many hours.
struct SetBack(i64);

impl Clock for SetBack {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_micros(-self.0 * 3_600_000_000)
    }
    fn uptime(&self) -> Duration {
        SystemClock.uptime()
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_needs_an_operators_word() {
    let folder = Node::new().await.stop().await;
    let clock: Arc<dyn Clock> = Arc::new(SetBack(3));
    let mut config = config(folder.path(), FAST);
    let log = Log::open_sqlite(folder.path(), clock.clone()).await.expect("a log");
    let started = start(config.clone(), log, clock.clone()).await;
    let Err(StartError::Record(error)) = started else { panic!("it started") };
    assert!(error.to_string().contains("clock"), "{error}");
    config.confirm_clock = true;
    let log = Log::open_sqlite(folder.path(), clock.clone()).await.expect("a log");
    let running = start(config, log.clone(), clock).await.expect("started");
    wait_for(&log, |event| matches!(event, Event::ClockConfirmed(_))).await;
    running.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_others_may_look_into_is_refused_and_left_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let folder = data_folder();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = Log::open_sqlite(folder.path(), clock.clone()).await.expect("a log");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("changed");
    let started = start(config(folder.path(), FAST), log, clock).await;
    let Err(StartError::Folder(error)) = started else { panic!("it started") };
    assert!(error.to_string().contains("chmod 700"), "{error}");
    let mode = std::fs::metadata(folder.path()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[tokio::test]
async fn without_the_key_of_its_tokens_a_log_is_not_served() {
    let folder = Node::new().await.stop().await;
    let key = folder.path().join("token-key");
    let lost = std::fs::read(&key).expect("the key");
    std::fs::remove_file(&key).expect("removed");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = Log::open_sqlite(folder.path(), clock.clone()).await.expect("a log");
    let started = start(config(folder.path(), FAST), log, clock).await;
    let Err(StartError::Folder(error)) = started else { panic!("it started") };
    assert!(error.to_string().contains("token-key is missing"), "{error}");
    assert!(!key.exists(), "no other key is made");
    std::fs::write(&key, lost).expect("restored");
    let config = config(folder.path(), FAST);
    let node = Node::on(folder, config).await;
    node.get("/v1/tokens").await;
    node.stop().await;
}

#[tokio::test]
async fn a_node_whose_file_is_lost_closes_the_sessions_it_left_open() {
    let node = Node::new().await;
    let id = node.running.node();
    let (_agent, welcome) = Agent::welcomed(&node, "web", 1).await;
    let folder = node.kill().await;
    std::fs::remove_file(folder.path().join("node")).expect("removed");
    let config = config(folder.path(), FAST);
    let node = Node::on(folder, config).await;
    assert_eq!(node.running.node(), id);
    let lost = node.event(|event| matches!(event, Event::SessionsLost(_))).await;
    let Ok(Event::SessionsLost(lost)) = lost.event() else { panic!("just found") };
    assert_eq!(lost.sessions[0].session, welcome.session);
    node.stop().await;
}
