//! Thousands of random changes to the file itself: each is found, or changed
//! nothing that is stored.

use super::*;
use ledger_store::OpenError;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;
use std::collections::BTreeMap;

/// What somebody did to the file.
#[derive(Clone, Debug)]
enum Tampering {
    Flip {
        at: u64,
        bit: u8,
    },
    Overwrite {
        at: u64,
        bytes: Vec<u8>,
    },
    Zero {
        at: u64,
        length: u64,
    },
    /// Two stretches of one length change places.
    Swap {
        a: u64,
        b: u64,
        length: u64,
    },
    SwapPages {
        a: u64,
        b: u64,
    },
    /// A page takes the place of another.
    Repeat {
        from: u64,
        to: u64,
    },
    /// Bytes are taken out, and what follows moves up.
    Remove {
        at: u64,
        length: u64,
    },
    Truncate {
        at: u64,
    },
    TruncatePages {
        pages: u64,
    },
}

const PAGE: u64 = 8192;

fn tampering() -> impl Strategy<Value = Tampering> {
    // Anywhere, scaled to the file where it is used.
    let at = any::<u64>;
    prop_oneof![
        8 => (at(), 0..8u8).prop_map(|(at, bit)| Tampering::Flip { at, bit }),
        3 => (at(), proptest::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Tampering::Overwrite { at, bytes }),
        1 => (at(), 1..3000u64).prop_map(|(at, length)| Tampering::Zero { at, length }),
        3 => (at(), at(), 1..400u64).prop_map(|(a, b, length)| Tampering::Swap { a, b, length }),
        2 => (at(), at()).prop_map(|(a, b)| Tampering::SwapPages { a, b }),
        1 => (at(), at()).prop_map(|(from, to)| Tampering::Repeat { from, to }),
        1 => (at(), 1..300u64).prop_map(|(at, length)| Tampering::Remove { at, length }),
        1 => at().prop_map(|at| Tampering::Truncate { at }),
        1 => at().prop_map(|pages| Tampering::TruncatePages { pages }),
    ]
}

impl Tampering {
    fn apply(&self, file: &mut Vec<u8>) {
        let size = file.len() as u64;
        let (page, pages) = (PAGE as usize, size / PAGE);
        let place = |at: u64, length: u64| (at % (size - length)) as usize;
        match self {
            Self::Flip { at, bit } => file[place(*at, 1)] ^= 1 << bit,
            Self::Overwrite { at, bytes } => {
                let at = place(*at, bytes.len() as u64);
                file[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Zero { at, length } => {
                let at = place(*at, *length);
                file[at..at + *length as usize].fill(0);
            }
            Self::Swap { a, b, length } => {
                let (a, b) = (place(*a, *length), place(*b, *length));
                (0..*length as usize).for_each(|n| file.swap(a + n, b + n));
            }
            Self::SwapPages { a, b } => {
                let (a, b) = ((a % pages) as usize * page, (b % pages) as usize * page);
                (0..page).for_each(|n| file.swap(a + n, b + n));
            }
            Self::Repeat { from, to } => {
                let (from, to) = ((from % pages) as usize * page, (to % pages) as usize * page);
                file.copy_within(from..from + page, to);
            }
            Self::Remove { at, length } => {
                let at = place(*at, *length);
                file.drain(at..at + *length as usize);
            }
            Self::Truncate { at } => file.truncate(place(*at, 1)),
            Self::TruncatePages { pages: n } => file.truncate((n % pages) as usize * page),
        }
    }
}

/// Everything that the log says, but for when pieces of output came and into how many.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Content {
    events: Vec<String>,
    beside: Vec<String>,
    outputs: BTreeMap<String, Vec<u8>>,
    checkpoints: Vec<String>,
}

impl Content {
    /// Reads it with SQLite's own means, as `verify` does not.
    pub(crate) fn read(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open_with_flags(
            format!("file:{}?mode=ro&immutable=1", path.display()),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_URI,
        )?;
        let lines = |sql: &str| -> rusqlite::Result<Vec<String>> {
            let mut statement = connection.prepare(sql)?;
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                (0..columns).map(|n| Ok(format!("{:?}", row.get_ref(n)?))).collect()
            })?;
            rows.map(|row: rusqlite::Result<Vec<String>>| Ok(row?.join(" "))).collect()
        };
        let events = lines(
            "SELECT e.position, s.name, e.version, e.event_id, t.name, e.recorded_at, e.lag, \
             e.actor_kind, a.name, c.name, e.causation_id, e.annex_digest, e.given, \
             e.events, e.payload FROM events e NOT INDEXED LEFT JOIN names s ON s.id = e.stream \
             LEFT JOIN names t ON t.id = e.type LEFT JOIN names a ON a.id = e.actor \
             LEFT JOIN names c ON c.id = e.correlation ORDER BY 1",
        )?;
        let mut beside = lines("SELECT position, salt, bytes FROM annexes ORDER BY 1")?;
        beside.extend(lines("SELECT position, ordered FROM erasures ORDER BY 1")?);
        beside.extend(lines("SELECT level, idx, hashes FROM tiles NOT INDEXED ORDER BY 1, 2")?);
        let mut outputs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let sql = "SELECT hex(deployment), bytes FROM outputs NOT INDEXED ORDER BY cursor";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        for row in rows {
            let (deployment, bytes) = row?;
            outputs.entry(deployment).or_default().extend(bytes);
        }
        let checkpoints = lines("SELECT size, note FROM checkpoints ORDER BY 1")?;
        Ok(Self { events, beside, outputs, checkpoints })
    }

    /// What nothing tells of is that an older checkpoint was once there.
    fn is_kept_by(&self, changed: &Self) -> bool {
        (&self.events, &self.beside, &self.outputs)
            == (&changed.events, &changed.beside, &changed.outputs)
            && changed.checkpoints.iter().all(|note| self.checkpoints.contains(note))
    }
}

#[test]
fn a_file_changed_at_random_is_found_or_says_the_same() {
    let original = Copy::new();
    let content = Content::read(&original.path()).unwrap();
    let outside = Trust { keys: vec![note_key()], checkpoints: vec![world().newest.clone()] };
    let copy = Copy::new();
    // Always the same ones, so that a change of the program is all that can fail.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let (found, same) = (Cell::new(0), Cell::new(0));
    let done = runner.run(&proptest::collection::vec(tampering(), 1..3), |tamperings| {
        let mut file = world().file.clone();
        for tampering in &tamperings {
            if file.len() as u64 > 2 * PAGE {
                tampering.apply(&mut file);
            }
        }
        copy.put(&file);
        match copy.verify(&outside) {
            Err(VerifyError::Fault(fault)) => {
                prop_assert!(!fault.to_string().contains('\n'));
                found.set(found.get() + 1);
            }
            Ok(_) => {
                let changed = Content::read(&copy.path());
                let changed = changed.map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert!(content.is_kept_by(&changed), "not found: {:?}", tamperings);
                same.set(same.get() + 1);
            }
            // A file that says to be of a newer program is left to that one.
            Err(VerifyError::Open(OpenError::TooNew { .. })) => {}
            Err(error) => return Err(TestCaseError::fail(format!("no verdict: {error:?}"))),
        }
        Ok(())
    });
    done.unwrap();
    // Most of the file says something; what is free on its pages does not.
    let (found, same) = (found.get(), same.get());
    assert!(found > 1_000 && same > 30, "{found} found, {same} the same");
}
