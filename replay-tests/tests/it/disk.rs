//! Disks that fail under a server on SQLite: full, read-only, not synced. Writes
//! are refused clearly and reads go on; it gets well by itself; and what was
//! acknowledged, and nothing else, is there afterwards.

use crate::rig::disk::Disk;
use crate::rig::http::{Answer, ask};
use crate::rig::server::{Options, Server};
use crate::rig::story::check_log;
use crate::rig::wait_for;
use crate::rig::wire::Puppet;
use ledger_core::{EventId, RequestId};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Writes within which a failing disk must show itself.
const WRITES_MAX: usize = 1_000;

/// A server, and what it said to each write.
struct Trial {
    server: Server,
    token: String,
    acknowledged: Vec<(RequestId, Value)>,
    /// Refused for certain, and never sent again.
    refused: Vec<RequestId>,
    /// Those of which the server did not know, never sent again either.
    open: Vec<RequestId>,
    n_made: usize,
    // Dropped last, when nothing runs in them.
    disk: Option<Disk>,
    _folder: TempDir,
}

impl Trial {
    /// Starts a server on a disk of its own.
    fn on_disk() -> Self {
        let folder = new_folder();
        let disk = Disk::new(folder.path(), 16);
        let options = Options { wrapper: disk.wrapper(), ..Options::default() };
        let server = Server::start(folder.path(), options);
        let token = std::fs::read_to_string(disk.path().join("admin-token"));
        let token = token.expect("the server left a token").trim().to_owned();
        Self::new(folder, Some(disk), server, token)
    }

    /// Starts a server on this machine's disk.
    fn on_machine() -> Self {
        let folder = new_folder();
        let server = Server::start(folder.path(), Options::default());
        let token = server.admin_token();
        Self::new(folder, None, server, token)
    }

    fn new(folder: TempDir, disk: Option<Disk>, server: Server, token: String) -> Self {
        let mut trial = Self {
            server,
            token,
            acknowledged: Vec::new(),
            refused: Vec::new(),
            open: Vec::new(),
            n_made: 0,
            disk,
            _folder: folder,
        };
        for _ in 0..3 {
            trial.write_one();
        }
        trial
    }

    fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("it has a disk of its own")
    }

    fn write_one(&mut self) {
        let request = self.fresh();
        self.must_write(&request);
    }

    /// A write under an id and a name of its own.
    fn fresh(&mut self) -> Value {
        self.n_made += 1;
        json!({ "request_id": uuid::Uuid::now_v7(), "name": format!("w-{}", self.n_made) })
    }

    fn ask(&self, path: &str, body: Option<&Value>) -> Answer {
        ask(self.server.url(), &self.token, path, body)
    }

    /// Sends a write, and notes it if it is acknowledged.
    fn write(&mut self, request: &Value) -> Result<(), Answer> {
        let answer = self.ask("/v1/workspaces", Some(request));
        if answer.status != 200 {
            return Err(answer);
        }
        self.acknowledged.push((id_of(request), answer.body["position"].clone()));
        Ok(())
    }

    fn must_write(&mut self, request: &Value) {
        self.write(request).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    }

    /// Writes until the disk shows that it fails; returns the write that was refused.
    fn write_until_refused(&mut self, why: &str) -> Value {
        for _ in 0..WRITES_MAX {
            let request = self.fresh();
            if let Err(refusal) = self.write(&request) {
                check_refusal(&refusal, why);
                return request;
            }
        }
        panic!("{WRITES_MAX} writes are acknowledged on a disk that fails");
    }

    /// Checks that the server says that it cannot serve, and still does what it can.
    fn check_not_ready(&mut self, why: &str) {
        // A small write may still fit where a larger one does not.
        wait_for("the server to say that it is not ready", || {
            let request = self.fresh();
            if let Err(refusal) = self.write(&request) {
                check_refusal(&refusal, why);
                let detail = refusal.body["detail"].as_str().unwrap_or_default();
                let is_open = detail.contains("whether the write came through is open");
                let refused = if is_open { &mut self.open } else { &mut self.refused };
                refused.push(id_of(&request));
            }
            let ready = self.ask("/readyz", None);
            let status = ready.body["status"].as_str().unwrap_or_default();
            (ready.status == 503 && status.contains(why)).then_some(())
        });
        assert_eq!(self.ask("/healthz", None).status, 200);
        let page = self.ask("/v1/log?from=1", None);
        assert_eq!(page.status, 200, "{page:?}");
        let events = page.body["events"].as_array().expect("a page of events");
        assert!(
            events.len() >= self.acknowledged.len(),
            "a reader sees less than was acknowledged"
        );
    }

    /// Checks that the server does not start and says why.
    fn check_no_start(&mut self, why: &str) {
        let ended = self.server.restart_in_vain();
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }

    /// Waits until it is ready again, without a write to remind it.
    fn wait_until_ready(&self) {
        wait_for("the server to be ready", || {
            (self.ask("/readyz", None).status == 200).then_some(())
        });
    }

    /// Checks the log, also after another start.
    fn check(mut self) {
        self.check_here();
        assert!(self.server.terminate().success());
        assert!(!said(&mut self.server).contains("panicked"), "{}", said(&mut self.server));
        self.server.restart_anywhere();
        self.check_here();
    }

    fn check_here(&mut self) {
        assert!(!said(&mut self.server).contains("panicked"), "{}", said(&mut self.server));
        let log = self.server.log(&self.token);
        check_log(&log);
        for (request, position) in &self.acknowledged {
            let position = position.as_u64().expect("an acknowledgement names a position");
            let event = &log[position as usize - 1];
            assert_eq!(event.event_id, EventId::derive(*request, 0), "an acknowledged write");
        }
        let stands = |request: &RequestId| {
            let id = EventId::derive(*request, 0);
            log.iter().any(|event| event.event_id == id)
        };
        let refused = self.refused.iter().find(|request| stands(request));
        assert_eq!(refused, None, "a refused write is in the log");
        let n_open = self.open.iter().filter(|request| stands(request)).count();
        let created = log.iter().filter(|event| event.type_name == "WorkspaceCreated").count();
        assert_eq!(created, 1 + self.acknowledged.len() + n_open, "each write stands once");
    }
}

