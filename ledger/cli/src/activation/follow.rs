//! Follows an activation over two long polls: its events, and its output.
//!
//! A connection that breaks is bridged: the client asks again from the same
//! place until the wait is over, and nothing is shown twice.

use super::item::{Item, Verdict};
use super::outage::{Outage, Poll};
use super::progress::{Mark, Progress};
use super::view::View;
use crate::daemon::StopSignals;
use crate::failure::Failure;
use crate::screen::REDRAW;
use crate::terminal::note;
use api_client::http::{Client, RequestError};
use api_wire::http::{LogPage, LogQuery, OutputPage, OutputQuery, WAIT_SECONDS_MAX};
use data_encoding::BASE64;
use ledger_core::{ActivationId, Position, Timestamp};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How often it is told what is waited for.
const REMINDER: Duration = Duration::from_secs(30);
/// How long output is asked for while an end waits for it: long enough for a
/// slow server, short enough to wait for what was lost.
const HELD_WAIT_SECONDS: u64 = 1;

/// An answer with nothing in it that comes sooner than this was not waited for.
const EMPTY_TOO_SOON: Duration = Duration::from_millis(500);

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, RequestError>> + Send>>;

/// Where to follow from, and until when.
pub(crate) struct Follow {
    pub(crate) client: Client,
    pub(crate) activation: ActivationId,
    pub(crate) from: Position,
    pub(crate) deadline: Instant,
}

/// The two long polls, each with the place that it has reached.
struct Polls {
    log_client: Client,
    output_client: Client,
    activation: ActivationId,
    log_from: Position,
    log_begun: Instant,
    output_after: u64,
    output_begun: Instant,
}

impl Polls {
    fn log(&self, pause: Duration) -> Answer<LogPage> {
        let query = LogQuery {
            activation: Some(self.activation),
            from: Some(self.log_from),
            wait: Some(WAIT_SECONDS_MAX),
            ..LogQuery::default()
        };
        let client = self.log_client.clone();
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            client.log(&query).await
        })
    }

    /// Asks on where the page ends.
    fn log_after(&mut self, page: &LogPage) -> Answer<LogPage> {
        self.log_from = page.next.max(self.log_from);
        let pause = pause_after(page.events.is_empty(), self.log_begun);
        self.log_begun = Instant::now();
        self.log(pause)
    }

    /// The same for output.
    fn output_after(&mut self, page: &OutputPage, held: bool) -> Answer<OutputPage> {
        self.output_after = page.next.max(self.output_after);
        let pause = pause_after(page.chunks.is_empty(), self.output_begun);
        self.output_begun = Instant::now();
        self.output(held, pause)
    }

    fn output(&self, held: bool, pause: Duration) -> Answer<OutputPage> {
        let query = OutputQuery {
            activation: Some(self.activation),
            after: Some(self.output_after),
            wait: Some(if held { HELD_WAIT_SECONDS } else { WAIT_SECONDS_MAX }),
            ..OutputQuery::default()
        };
        let client = self.output_client.clone();
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            client.output(&query).await
        })
    }
}

