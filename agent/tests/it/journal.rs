//! The journal's file: what it survives, and what it refuses.

use crate::server::{name, request_id};
use agent::journal::record::{Assignment, Record};
use agent::journal::{Journal, JournalError};
use ledger_core::Version;
use ledger_core::ids::{ActivationId, DeploymentId};
use ledger_core::names::{AgentName, StorePath};
use std::fs;
use std::path::Path;
use uuid::Uuid;

fn admitted() -> Record {
    let assignment = Assignment {
        deployment: DeploymentId::new(Uuid::now_v7()),
        index: Some(1),
        activation: ActivationId::new(Uuid::now_v7()),
        store_path: StorePath::new("/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-a")
            .expect("a path"),
    };
    Record::Admitted { assignment, claim: request_id() }
}

/// A journal of a snapshot and two deployments, of which the second waits.
fn begun(folder: &Path) -> Journal {
    let mut journal = Journal::open(folder, &name()).expect("it opens");
    for version in [1, 2] {
        journal.see(Some(Version(version)));
        journal.append(admitted()).expect("it is written");
    }
    journal
}

fn reopen(folder: &Path) -> Result<Journal, JournalError> {
    Journal::open(folder, &name())
}

#[test]
fn what_was_appended_is_there_after_a_restart_with_its_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    let before = begun(folder.path()).state().clone();
    assert_eq!(before.cursor, Some(Version(2)));
    assert!(before.waiting.is_some());
    let after = reopen(folder.path()).expect("it opens");
    assert_eq!(*after.state(), before);
    let lines = fs::read_to_string(folder.path().join("journal")).expect("a journal");
    assert_eq!(lines.lines().count(), 1, "the journal is rewritten when it is opened");
}

#[test]
fn a_cut_at_any_byte_of_the_last_line_leaves_the_lines_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    drop(begun(folder.path()));
    let whole = fs::read(&path).expect("a journal");
    let body = whole.strip_suffix(b"\n").expect("a last line");
    let last = body.iter().rposition(|byte| *byte == b'\n').expect("several lines") + 1;
    for end in last..whole.len() {
        fs::write(&path, &whole[..end]).expect("written");
        let journal = reopen(folder.path()).expect("it opens");
        assert_eq!(journal.state().cursor, Some(Version(1)), "cut at byte {end}");
    }
    // What a file system leaves where data was not yet written.
    let mut zeros = whole[..last].to_vec();
    zeros.resize(whole.len(), 0);
    fs::write(&path, zeros).expect("written");
    assert_eq!(reopen(folder.path()).expect("it opens").state().cursor, Some(Version(1)));
}

#[test]
fn damage_of_a_whole_line_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    drop(begun(folder.path()));
    let whole = fs::read(&path).expect("a journal");
    let second = whole.iter().position(|byte| *byte == b'\n').expect("several lines") + 1;
    let third = second + whole[second..].iter().position(|byte| *byte == b'\n').expect("one") + 1;
    // Of the last one, too: its end says that it was written whole.
    let places = [(0, 1), (20, 1), (second + 3, 2), (second + 40, 2), (third + 3, 3)];
    for (at, line) in places.into_iter().chain([(third + 40, 3), (whole.len() - 2, 3)]) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).expect("written");
        match reopen(folder.path()) {
            Err(JournalError::Damaged { line: found, .. }) => assert_eq!(found, line),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    // With a good checksum, and by a program that this one does not understand.
    let unknown = r#"{"cursor":null,"record":{"record":"something_new"}}"#;
    let sum: String = blake3::hash(unknown.as_bytes()).to_hex().chars().take(16).collect();
    let text = [whole.as_slice(), format!("{sum} {unknown}\n").as_bytes()].concat();
    fs::write(&path, text).expect("written");
    assert!(matches!(reopen(folder.path()), Err(JournalError::Damaged { line: 4, .. })));
    fs::write(&path, b"").expect("written");
    assert!(matches!(reopen(folder.path()), Err(JournalError::Damaged { line: 1, .. })));
}

#[test]
fn the_journal_of_another_agent_or_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(begun(folder.path()));
    let other = AgentName::new("db").expect("a name");
    assert!(matches!(
        Journal::open(folder.path(), &other),
        Err(JournalError::Foreign { owner, .. }) if owner == name()
    ));
    let line = format!(
        r#"{{"cursor":null,"record":{{"record":"snapshot","format":2,"agent":"web","state":{}}}}}"#,
        serde_json::to_string(&agent::journal::fold::State::default()).expect("JSON"),
    );
    let sum: String = blake3::hash(line.as_bytes()).to_hex().chars().take(16).collect();
    fs::write(folder.path().join("journal"), format!("{sum} {line}\n")).expect("written");
    assert!(matches!(reopen(folder.path()), Err(JournalError::Newer { format: 2, .. })));
}

#[test]
fn a_journal_that_grew_is_rewritten_while_nothing_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), &name()).expect("it opens");
    let path = folder.path().join("journal");
    let mut shrunk = false;
    let mut before = 0;
    while !shrunk {
        journal.append(big()).expect("it is written");
        let bytes = fs::metadata(&path).expect("a journal").len();
        assert!(bytes <= agent::limits::JOURNAL_BYTES_MAX + 64 * 1024);
        shrunk = bytes < before;
        before = bytes;
    }
    assert_eq!(*reopen(folder.path()).expect("it opens").state(), *journal.state());
}

/// A record that takes much room and leaves no trace.
fn big() -> Record {
    Record::Failing {
        reason: ledger_core::event::FailureReason::AgentError,
        outcome: ledger_core::event::FailureOutcome::Unchanged,
        error: "x".repeat(60 * 1024),
        report: None,
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_in_the_journal_make_the_agent_panic(bytes: Vec<u8>, cut in 0..400_usize, at in 0..400_usize) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        drop(begun(folder.path()));
        let mut whole = fs::read(&path).expect("a journal");
        let (at, cut) = (at.min(whole.len()), cut.min(whole.len()));
        whole.splice(at.min(cut)..at.max(cut), bytes);
        fs::write(&path, whole).expect("written");
        // Read or refused, and if it is read, it can be read again.
        if let Ok(journal) = reopen(folder.path()) {
            let state = journal.state().clone();
            let again = reopen(folder.path()).expect("it opens again");
            proptest::prop_assert_eq!(again.state(), &state);
        }
    }
}
