//! The signer over a crash between its two steps, first to remember what it signed and
//! then to store it; and with a memory or a log from before.

use crate::rig::administrator::{Administrator, Held, Writing};
use crate::rig::agent::copy_folder;
use crate::rig::postgres::{LOGIN, Postgres};
use crate::rig::process::{Process, command};
use crate::rig::server::{Options, Server, ledger_program};
use crate::rig::wait_for;
use ed25519_dalek::SigningKey;
use ledger_core::checkpoint::{Checkpoint, Note, sign};
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// What the server remembers, beside its key.
fn remembered(server: &Server) -> Note {
    let text = fs::read_to_string(server.data().join("checkpoint")).expect("it signed something");
    text.parse().expect("a checkpoint")
}

fn create(server: &Server, name: &str) {
    server.ledger(&server.admin_token(), &["workspace", "create", name]).expect_success();
}

/// Verifies the log, and that it continues a checkpoint that was kept.
fn verify(server: &Server, kept: &Note, of: &[&str]) {
    let folder = server.data();
    let file = folder.with_file_name("kept");
    fs::write(&file, kept.to_string()).expect("it can be kept");
    let mut verify = command(ledger_program(), &folder);
    verify.arg("verify").args(of).arg("--checkpoint").arg(&file);
    let said = Process::run("verify", verify, folder.parent().expect("it is in one"));
    assert!(said.expect_success().contains("nothing is wrong"));
}

/// The newest checkpoint in a database file.
fn in_file(data: &Path) -> Option<Note> {
    let file = data.join("ledger.db");
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let sql = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1";
    let note: String = database.query_row(sql, [], |row| row.get(0)).ok()?;
    note.parse().ok()
}

#[test]
fn a_server_killed_between_remembering_and_storing_a_checkpoint_signs_on() {
    let folder = TempDir::with_prefix("ledger-signer-").expect("a folder");
    let mut server = Server::start(folder.path(), Options::default());
    let data = server.data();
    let head = server.log(&server.admin_token()).len() as u64;
    wait_for("a checkpoint over the start", || {
        in_file(&data).filter(|note| note.checkpoint().size == head)
    });
    // Of the two that it does, the file's sync and the folder's, the second is done
    // when the new checkpoint is at its place. The database syncs otherwise.
    let mut tracer = server.kill_in("fsync", 2);
    create(&server, "w-1");
    server.process().wait();
    tracer.wait();
    let kept = remembered(&server);
    let stored = in_file(&data).expect("it is there");
    assert_eq!((stored.checkpoint().size, kept.checkpoint().size), (head, head + 1));

    server.restart();
    let signed = wait_for("a newer checkpoint", || {
        in_file(&data).filter(|note| note.checkpoint().size > kept.checkpoint().size)
    });
    assert!(!server.process().stderr().contains("No checkpoint"), "{signed}");
    verify(&server, &kept, &["--data", data.to_str().expect("UTF-8")]);
}

/// A server on PostgreSQL, and somebody who looks into the database.
struct Signing {
    server: Server,
    database: Administrator,
    postgres: Postgres,
    folder: TempDir,
}

impl Signing {
    fn start() -> Self {
        let postgres = Postgres::start();
        let folder = TempDir::with_prefix("ledger-signer-").expect("a folder");
        let server = Server::start(folder.path(), postgres.options(&[]));
        let mut database = Administrator::of(&postgres);
        database.wait_until_signed();
        Self { server, database, postgres, folder }
    }

    /// The newest checkpoint in the database.
    fn stored(&mut self) -> Note {
        let sql = "SELECT note FROM ledger.checkpoints ORDER BY size DESC LIMIT 1";
        self.database.ask(sql)[0].parse().expect("a checkpoint")
    }

    /// Lets the server come to where it has remembered a checkpoint, and waits in the
    /// database to store it.
    fn remember(&mut self, name: &str) -> (Held, Writing) {
        self.database.wait_until_signed();
        let held = self.database.hold("LOCK TABLE ledger.checkpoints IN SHARE MODE");
        create(&self.server, name);
        let writing = self.database.wait_for_writer(LOGIN, "wait_event_type = 'Lock'");
        let head = self.database.ask("SELECT position::text FROM ledger.head")[0].clone();
        assert_eq!(remembered(&self.server).checkpoint().size.to_string(), head);
        (held, writing)
    }

    /// The same, and kills it there. What it sent is not stored, either.
    fn remember_and_die(&mut self, name: &str) -> Note {
        let (held, writing) = self.remember(name);
        self.server.kill();
        self.database.end(&writing);
        held.release();
        remembered(&self.server)
    }

    fn verify(&self, kept: &Note) {
        verify(&self.server, kept, &["--database", &self.postgres.url()]);
    }
}

#[test]
fn a_checkpoint_that_is_remembered_and_not_stored_is_stored_or_passed() {
    let mut signing = Signing::start();
    // The same server stores what it remembers as soon as it can.
    let (held, writing) = signing.remember("w-1");
    signing.database.end(&writing);
    let kept = remembered(&signing.server);
    assert!(signing.stored().checkpoint().size < kept.checkpoint().size);
    held.release();
    signing.database.wait_until_signed();
    assert_eq!(signing.stored().to_string(), kept.to_string());

    // Started again, it has grown: what it signs then continues what it remembers.
    let kept = signing.remember_and_die("w-2");
    assert!(signing.stored().checkpoint().size < kept.checkpoint().size);
    signing.server.restart();
    signing.database.wait_until_signed();
    assert!(signing.stored().checkpoint().size > kept.checkpoint().size);
    signing.verify(&kept);
}

#[test]
fn a_signer_whose_memory_is_older_than_the_log_goes_on_from_what_the_log_has() {
    let mut signing = Signing::start();
    let data = signing.server.data();
    let backup = signing.folder.path().join("backup");
    copy_folder(&data, &backup);
    create(&signing.server, "w-1");
    signing.database.wait_until_signed();
    let stored = signing.stored();
    // The machine is lost, and set up again from a backup of its folder.
    let restore = |server: &mut Server| {
        server.kill();
        fs::remove_dir_all(&data).expect("it can be removed");
        copy_folder(&backup, &data);
    };
    restore(&mut signing.server);
    assert!(remembered(&signing.server).checkpoint().size < stored.checkpoint().size);
    signing.server.restart();
    signing.database.wait_until_signed();
    let newest = signing.stored();
    assert!(newest.checkpoint().size > stored.checkpoint().size);
    assert_eq!(remembered(&signing.server).to_string(), newest.to_string());
    signing.verify(&stored);

    // Where the log is no longer what it was when it was signed, only the log can tell.
    let size = signing.remember_and_die("w-2").checkpoint().size;
    let key = fs::read_to_string(data.join("signing-key")).expect("it has a key");
    let key = data_encoding::HEXLOWER.decode(key.trim().as_bytes()).expect("hexadecimal");
    let key = SigningKey::from_bytes(&key.try_into().expect("32 bytes"));
    let origin = newest.checkpoint().origin.clone();
    let other = Checkpoint { origin, size, root: newest.checkpoint().root };
    let signed = sign(&other, &key);
    signing.database.run(&format!(
        "INSERT INTO ledger.checkpoints (size, note) VALUES ({size}, '{signed}'); \
         UPDATE ledger.head SET signed = {size}"
    ));
    restore(&mut signing.server);
    let refused = signing.server.restart_in_vain();
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
    let says = format!("does not continue what this server signed: it signed {size} events");
    assert!(refused.stderr.contains(&says), "{}", refused.stderr);
}
