//! What a server keeps in memory: the folds that its answers come from, as one.

use crate::access::Access;
use crate::fleet::Fleet;
use crate::projection::Projection;
use ledger_core::{Event, Record};

/// The folds of a server, always at the same position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Who runs what.
    pub fleet: Fleet,
    /// Who may do what.
    pub access: Access,
}

impl Projection for Image {
    const NAME: &'static str = "image";
    const VERSION: u32 = 1;
    type State = Self;

    fn apply(state: &mut Self, record: &Record, event: &Event) {
        Fleet::apply(&mut state.fleet, record, event);
        Access::apply(&mut state.access, record, event);
    }
}
