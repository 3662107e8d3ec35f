//! `ledger log`

use crate::connection::Connection;
use crate::failure::{Exit, Failure, Outcome};
use crate::hint;
use crate::log_line;
use crate::screen;
use api_client::http::Client;
use api_wire::http::{LogEvent, LogQuery, WAIT_SECONDS_MAX};
use clap::Args;
use clap::builder::PossibleValuesParser;
use ledger_core::event::Event;
use ledger_core::names::AgentName;
use ledger_core::{ActivationId, Position, StreamId};
use rustix::fs::FileType;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  ledger log --agent web-1
  ledger log --follow --from 1200
  ledger log --type DeploymentFailed --format jsonl | jq .payload.reason
  ledger log --format jsonl > log.jsonl

Streams: workspace/W, sessions/W, agent/W/NAME, activation/ID, node/ID.
With --format jsonl every line is an object with the keys position, stream, version, event_id, type, occurred_at, recorded_at, actor, correlation_id, causation_id, payload.";

/// Events asked for at once: a page that is quick to make and to read.
const PAGE_EVENTS: usize = 1000;
/// How long `--follow` goes on asking a server that does not answer.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(3600);

/// The pause after an answer that brought nothing new.
const STUCK_PAUSE: Duration = Duration::from_millis(250);
/// So many of them in a row are a defect: what is asked for is there.
const STUCK_MAX: u32 = 20;

/// Print the events of the log, the oldest first
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Log {
    /// Only this stream, like agent/default/web-1
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamId>,
    /// Only what is about this agent: its stream, and its comings and goings
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// Only this type of event, like DeploymentFailed
    #[arg(long = "type", value_name = "TYPE", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(Event::TYPE_NAMES))]
    type_name: Option<String>,
    /// Only what belongs to this activation
    #[arg(long, value_name = "ID")]
    activation: Option<ActivationId>,
    /// Begin at this position
    #[arg(long, value_name = "POSITION", default_value_t = Position(1))]
    from: Position,
    /// At most so many events; without it, all
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on with new events as they come, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// One line an event for people, or one JSON object an event
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: LogFormat,
    #[command(flatten)]
    connection: Connection,
}

/// The form of the events: a line for people, or an object for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Jsonl,
}

impl Log {
    pub(crate) async fn run(self) -> Outcome {
        let mut client = self.connection.client()?;
        if self.follow {
            client = client.with_patience(FOLLOW_PATIENCE);
        }
        let query = LogQuery {
            from: Some(self.from),
            stream: self.stream,
            agent: self.agent,
            type_name: self.type_name,
            activation: self.activation,
            ..LogQuery::default()
        };
        let left = self.limit.unwrap_or(usize::MAX);
        let pager = Pager { client, query, left, follow: self.follow, format: self.format };
        if may_watch(self.follow) {
            screen::watched("reading the log", pager.run()).await?;
        } else {
            pager.run().await?;
        }
        Ok(Exit::Done)
    }
}

/// Lines on a terminal tell enough of what is followed, and behind a pipe another
/// program may have the terminal, as a pager does.
fn may_watch(follow: bool) -> bool {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return !follow;
    }
    let found = rustix::fs::fstat(&stdout);
    found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode).is_file())
}

/// Reads page after page.
struct Pager {
    client: Client,
    query: LogQuery,
    left: usize,
    follow: bool,
    format: LogFormat,
}

impl Pager {
    async fn run(mut self) -> Result<(), Failure> {
        // The log as it is now; what is appended meanwhile is for --follow.
        let mut until = None;
        let mut stuck = 0;
        let mut nothing = true;
        while self.left > 0 {
            self.query.limit = Some(self.left.min(PAGE_EVENTS));
            let page = hint::explain(&self.client, self.client.log(&self.query).await, &[]).await?;
            let until = *until.get_or_insert(page.head);
            let wanted = |event: &&LogEvent| self.follow || event.position <= until;
            let events: Vec<&LogEvent> =
                page.events.iter().filter(wanted).take(self.left).collect();
            // Lines that go to a file tell nobody how far it is.
            if io::stdout().is_terminal() {
                screen::above(|| self.show(&events))?;
            } else {
                self.show(&events)?;
            }
            self.left -= events.len();
            nothing &= events.is_empty();
            screen::doing(format!(
                "at position {} of {}",
                page.next.0.saturating_sub(1),
                page.head
            ));
            let caught_up = page.next > if self.follow { page.head } else { until };
            if let Some(agent) = self.query.agent.clone().filter(|_| caught_up && nothing) {
                nothing = false;
                hint::tell_if_unknown(&self.client, &agent).await;
            }
            if caught_up && !self.follow {
                return Ok(());
            }
            if self.query.from < Some(page.next) {
                stuck = 0;
            } else {
                // A server that stops answers at once, and with nothing.
                stuck += 1;
                if stuck > STUCK_MAX && !self.follow {
                    return Err(Failure::failed("the server does not move on in its log")
                        .hint("this is a defect of the server; its own log may say more"));
                }
                tokio::time::sleep(STUCK_PAUSE).await;
            }
            self.query.from = Some(page.next);
            self.query.wait = caught_up.then_some(WAIT_SECONDS_MAX);
        }
        Ok(())
    }

    fn show(&self, events: &[&LogEvent]) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for event in events {
            match self.format {
                LogFormat::Text => writeln!(out, "{}", log_line::text(event))?,
                LogFormat::Jsonl => writeln!(out, "{}", log_line::json(event)?)?,
            }
        }
        out.flush()
    }
}
