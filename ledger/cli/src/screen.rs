//! What is drawn at the bottom of a terminal while something goes on. It is on
//! stderr, goes away without a trace, and lines are written above it.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::future::Future;
use std::io::{self, IsTerminal};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// What ends sooner needs no word.
const QUIET: Duration = Duration::from_secs(2);
/// How often it is drawn anew: slow enough for the eye, and for a remote terminal.
pub(crate) const REDRAW: Duration = Duration::from_millis(200);

/// What is drawn now. One program has one bottom.
static BOTTOM: Mutex<Option<MultiProgress>> = Mutex::new(None);
/// What is being done, for whoever waits long enough to be told.
static DOING: Mutex<String> = Mutex::new(String::new());
/// When a line was last written above it.
static WRITTEN: Mutex<Option<Instant>> = Mutex::new(None);

/// Nothing that is kept here is broken by a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether anything may be drawn on stderr.
pub(crate) fn may_draw() -> bool {
    let variable = |name: &str| std::env::var(name).ok();
    is_drawn(io::stderr().is_terminal(), variable("TERM").as_deref(), variable("CI").as_deref())
}

/// A log of CI keeps every drawing, one below the other, terminal or not.
fn is_drawn(terminal: bool, term: Option<&str>, ci: Option<&str>) -> bool {
    let moves = term.is_some_and(|term| !term.is_empty() && term != "dumb");
    terminal && moves && ci.is_none_or(|ci| ci.is_empty() || ci == "false" || ci == "0")
}

/// Writes lines above what is drawn.
pub(crate) fn above<T>(write: impl FnOnce() -> T) -> T {
    let bottom = lock(&BOTTOM).clone();
    let written = match bottom {
        Some(bottom) => bottom.suspend(write),
        None => write(),
    };
    *lock(&WRITTEN) = Some(Instant::now());
    written
}

/// Says what is being done, for who waits.
pub(crate) fn doing(what: impl Into<String>) {
    *lock(&DOING) = what.into();
}

/// Lines at the bottom. They go away with this.
pub(crate) struct Bottom {
    bars: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl Bottom {
    pub(crate) fn begin() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        *lock(&BOTTOM) = Some(bars.clone());
        Self { bars, lines: Vec::new() }
    }

    /// Draws these lines, each cut to the terminal's width.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        while let Some(line) = self.lines.get(lines.len()..).and_then(<[ProgressBar]>::last) {
            self.bars.remove(line);
            self.lines.pop();
        }
        for (n, text) in lines.iter().enumerate() {
            if self.lines.get(n).is_none() {
                let line = self.bars.add(ProgressBar::no_length());
                // The library's own words, which the test of this file keeps.
                line.set_style(line_style());
                self.lines.push(line);
            }
            if let Some(line) = self.lines.get(n) {
                line.set_message(text.clone());
            }
        }
    }
}

impl Drop for Bottom {
    fn drop(&mut self) {
        for line in &self.lines {
            line.finish_and_clear();
        }
        // On a terminal that is gone there is nothing to clear.
        let _ = self.bars.clear();
        *lock(&BOTTOM) = None;
    }
}

fn line_style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Does the work. If that takes long and no line tells of it, the bottom does:
/// what is being done, and since when.
pub(crate) async fn watched<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !may_draw() {
        return work.await;
    }
    doing(what);
    let begun = Instant::now();
    let mut work = pin!(work);
    let mut ticks = interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut bottom = None;
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {}
        }
        let told = lock(&WRITTEN).map_or(begun, |written| written.max(begun));
        if told.elapsed() < QUIET {
            // Lines come: they tell enough.
            bottom = None;
            continue;
        }
        let line = waiting_line(&lock(&DOING), begun.elapsed());
        bottom.get_or_insert_with(Bottom::begin).draw(&[line]);
    }
}

fn waiting_line(what: &str, since: Duration) -> String {
    let dots = ["|", "/", "-", "\\"];
    let turn = since.as_millis() / REDRAW.as_millis();
    let sign = dots.get(usize::try_from(turn % 4).unwrap_or_default()).unwrap_or(&"|");
    format!("{sign} {} s, {what}", since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_where_it_cannot_be_wiped_away() {
        let xterm = Some("xterm-256color");
        for (terminal, term, ci, drawn) in [
            (true, xterm, None, true),
            (true, xterm, Some(""), true),
            (true, xterm, Some("false"), true),
            (false, xterm, None, false),
            (true, Some("dumb"), None, false),
            (true, Some(""), None, false),
            (true, None, None, false),
            (true, xterm, Some("true"), false),
            (true, xterm, Some("1"), false),
        ] {
            assert_eq!(is_drawn(terminal, term, ci), drawn, "{terminal} {term:?} {ci:?}");
        }
    }

    #[test]
    fn who_waits_is_told_what_for_and_since_when() {
        let line = |millis| waiting_line("reading the log", Duration::from_millis(millis));
        assert_eq!(line(2000), "- 2 s, reading the log");
        assert_ne!(line(2000), line(2200), "it moves");
        assert!(ProgressStyle::with_template("{wide_msg}").is_ok());
    }
}
