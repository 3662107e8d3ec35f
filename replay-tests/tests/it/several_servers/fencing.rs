//! A server that was stopped in the middle of a write, and comes back when another one
//! wrote meanwhile: what it knew then writes nothing.
//!
//! It is stopped where the database makes it wait: a lock of ours is in its way, and
//! is gone before it goes on.

use super::servers::{LOGINS, Servers};
use crate::rig::administrator::{Administrator, Held, Writing};
use crate::rig::process::{Process, command};
use crate::rig::server::ledger_program;
use crate::rig::wait_for;
use api_client::http::{RequestError, new_request_id};
use api_wire::http::{CreateWorkspaceRequest, LogEvent, Recorded};
use api_wire::problem::Code;
use ledger_core::Position;
use ledger_core::names::WorkspaceName;
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use tokio::task::JoinHandle;

type Answer = Result<Recorded, RequestError>;

/// The first server, stopped in the middle of a write.
struct Stopped {
    request: CreateWorkspaceRequest,
    /// Its answer, to come.
    sent: JoinHandle<Answer>,
    /// Its session, which waits for the lock.
    writing: Writing,
    held: Held,
}

/// In the way of whoever looks where the log ends and what his requests wrote; not of
/// who only asks where it ends.
const LOOKING: &str = "LOCK TABLE ledger.events IN ACCESS EXCLUSIVE MODE";
/// In the way of whoever appends, or takes the lock to do so; others look past it.
const APPENDING: &str = "SELECT FROM ledger.head WHERE id = 1 FOR UPDATE";
const WAITS: &str = "wait_event_type = 'Lock'";

/// A request for a workspace that nobody asked for before.
fn fresh() -> CreateWorkspaceRequest {
    let request_id = new_request_id();
    let name = WorkspaceName::new(format!("w-{request_id}")).expect("a good name");
    CreateWorkspaceRequest { request_id, name }
}

/// Sends a request to a server, and does not wait for the answer.
fn send(servers: &Servers, server: usize, request: &CreateWorkspaceRequest) -> JoinHandle<Answer> {
    let (client, request) = (servers.client(server, &servers.admin), request.clone());
    servers.runtime.spawn(async move { client.create_workspace(&request).await })
}

fn answer(servers: &Servers, sent: JoinHandle<Answer>) -> Answer {
    servers.runtime.block_on(sent).expect("it does not panic")
}

fn position(answer: Answer) -> Position {
    answer.expect("it is taken").position.expect("it wrote something")
}

/// SIGSTOP, and waits until every thread of it has stopped.
fn stop(servers: &mut Servers) {
    let process = servers.servers[0].process();
    process.signal(Signal::STOP);
    let tasks = format!("/proc/{}/task", process.id());
    let is_stopped = |task: &Path| {
        let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    };
    wait_for("the server to stop", || {
        let tasks = fs::read_dir(&tasks).expect("it lives").flatten();
        tasks.map(|task| task.path()).all(|task| is_stopped(&task)).then_some(())
    });
}

fn go_on(servers: &mut Servers) {
    servers.servers[0].process().signal(Signal::CONT);
}

/// Lets the first server come to where it waits for the lock with a request, and stops
/// it there. Tried again while it does so otherwise than wanted, as it does for a
/// while after another one wrote or signed at the same moment.
fn stop_waiting(
    servers: &mut Servers,
    database: &mut Administrator,
    lock: &str,
    begins: &str,
) -> Stopped {
    loop {
        // Nobody has anything to sign, so that who waits does so with the request.
        database.wait_until_signed();
        let held = database.hold(lock);
        let request = fresh();
        let sent = send(servers, 0, &request);
        let writing = database.wait_for_writer(LOGINS[0], WAITS);
        if writing.query.starts_with(begins) {
            stop(servers);
            return Stopped { request, sent, writing, held };
        }
        held.release();
        position(answer(servers, sent));
    }
}

fn created(log: &[LogEvent], name: &str) -> usize {
    let stream = format!("workspace/{name}");
    let is_it = |e: &&LogEvent| e.type_name == "WorkspaceCreated" && e.stream.to_string() == stream;
    log.iter().filter(is_it).count()
}

