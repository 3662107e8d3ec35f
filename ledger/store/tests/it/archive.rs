//! Archives, imports and backups: what comes back is what was there.

use crate::support::*;
use crate::tampered::{Content, Copy, note_key, sign_now, world};
use ledger_core::Position;
use ledger_core::verify::{Trust, Verified};
use ledger_store::{
    ArchiveError, Backup, Range, VerifyError, export_postgres, export_sqlite, import_postgres,
    import_sqlite, verify_archive, verify_postgres, verify_sqlite,
};
use proptest::prelude::*;
use std::io::Read;
use std::path::{Path, PathBuf};
use tokio::task::block_in_place;

fn export(folder: &Path, range: Range, to: &Path) -> Result<Verified, ArchiveError> {
    export_sqlite(folder, range, to, &mut |_| true)
}

fn import(folder: &Path, from: &Path) -> Result<Verified, ArchiveError> {
    import_sqlite(folder, from, &Trust::default(), &mut |_| true)
}

fn verify(archive: &Path) -> Result<Verified, VerifyError> {
    let trust = Trust { keys: vec![note_key()], checkpoints: vec![world().newest.clone()] };
    verify_archive(archive, &trust, &mut |_| true)
}

fn range(from: u64, to: u64) -> Range {
    Range { from: Some(Position(from)), to: Some(Position(to)) }
}

/// The archive of the log of these tests.
struct Archived {
    folder: tempfile::TempDir,
    log: Copy,
}

impl Archived {
    fn new() -> Self {
        let archived = Self { folder: tempfile::tempdir().unwrap(), log: Copy::new() };
        export(archived.log.folder(), Range::default(), &archived.path()).unwrap();
        archived
    }

    fn path(&self) -> PathBuf {
        self.file("whole")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }
}

