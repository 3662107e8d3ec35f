//! No bytes from outside make a program panic, and what is accepted is kept whole.
//!
//! Each target is a function over bytes, so that libFuzzer could call it too.
//! Here each runs over mutations of good inputs: for `LEDGER_FUZZ_SECONDS` (a half by
//! default), from `LEDGER_FUZZ_SEED` (the clock by default), which a failure names.

mod live;
mod mutator;
mod seeds;
mod targets;

use crate::rig::random;
use mutator::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A decoder: `true` if it accepts the bytes. Panics if it breaks its promise.
pub(crate) type Target = fn(&[u8]) -> bool;

/// Runs one target over its good inputs and then over mutations of them.
fn fuzz(name: &str, target: Target, seeds: &[Vec<u8>]) {
    for seed in seeds {
        assert!(target(seed), "{name} refuses a good input: {}", String::from_utf8_lossy(seed));
    }
    let seed = seed();
    let mut mutator = Mutator::new(seed);
    let end = Instant::now() + time();
    let mut refused = 0_u64;
    let mut runs = 0_u64;
    while Instant::now() < end {
        let input = mutator.mutate(seeds);
        runs += 1;
        match catch_unwind(AssertUnwindSafe(|| target(&input))) {
            Ok(accepted) => refused += u64::from(!accepted),
            Err(_) => panic!(
                "{name} panicked; LEDGER_FUZZ_SEED={seed}, run {runs}, on {:?}",
                String::from_utf8_lossy(&input)
            ),
        }
    }
    // A target that refuses nothing, or accepts nothing of its neighbourhood, tests nothing.
    assert!(refused > 0 && runs > refused, "{name}: {refused} of {runs} refused");
}

fn seed() -> u64 {
    random::seed("LEDGER_FUZZ_SEED")
}

/// How long each target runs.
fn time() -> Duration {
    let given = std::env::var("LEDGER_FUZZ_SECONDS").ok();
    let seconds = given.map_or(0.5, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs_f64(seconds)
}

#[test]
fn no_message_of_an_agent_or_a_server_makes_the_other_panic() {
    fuzz("FromAgent", targets::from_agent, &seeds::from_agent());
    fuzz("FromServer", targets::from_server, &seeds::from_server());
}

#[test]
fn no_deploy_json_makes_the_reader_panic() {
    fuzz("Spec::parse", targets::spec, &seeds::spec());
}

#[test]
fn no_text_makes_the_reader_of_a_name_panic() {
    for (name, target, good) in targets::TEXTS {
        let seeds: Vec<_> = good.iter().map(|text| text.as_bytes().to_vec()).collect();
        fuzz(name, *target, &seeds);
    }
}

#[test]
fn no_stored_bytes_make_the_decoding_of_an_event_panic() {
    fuzz("Event::decode", targets::event, &seeds::events());
    fuzz("Annex", targets::annex, &[br#"{"error":"a","address":"127.0.0.1"}"#.to_vec()]);
}

#[test]
fn no_body_or_query_of_the_http_api_makes_a_reader_panic() {
    for (name, target, good) in targets::BODIES {
        fuzz(name, *target, &seeds::fill(good));
    }
}
