//! Texts that many events share, each stored once and known by a number.

use foldhash::fast::RandomState;
use ledger_core::StreamId;
use std::collections::HashMap;
use std::fmt::Write;

/// The writer's knowledge of the table `names`. A number, once committed, is for
/// ever, whichever server gave it.
#[derive(Default)]
pub(super) struct Interner {
    known: HashMap<String, i32, RandomState>,
    /// Streams of which the name need not be written out.
    streams: HashMap<StreamId, i32, RandomState>,
    /// What the batch needs and is not known, in order.
    asked: Vec<String>,
    /// Where each of those stands, from 1, below zero.
    places: HashMap<String, i32, RandomState>,
    /// The numbers of those that were asked, once the database told.
    told: Vec<i32>,
    /// Where the name of a stream is written out.
    scratch: String,
}

impl Interner {
    /// Returns the number of a stream's name or, below zero, its place among those asked.
    pub(super) fn stream(&mut self, stream: &StreamId) -> i32 {
        if let Some(number) = self.streams.get(stream) {
            return *number;
        }
        let mut name = std::mem::take(&mut self.scratch);
        name.clear();
        // Writing to a string cannot fail.
        let _ = write!(name, "{stream}");
        let number = self.number(&name);
        self.scratch = name;
        // Above 0 it is committed, and no activation's.
        if number > 0 {
            self.streams.insert(stream.clone(), number);
        }
        number
    }

    /// Returns the number of a text or, below zero, its place among those asked.
    pub(super) fn number(&mut self, name: &str) -> i32 {
        if let Some(number) = self.known.get(name).or_else(|| self.places.get(name)) {
            return *number;
        }
        self.asked.push(name.to_owned());
        // A batch has far fewer names than 2^31.
        let place = i32::try_from(self.asked.len()).map_or(i32::MIN, |place| -place);
        self.places.insert(name.to_owned(), place);
        place
    }

    /// Returns what the batch needs and is not known.
    pub(super) fn asked(&self) -> &[String] {
        &self.asked
    }

    /// Takes the numbers of what was asked. They are good once they are committed.
    pub(super) fn told(&mut self, numbers: Vec<i32>) {
        self.told = numbers;
    }

    /// Keeps what the transaction told, but for what is hardly ever needed again:
    /// the streams of activations, which come and go with the history.
    pub(super) fn committed(&mut self) {
        let told = self.asked.drain(..).zip(self.told.drain(..));
        self.known.extend(told.filter(|(name, _)| !name.starts_with("activation/")));
        self.abandoned();
    }

    /// Forgets what the transaction asked.
    pub(super) fn abandoned(&mut self) {
        self.asked.clear();
        self.places.clear();
        self.told.clear();
    }
}