impl Follow {
    /// Shows what happens until everything that counts has ended, the deadline
    /// passed or the user interrupts, and returns the verdict.
    pub(crate) async fn run(
        self,
        progress: &mut Progress,
        view: &mut View,
    ) -> Result<Verdict, Failure> {
        let outage = Arc::new(Mutex::new(Outage::default()));
        let mut polls = self.polls(&outage);
        let mut log = polls.log(Duration::ZERO);
        let mut output = polls.output(false, Duration::ZERO);
        // Whether the output was asked for while an end waited for it.
        let mut asked = (progress.mark(), false);
        let (mut reminder, mut redraw) = (every(REMINDER), every(REDRAW));
        let mut refreshed: Option<Answer<_>> = None;
        // One future for the whole wait, so that no signal falls between two.
        let mut signals = StopSignals::new()?;
        let mut interrupted = pin!(signals.next());
        let mut otherwise = Verdict::TimedOut;
        view.begin_to_draw(progress, now());
        while !progress.is_done() {
            tokio::select! {
                page = &mut log => {
                    self.answered(&outage, Poll::Log);
                    let page = page?;
                    for event in &page.events {
                        view.show(&progress.event(event))?;
                    }
                    view.draw(progress, now());
                    log = polls.log_after(&page);
                    if progress.holds() && !asked.1 {
                        // The long wait for output was begun in ignorance.
                        asked = (progress.mark(), true);
                        output = polls.output(true, Duration::ZERO);
                    }
                }
                page = &mut output => {
                    self.answered(&outage, Poll::Output);
                    let page = page?;
                    view.show(&take_output(progress, &page, asked.0))?;
                    asked = (progress.mark(), progress.holds());
                    output = polls.output_after(&page, asked.1);
                }
                _ = reminder.tick(), if refreshed.is_none() => {
                    let (client, id) = (self.client.clone().with_patience(Duration::ZERO), self.activation);
                    refreshed = Some(Box::pin(async move { client.activation(id).await }));
                }
                answer = answered(&mut refreshed) => {
                    refreshed = None;
                    // Only a reminder: the polls find out what is wrong.
                    if let Ok(answer) = answer {
                        progress.refresh(&answer);
                    }
                    view.waiting(progress, now());
                }
                _ = redraw.tick(), if view.draws() => view.draw(progress, now()),
                () = tokio::time::sleep_until(self.deadline) => break,
                _ = &mut interrupted => {
                    otherwise = Verdict::Interrupted;
                    break;
                }
            }
        }
        view.end_to_draw();
        view.show(&progress.flush())?;
        Ok(progress.verdict(otherwise))
    }

    fn polls(&self, outage: &Arc<Mutex<Outage>>) -> Polls {
        Polls {
            log_client: self.patient_client(outage.clone(), Poll::Log),
            output_client: self.patient_client(outage.clone(), Poll::Output),
            activation: self.activation,
            log_from: self.from,
            log_begun: Instant::now(),
            output_after: 0,
            output_begun: Instant::now(),
        }
    }

    /// A client that asks again until the deadline, and says so once.
    fn patient_client(&self, outage: Arc<Mutex<Outage>>, poll: Poll) -> Client {
        let patience = self.deadline.saturating_duration_since(Instant::now());
        // The deadline ends the wait; a retry must not end it before.
        let client = self.client.clone().with_patience(patience.saturating_mul(2));
        let address = self.client.address().to_owned();
        client.on_retry(Arc::new(move |error, _| {
            if lock(&outage).broke(poll) {
                note(format!(
                    "{error}; the activation goes on, and is followed again as soon as {address} answers"
                ));
            }
        }))
    }

    fn answered(&self, outage: &Mutex<Outage>, poll: Poll) {
        if lock(outage).was_answered(poll) {
            note(format!("{} answers again", self.client.address()));
        }
    }
}

/// Whole before and after each change, whoever died holding it.
fn lock(outage: &Mutex<Outage>) -> MutexGuard<'_, Outage> {
    outage.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ticks from a period on; what is late moves what follows.
fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A server that stops answers at once and with nothing: then it is left alone
/// for a moment, and no stop becomes a storm.
fn pause_after(empty: bool, begun: Instant) -> Duration {
    if empty && begun.elapsed() < EMPTY_TOO_SOON { EMPTY_TOO_SOON } else { Duration::ZERO }
}

/// Takes in a page of output that was asked for after the mark.
fn take_output(progress: &mut Progress, page: &OutputPage, mark: Mark) -> Vec<Item> {
    if page.chunks.is_empty() {
        return progress.output_ended(mark);
    }
    let mut items = Vec::new();
    for chunk in &page.chunks {
        match BASE64.decode(chunk.bytes.as_bytes()) {
            Ok(bytes) => items.extend(progress.output(chunk.deployment, chunk.offset, &bytes)),
            Err(_) => note(format!("a piece of output of {} cannot be read", chunk.deployment)),
        }
    }
    items
}

/// Waits for the answer, if one was asked for.
async fn answered<T>(question: &mut Option<Answer<T>>) -> Result<T, RequestError> {
    match question {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

/// Returns the moment, to tell how long something takes.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
