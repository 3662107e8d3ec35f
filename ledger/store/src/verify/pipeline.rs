//! One thread reads, some hash and decode, and the caller's checks.

use super::batch::{Batch, Item, Looked};
use super::{Source, Stop, VerifyError, Watch, tell};
use crate::open::OpenError;
use ledger_core::Position;
use ledger_core::record::Columns;
use ledger_core::verify::{Checker, Fault, Verified};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Batches that wait between two threads: enough that none waits for another for
/// long, and few enough to stay in the caches.
const WAITING_BATCHES: usize = 4;

/// An item that was checked.
pub(crate) struct Seen<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) item: &'a Item,
    /// Of an event.
    pub(crate) columns: Option<Columns<'a>>,
    /// Has what was checked so far, this item included.
    pub(crate) checker: &'a Checker,
}

/// Sees each item after it was checked.
pub(crate) type Tap<'a> = &'a mut dyn FnMut(Seen<'_>) -> Result<(), VerifyError>;

/// Reads a log from the front to the end and checks it.
pub(crate) fn run(
    source: impl Source,
    mut checker: Checker,
    last: Position,
    watch: Watch<'_>,
    tap: Tap<'_>,
) -> Result<Verified, VerifyError> {
    let stop = AtomicBool::new(false);
    let (read, afterwards) = thread::scope(|scope| {
        let workers =
            thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).max(1));
        let (inputs, outputs): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| {
                let (input, batches) = sync_channel(WAITING_BATCHES);
                let (seen, output) = sync_channel(WAITING_BATCHES);
                scope.spawn(move || work(&batches, &seen));
                (input, output)
            })
            .unzip();
        let (done, spare) = sync_channel(WAITING_BATCHES);
        let stop = &stop;
        let reader = scope.spawn(move || deal(source, stop, &inputs, &spare));
        let checked = check(&mut checker, &outputs, &done, &mut |p| tell(watch, p, last), tap);
        // What is still read is of no use.
        stop.store(true, Ordering::Relaxed);
        drop(outputs);
        let read = reader.join();
        checked.map(|afterwards| (read, afterwards))
    })?;
    match read {
        Ok(Ok(())) => {
            let verified = checker.finish()?;
            afterwards.map_or(Ok(verified), |fault| Err(fault.into()))
        }
        Ok(Err(Stop::Fault(fault))) => Err(checker.container(fault).into()),
        Ok(Err(stop)) => Err(stop.into()),
        Err(_) => Err(VerifyError::Open(OpenError::Database {
            what: "reading it".to_owned(),
            source: "the thread that reads ended by a defect of this program".into(),
        })),
    }
}

/// Hands the batches to the workers, one after the other. Those that were checked are
/// filled again: their memory is there.
fn deal(
    source: impl Source,
    stop: &AtomicBool,
    inputs: &[SyncSender<Batch>],
    spare: &Receiver<Batch>,
) -> Result<(), Stop> {
    let mut next = inputs.iter().cycle();
    source.read(stop, &mut |batch| {
        let full = std::mem::replace(batch, spare.try_recv().unwrap_or_default());
        let sent = next.next().map(|input| input.send(full));
        sent.and_then(Result::ok).ok_or(Stop::Unheard)
    })
}

fn work(batches: &Receiver<Batch>, seen: &SyncSender<Batch>) {
    for mut batch in batches {
        batch.look();
        if seen.send(batch).is_err() {
            return;
        }
    }
}

/// Checks the batches in the order in which they were dealt. Returns what is wrong
/// about the whole, if nothing else is.
fn check(
    checker: &mut Checker,
    outputs: &[Receiver<Batch>],
    done: &SyncSender<Batch>,
    tell: &mut dyn FnMut(Position) -> Result<(), VerifyError>,
    tap: Tap<'_>,
) -> Result<Option<Fault>, VerifyError> {
    let mut afterwards = None;
    for output in outputs.iter().cycle() {
        // The first worker without a batch has the end.
        let Ok(mut batch) = output.recv() else { break };
        let mut told = batch.take_told();
        let mut each = told.drain(..);
        for item in &batch.items {
            if let Item::Afterwards(fault) = item {
                afterwards.get_or_insert_with(|| fault.clone());
            }
            let columns = check_item(checker, &batch, item, &mut each)?;
            tap(Seen { batch: &batch, item, columns, checker })?;
        }
        drop(each);
        batch.keep_told(told);
        batch.clear();
        // Where there are enough of them, or nobody reads any more, it ends here.
        drop(done.try_send(batch));
        tell(checker.position())?;
    }
    Ok(afterwards)
}

/// Checks an item. Returns an event's columns.
fn check_item<'b>(
    checker: &mut Checker,
    batch: &'b Batch,
    item: &Item,
    told: &mut impl Iterator<Item = Looked>,
) -> Result<Option<Columns<'b>>, Fault> {
    let checked = match item {
        Item::Event(row) => {
            let lost = || Err(Fault::container("an event was lost on the way"));
            let told = told.next().unwrap_or_else(lost);
            let (told, digest) = told.map_err(|fault| checker.container(fault))?;
            let mut columns = batch.columns(row);
            columns.payload_digest = digest;
            checker.event(&columns, &told)?;
            return Ok(Some(columns));
        }
        Item::Erasure { position, ordered } => checker.erasure(*position, *ordered),
        Item::Tile { id, hashes } => checker.tile(*id, hashes.map(|span| batch.bytes(span))),
        Item::Checkpoint { size, note } => match str::from_utf8(batch.bytes(*note)) {
            Ok(note) => checker.checkpoint(*size, note),
            Err(error) => {
                let what = error.to_string();
                let (size, outside) = (*size, false);
                Err(checker.container(Fault::Checkpoint { size, outside, what }))
            }
        },
        Item::Output(place) => checker.output(&batch.piece(place)),
        Item::Root(root) if *root != checker.tree().root() => {
            let what = "the archive's events do not have the root that it ends with";
            Err(checker.container(Fault::container(what)))
        }
        Item::Root(_) | Item::Afterwards(_) => Ok(()),
        Item::Beyond(what) => Err(checker.beyond(what.clone())),
        Item::Fault(fault) => Err(checker.container(fault.clone())),
    };
    checked.map(|()| None)
}
