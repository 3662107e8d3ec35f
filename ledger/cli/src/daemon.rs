//! What the two verbs that stay, `serve` and `agent`, have in common.

use crate::terminal::note;
use clap::{Args, ValueEnum};
use std::io;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// All that matters, and of the requests only those that failed by the server's fault.
const FILTER: &str = "info,ledger::request=warn";

/// The options of every verb that stays.
#[derive(Args, Clone, Debug)]
pub(crate) struct Daemon {
    /// The file with settings [default: /etc/ledger/ledger.toml for root, else
    /// $XDG_CONFIG_HOME/ledger/ledger.toml, if it is there]
    // Read before all others, by `config`.
    #[arg(long, value_name = "FILE", env = "LEDGER_CONFIG", hide_env_values = true)]
    #[arg(help_heading = "Configuration")]
    config: Option<PathBuf>,
    /// What is logged: a level (error, warn, info, debug), and levels of parts, like
    /// info,ledger::request=info
    #[arg(long, value_name = "FILTER", env = "LEDGER_LOG", hide_env_values = true)]
    #[arg(default_value = FILTER, value_parser = a_filter, help_heading = "Logging")]
    log: String,
    /// The form of what is logged: lines for people, or one JSON object a line
    #[arg(long, value_enum, value_name = "FORM", env = "LEDGER_LOG_FORMAT")]
    #[arg(hide_env_values = true, default_value_t, help_heading = "Logging")]
    log_format: LogFormat,
}

/// The form of what is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Daemon {
    /// Sends logs to stderr from now on, down to `debug`.
    pub(crate) fn log_to_stderr(&self) {
        // It was read once, by the parser of the option.
        let filter = EnvFilter::try_new(&self.log).unwrap_or_else(|_| EnvFilter::new(FILTER));
        // Below this, libraries print whole requests, with the token in them.
        let least = LevelFilter::DEBUG;
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(false);
        // Only a second subscriber is refused, and there is none.
        let _ = match self.log_format {
            LogFormat::Text => lines.with_target(false).finish().with(least).try_init(),
            LogFormat::Json => lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .finish()
                .with(least)
                .try_init(),
        };
    }

    /// Says something to whoever started the program, in the form of the log.
    pub(crate) fn say(&self, message: impl AsRef<str>) {
        match self.log_format {
            LogFormat::Text => note(message),
            LogFormat::Json => tracing::info!("{}", message.as_ref()),
        }
    }

    /// Warns whoever started the program.
    pub(crate) fn warn(&self, message: impl AsRef<str>) {
        match self.log_format {
            LogFormat::Text => note(format!("warning: {}", message.as_ref())),
            LogFormat::Json => tracing::warn!("{}", message.as_ref()),
        }
    }
}

/// A word that is no level would be taken for a part that logs all, and silence
/// everything else.
fn a_filter(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    for part in text.split(',').map(str::trim) {
        if !part.contains(['=', '[']) && !is_level(part) {
            return Err(format!(
                "`{part}` is no level; use error, warn, info, debug or off, or PART=LEVEL, like info,ledger::request=info"
            ));
        }
    }
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The signals that ask a program to stop in good order.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes the signals over. From here on they do not end the program by themselves.
    pub(crate) fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_and_levels_of_parts() {
        for good in ["info", "INFO", "debug,hyper=off", FILTER, "off"] {
            assert!(a_filter(good).is_ok(), "{good}");
        }
        for bad in ["", "verbose", "warn, hyper=off", "info,hyper", "info,hyper=loud", "a[b"] {
            assert!(a_filter(bad).is_err(), "{bad}");
        }
    }
}