/// Checks the log as everybody reads it, and as it lies in the database.
fn end(servers: Servers, names: &[&str]) {
    let log = servers.log(0);
    for name in names {
        assert_eq!(created(&log, name), 1, "{name}");
    }
    let folder = servers.servers[0].data();
    let mut verify = command(ledger_program(), &folder);
    verify.args(["verify", "--database", &servers.postgres.url()]);
    let said = Process::run("verify", verify, &folder).expect_success();
    assert!(said.contains("nothing is wrong"), "{said}");
    servers.end(&[]);
}

/// How often the database refused an append because the log ended elsewhere.
fn refused(servers: &Servers) -> usize {
    let log = fs::read_to_string(servers.postgres.folder().join("postgres.log"));
    log.expect("the database has a log").matches("ERROR:  the log ends at").count()
}

#[test]
fn what_a_stopped_server_knew_is_refused_and_it_judges_again() {
    let mut servers = Servers::start();
    let mut database = Administrator::of(&servers.postgres);
    let mut names = Vec::new();
    for same in [true, false] {
        let stopped = stop_waiting(&mut servers, &mut database, LOOKING, "SELECT h.position");
        let Stopped { request, sent, writing, held } = stopped;
        // It is told where the log ends, and cannot hear it yet.
        held.release();
        let idle = format!("pid = {} AND state = 'idle'", writing.pid);
        database.wait_for_writer(LOGINS[0], &idle);
        let before = refused(&servers);
        // The client turns to the other server; or somebody else does, with the same wish.
        let other = if same {
            request.clone()
        } else {
            CreateWorkspaceRequest { request_id: new_request_id(), ..request.clone() }
        };
        let taken = position(answer(&servers, send(&servers, 1, &other)));
        let more = position(answer(&servers, send(&servers, 1, &fresh())));
        assert!(more > taken);
        go_on(&mut servers);
        match answer(&servers, sent) {
            Ok(late) if same => assert_eq!(late.position, Some(taken), "one request counts twice"),
            Err(error) if !same => assert_eq!(error.code(), Some(Code::WorkspaceExists), "{error}"),
            late => panic!("{late:?}"),
        }
        // It did send what it had judged from the old end.
        assert!(refused(&servers) > before, "nothing was refused");
        names.push(request.name.to_string());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    end(servers, &names);
}

#[test]
fn a_server_that_was_stopped_and_lost_its_session_writes_nothing_twice() {
    let mut servers = Servers::start();
    let mut database = Administrator::of(&servers.postgres);

    // In the middle of its append, which waits in the database.
    let Stopped { request: waiting, sent, writing, held } =
        stop_waiting(&mut servers, &mut database, APPENDING, "");
    database.end(&writing);
    held.release();
    let other = fresh();
    let meanwhile = position(answer(&servers, send(&servers, 1, &other)));
    go_on(&mut servers);
    let late = position(answer(&servers, sent));
    assert!(late > meanwhile, "what was cut off was committed: {late:?}");

    // With the lock in hand, which it takes first once others write, too.
    overtake(&servers, &mut database);
    let Stopped { request: holding, sent, writing, held } =
        stop_waiting(&mut servers, &mut database, APPENDING, "BEGIN");
    held.release();
    let has_it = format!("pid = {} AND state = 'idle in transaction'", writing.pid);
    let writing = database.wait_for_writer(LOGINS[0], &has_it);
    // The client gives up on it; the other server has to wait for the lock.
    let again = send(&servers, 1, &holding);
    database.wait_for_writer(LOGINS[1], WAITS);
    database.end(&writing);
    let taken = position(answer(&servers, again));
    go_on(&mut servers);
    assert_eq!(position(answer(&servers, sent)), taken, "one request counts twice");

    let names = [waiting, other, holding].map(|request| request.name.to_string());
    end(servers, &names.each_ref().map(String::as_str));
}

/// Brings the first server to take the lock before it looks, as it does for a while
/// after another one came in between.
fn overtake(servers: &Servers, database: &mut Administrator) {
    wait_for("the first server to be overtaken", || {
        let both = [0, 1].map(|server| send(servers, server, &fresh()));
        for sent in both {
            position(answer(servers, sent));
        }
        let last = database.wait_for_writer(LOGINS[0], "state = 'idle'");
        (last.query == "COMMIT").then_some(())
    });
}