fn new_folder() -> TempDir {
    TempDir::with_prefix("ledger-disk-").expect("a folder can be made")
}

fn id_of(request: &Value) -> RequestId {
    let id = request["request_id"].as_str().expect("a write has an id");
    id.parse().expect("a good id")
}

fn said(server: &mut Server) -> String {
    server.process().stderr()
}

#[track_caller]
fn check_refusal(refusal: &Answer, why: &str) {
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert!(refusal.head.contains("content-type: application/problem+json"), "{refusal:?}");
    assert!(refusal.head.contains("retry-after: "), "{refusal:?}");
    assert_eq!(refusal.body["code"], "unavailable", "{refusal:?}");
    let detail = refusal.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(why), "{refusal:?}");
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    const WHY: &str = "the disk of the data folder is full; make room";
    let mut trial = Trial::on_disk();
    let create = ["token", "create", "--kind", "agent"];
    let agent_token = trial.server.ledger(&trial.token, &create).expect_success();
    let session = Puppet::new("web-1").try_connect(trial.server.url(), agent_token.trim());
    assert!(session.is_some(), "a server that is well gives a session");

    trial.disk().fill();
    let refused = trial.write_until_refused(WHY);
    trial.check_not_ready(WHY);
    // Its end cannot be recorded now, and is not forgotten.
    drop(session);

    trial.disk().make_room();
    trial.wait_until_ready();
    trial.must_write(&refused);
    trial.write_one();
    wait_for("the end of the session in the log", || {
        let log = trial.server.log(&trial.token);
        log.iter().any(|event| event.type_name == "AgentDisconnected").then_some(())
    });
    trial.check();
}

#[test]
fn a_disk_that_turns_read_only_refuses_writes_until_it_is_writable() {
    fail_for_a_while("pwrite64,write,ftruncate,fdatasync", "EROFS");
}

#[test]
fn a_disk_that_cannot_be_synced_refuses_writes_until_it_can() {
    fail_for_a_while("fdatasync,fsync", "EIO");
}

/// Lets these system calls on the database fail for a while. A disk that is in
/// use cannot be made read-only from outside, so the tracer says that it is.
fn fail_for_a_while(calls: &str, error: &str) {
    const WHY: &str = "the disk of the data folder fails; look into the system's log";
    let mut trial = Trial::on_machine();
    let mut tracer = trial.server.fail_in(calls, error);
    let refused = trial.write_until_refused(WHY);
    trial.check_not_ready(WHY);

    tracer.terminate();
    trial.wait_until_ready();
    trial.must_write(&refused);
    trial.write_one();
    trial.check();
}

#[test]
fn a_server_says_that_its_disk_is_read_only_and_starts_when_it_is_not() {
    let mut trial = Trial::on_disk();
    // As after a crash, with what was written not yet moved to its place.
    trial.server.kill();
    trial.disk().set_read_only(true);
    trial.check_no_start("Read-only file system");
    trial.disk().set_read_only(false);
    trial.server.restart_anywhere();
    trial.check();
}

#[test]
fn a_server_says_that_its_disk_is_full_and_starts_when_it_is_not() {
    let mut trial = Trial::on_disk();
    trial.server.kill();
    // As before its first start: one with a log may have room left within its files.
    for entry in std::fs::read_dir(trial.disk().path()).expect("the disk can be read") {
        let path = entry.expect("it has a name").path();
        let removed = match path.is_dir() {
            true => std::fs::remove_dir_all(path),
            false => std::fs::remove_file(path),
        };
        removed.expect("nobody uses it");
    }
    trial.disk().fill();
    trial.check_no_start("full");
    trial.disk().make_room();
    trial.server.restart_anywhere();
    trial.wait_until_ready();
    assert!(trial.server.terminate().success());
}
