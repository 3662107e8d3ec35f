//! A small mutator: the same seed makes the same inputs, on every machine.

use crate::rig::random::Random;

/// Inputs are not grown beyond this: decoders check lengths early.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Pieces that decoders stumble over.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"-0",
    b"-1",
    b"0",
    b"1",
    b"1e999",
    b"1.5",
    b"9007199254740993",
    b"18446744073709551615",
    b"18446744073709551616",
    b"\0",
    b"\xff",
    b"\xc3",
    "é".as_bytes(),
    "\u{2028}".as_bytes(),
    b"/",
    b"..",
    b"%00",
    b"%2F",
    b"&",
    b"=",
    b"+",
    b" ",
    b"\r\n",
    b"T",
    b"Z",
    b"+23:59",
    b"-9999",
    b"*",
    b"?",
];

/// Changes good inputs.
pub(crate) struct Mutator(Random);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    /// Takes one of the seeds and changes it in one to eight places.
    pub(crate) fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(8) {
            self.change(&mut bytes, seeds);
        }
        bytes.truncate(INPUT_BYTES_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let end = at + self.below(bytes.len() - at + 1).min(32);
        match self.below(8) {
            // Flip a bit, or set a byte.
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.0.next() as u8,
            // Cut out, or cut off.
            2 => drop(bytes.drain(at..end)),
            3 if self.below(4) == 0 => bytes.truncate(at),
            // Say something twice, or nest it deeply.
            4 => {
                let piece = bytes[at..end].to_vec();
                let times = if self.below(16) == 0 { 300 } else { 1 };
                bytes.splice(at..at, piece.repeat(times));
            }
            // Take a piece from another input.
            5 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                let to = from + self.below(other.len() - from + 1);
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            // Put in what decoders stumble over.
            _ => {
                let piece = PIECES[self.below(PIECES.len())];
                let to = if self.below(2) == 0 { at } else { end };
                bytes.splice(at..to, piece.iter().copied());
            }
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    let seeds = [b"{\"a\":1}".to_vec(), Vec::new()];
    let inputs = |seed| {
        let mut mutator = Mutator::new(seed);
        (0..2000).map(|_| mutator.mutate(&seeds)).collect::<Vec<_>>()
    };
    assert_eq!(inputs(7), inputs(7));
    assert_ne!(inputs(7), inputs(8));
}