#[test]
fn a_log_comes_back_as_it_was() {
    let archived = Archived::new();
    let whole = verify(&archived.path()).unwrap();
    let checkpoint = world().newest.checkpoint();
    assert_eq!((whole.size, whole.root), (checkpoint.size, checkpoint.root));
    let target = archived.file("target");
    let imported = import(&target, &archived.path()).unwrap();
    assert_eq!((imported.size, imported.root), (whole.size, whole.root));
    let content = |folder: &Path| Content::read(&folder.join("ledger.db")).unwrap();
    assert_eq!(content(&target), content(archived.log.folder()));
    // The tree and the indexes of the new log are whole, too; and the same archive comes of it.
    verify_sqlite(&target, &Trust::default(), &mut |_| true).unwrap();
    export(&target, Range::default(), &archived.file("again")).unwrap();
    assert!(std::fs::read(archived.file("again")).unwrap() == archived.bytes());
    let mut names: Vec<_> =
        std::fs::read_dir(&target).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ledger.db", "ledger.lock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_moves_to_postgres_and_back() {
    let archived = Archived::new();
    let place = Place::postgres().await;
    let url = place.service_url();
    let done = tokio::task::spawn_blocking(move || {
        let trust = Trust::default();
        let imported = import_postgres(&url, &archived.path(), &trust, &mut |_| true).unwrap();
        assert_eq!(imported.root, world().newest.checkpoint().root);
        let verified = verify_postgres(&url, &trust, &mut |_| true).unwrap();
        assert_eq!((verified.root, verified.outputs), (imported.root, imported.outputs));
        let again = import_postgres(&url, &archived.path(), &trust, &mut |_| true);
        assert!(matches!(again, Err(ArchiveError::NotEmpty { head }) if head == imported.size));
        let back = archived.file("back");
        export_postgres(&url, Range::default(), &back, &mut |_| true).unwrap();
        assert!(std::fs::read(back).unwrap() == archived.bytes());
    });
    done.await.unwrap();
    // The log goes on there.
    let log = place.open_at(ManualClock::at(NOON + HOUR / 60)).await;
    let next = world().newest.checkpoint().size + 1;
    assert_eq!(positions(log.write(one_event()).await), (next, next));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_broken_off_leaves_nothing() {
    let archived = Archived::new();
    let import = |folder: &Path, from: &Path| block_in_place(|| import(folder, from));
    let target = archived.file("target");
    let stopped = block_in_place(|| {
        import_sqlite(&target, &archived.path(), &Trust::default(), &mut |_| false)
    });
    assert!(matches!(stopped, Err(ArchiveError::Verify(VerifyError::Stopped))));
    assert!(!target.join("ledger.db").exists() && !target.join("import.partial").exists());
    // One that was killed has left its folder.
    std::fs::create_dir(target.join("import.partial")).unwrap();
    std::fs::write(target.join("import.partial/ledger.db"), "half").unwrap();
    import(&target, &archived.path()).unwrap();
    let again = import(&target, &archived.path());
    assert!(matches!(again, Err(ArchiveError::NotEmpty { .. })), "{again:?}");
    // A log with nothing in it gives way; a running server does not.
    let place = Place::sqlite();
    let log = place.open().await;
    let used = import(place.folder(), &archived.path()).unwrap_err();
    assert!(format!("{used:?}").contains("InUse"), "{used:?}");
    log.close().await;
    import(place.folder(), &archived.path()).unwrap();
    let place_pg = Place::postgres().await;
    let url = place_pg.service_url();
    let done = tokio::task::spawn_blocking(move || {
        let trust = Trust::default();
        let stopped = import_postgres(&url, &archived.path(), &trust, &mut |_| false);
        assert!(matches!(stopped, Err(ArchiveError::Verify(VerifyError::Stopped))));
        import_postgres(&url, &archived.path(), &trust, &mut |_| true).unwrap();
    });
    done.await.unwrap();
}

#[test]
fn a_range_is_verified_by_its_checkpoints_and_only_a_beginning_becomes_a_log() {
    let archived = Archived::new();
    let (log, last) = (archived.log.folder(), world().newest.checkpoint().size);
    // From the middle to the end, and from before a tile to behind it.
    for (name, from, to) in
        [("end", 300, last), ("tile", 250, 530), ("one", 7, 7), ("rest", 257, last)]
    {
        let path = archived.file(name);
        export(log, range(from, to), &path).unwrap();
        let trust = Trust::default();
        let verified = verify_archive(&path, &trust, &mut |_| true);
        if to == last && from > 5 {
            // The key is named before the range: it must be given.
            let line = verified.unwrap_err().to_string();
            assert!(line.contains("signed by another key"), "{line}");
            let verified = verify(&path).unwrap();
            assert_eq!((verified.first.0, verified.root), (from, world().newest.checkpoint().root));
        } else {
            assert!(verified.is_ok() || name == "tile", "{name}: {verified:?}");
        }
        let refused = import(&archived.file("target"), &path);
        assert!(matches!(refused, Err(ArchiveError::Part { .. })), "{refused:?}");
    }
    // The last write has 300 events.
    let beginning = archived.file("beginning");
    export(log, range(1, last - 300), &beginning).unwrap();
    // Whose annex is erased at the very end of it.
    let imported = import(&archived.file("target"), &beginning).unwrap();
    assert_eq!(imported.size, last - 300);
    for to in [last - 301, last - 1] {
        let path = archived.file(&format!("to-{to}"));
        export(log, range(1, to), &path).unwrap();
        let refused = import(&archived.file("other"), &path);
        assert!(matches!(refused, Err(ArchiveError::Part { .. })), "{refused:?}");
    }
    for (from, to) in [(5, 4), (1, last + 1), (last + 1, last + 2)] {
        let path = archived.file("nothing");
        let refused = export(log, range(from, to), &path);
        assert!(matches!(refused, Err(ArchiveError::Range { .. })), "{refused:?}");
        assert!(!path.exists());
    }
}

#[test]
fn nothing_is_written_over_and_nothing_half_is_left() {
    let archived = Archived::new();
    let before = archived.bytes();
    let refused = export(archived.log.folder(), Range::default(), &archived.path());
    assert!(matches!(refused, Err(ArchiveError::Exists { .. })), "{refused:?}");
    let backup = Backup::begin(archived.log.folder(), &archived.path());
    assert!(matches!(backup, Err(ArchiveError::Exists { .. })));
    assert!(archived.bytes() == before);
    let stopped = export_sqlite(
        archived.log.folder(),
        Range::default(),
        &archived.file("stopped"),
        &mut |_| false,
    );
    assert!(matches!(stopped, Err(ArchiveError::Verify(VerifyError::Stopped))));
    archived.log.tamper("UPDATE events SET lag = 1 WHERE position = 100");
    let faulty = export(archived.log.folder(), Range::default(), &archived.file("faulty"));
    assert!(matches!(faulty, Err(ArchiveError::Verify(VerifyError::Fault(_)))), "{faulty:?}");
    assert_eq!(std::fs::read_dir(archived.folder.path()).unwrap().count(), 1);
}

#[test]
fn a_changed_byte_anywhere_in_an_archive_is_found() {
    let archived = Archived::new();
    let bytes = archived.bytes();
    let changed = archived.file("changed");
    let found = |changed_bytes: &[u8], what: &str| {
        std::fs::write(&changed, changed_bytes).unwrap();
        let verified = verify(&changed);
        assert!(matches!(verified, Err(VerifyError::Fault(_))), "{what}: {verified:?}");
    };
    let step = bytes.len() / 250;
    // All of the header and the end, and a few hundred places between.
    let places =
        (0..120).chain((120..bytes.len() - 80).step_by(step)).chain(bytes.len() - 80..bytes.len());
    for at in places {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        found(&changed, &format!("byte {at}"));
    }
    for at in (0..bytes.len()).step_by(step * 7) {
        found(&bytes[..at], &format!("cut at {at}"));
        let removed = [&bytes[..at], &bytes[at + 1..]].concat();
        found(&removed, &format!("without byte {at}"));
    }
    found(&[&*bytes, b"\n"].concat(), "with a byte more");
}

/// An archive taken apart: its header, and all its frames one after the other.
fn taken_apart(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let header = bytes.windows(2).position(|two| two == b"\n\n").unwrap() + 2;
    let mut frames = Vec::new();
    let mut decoder = zstd::Decoder::new(&bytes[header..bytes.len() - 32]).unwrap();
    decoder.read_to_end(&mut frames).unwrap();
    (bytes[..header].to_vec(), frames)
}

fn put_together(header: &[u8], frames: &[u8]) -> Vec<u8> {
    let mut bytes = header.to_vec();
    bytes.extend(zstd::encode_all(frames, 1).unwrap());
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

#[test]
fn an_archive_that_is_put_together_as_it_was_is_whole() {
    let archived = Archived::new();
    let (header, frames) = taken_apart(&archived.bytes());
    std::fs::write(archived.file("again"), put_together(&header, &frames)).unwrap();
    assert!(verify(&archived.file("again")).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Whoever makes the digest anew has the events and checkpoints against him.
    #[test]
    fn a_forged_archive_is_found(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        use std::sync::OnceLock;
        static ARCHIVED: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
        let (header, frames) = ARCHIVED.get_or_init(|| taken_apart(&Archived::new().bytes()));
        let at = at.index(frames.len());
        // When a piece of output was stored is no evidence.
        prop_assume!(!stored_at(frames).any(|range| range.contains(&at)));
        let mut changed = frames.clone();
        changed[at] ^= 1 << bit;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forged");
        std::fs::write(&path, put_together(header, &changed)).unwrap();
        let verified = verify(&path);
        prop_assert!(matches!(verified, Err(VerifyError::Fault(_))), "{:?}", verified);
    }
}

/// Where the moments stand in the frames of output.
fn stored_at(frames: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < frames.len() {
            let (kind, begin) = (frames[at], at + 5);
            let length = u32::from_be_bytes(frames[at + 1..begin].try_into().unwrap()) as usize;
            at = begin + length;
            if kind == b'O' {
                return Some(begin + 32..begin + 40);
            }
        }
        None
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_server_is_a_whole_log() {
    let place = Place::sqlite();
    let log = place.open().await;
    write(&log, create_workspace()).await;
    write(&log, connect(1)).await;
    write(&log, events((0..700).map(|_| one()).collect())).await;
    let key = note_key();
    let add =
        ledger_core::Command::AddSigningKey { node: node(), origin: key.name, public_key: key.key };
    write(&log, command(add)).await;
    sign_now(&log).await;
    let copies = tempfile::tempdir().unwrap();
    let to = copies.path().join("ledger.db");
    let writing = tokio::spawn({
        let log = log.clone();
        async move {
            for _ in 0..50 {
                write(&log, one_event()).await;
            }
        }
    });
    let (folder, file) = (place.folder().to_owned(), to.clone());
    let copied = tokio::task::spawn_blocking(move || Backup::begin(&folder, &file).unwrap().run());
    copied.await.unwrap().unwrap();
    writing.await.unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let verified = verify_sqlite(copies.path(), &Trust::default(), &mut |_| true).unwrap();
    assert!(verified.size >= 704 && verified.newest.is_some(), "{verified:?}");
    assert_eq!(std::fs::read_dir(copies.path()).unwrap().count(), 1);
    // It opens as a log, and goes on by itself.
    log.close().await;
    let copy = ledger_store::Log::open_sqlite(copies.path(), ManualClock::new()).await.unwrap();
    assert_eq!(read_all(&copy).await.len() as u64, verified.size);
    let next = verified.size + 1;
    assert_eq!(positions(copy.write(one_event()).await), (next, next));
}

#[test]
fn an_interrupted_backup_leaves_nothing() {
    let log = Copy::new();
    let folder = tempfile::tempdir().unwrap();
    let backup = Backup::begin(log.folder(), &folder.path().join("copy")).unwrap();
    backup.interrupter().interrupt();
    let done = backup.run();
    assert!(matches!(done, Err(ArchiveError::Verify(VerifyError::Stopped))), "{done:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
