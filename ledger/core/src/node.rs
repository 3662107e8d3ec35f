//! One server's starts and stops.

use crate::event::Event;
use crate::time::Timestamp;

/// What a node's stream says, as far as decisions need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Whether it started and has not stopped.
    pub running: bool,
    /// When it last wrote to its own stream, or took a session in.
    pub seen_at: Timestamp,
}

impl Node {
    /// Applies one recorded event of `node/<id>`.
    pub fn evolve(&mut self, recorded_at: Timestamp, event: &Event) {
        // Whoever records a node as lost is another one, or a later run of it.
        if !matches!(event, Event::NodeLost(_)) {
            self.seen_at = recorded_at;
        }
        if matches!(event, Event::NodeStarted(_)) {
            self.running = true;
        }
        if matches!(event, Event::NodeStopped(_) | Event::NodeLost(_)) {
            self.running = false;
        }
    }
}
