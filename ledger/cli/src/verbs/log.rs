//! `ledger log`

use crate::connection::Connection;
use crate::failure::{Exit, Failure, Outcome};
use crate::hint;
use crate::log_line;
use crate::screen;
use api_client::http::{Client, Streamed};
use api_wire::http::{EventsQuery, LogEvent, LogQuery};
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
        let client = self.connection.client()?;
        let follows = self.follow;
        let reader = Reader {
            client,
            agent: self.agent.clone(),
            left: self.limit.unwrap_or(usize::MAX),
            nothing: true,
            format: self.format,
        };
        let reading = async {
            if follows {
                reader.follow(self.events_query()).await
            } else {
                reader.read(self.log_query()).await
            }
        };
        if may_watch(follows) {
            screen::watched("reading the log", reading).await?;
        } else {
            reading.await?;
        }
        Ok(Exit::Done)
    }

    fn events_query(&self) -> EventsQuery {
        EventsQuery {
            from: Some(self.from),
            stream: self.stream.clone(),
            agent: self.agent.clone(),
            type_name: self.type_name.clone(),
            activation: self.activation,
            ..EventsQuery::default()
        }
    }

    fn log_query(&self) -> LogQuery {
        LogQuery {
            from: Some(self.from),
            stream: self.stream.clone(),
            agent: self.agent.clone(),
            type_name: self.type_name.clone(),
            activation: self.activation,
            ..LogQuery::default()
        }
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

/// Reads the log and prints it.
struct Reader {
    client: Client,
    /// The agent that is asked for, if one is.
    agent: Option<AgentName>,
    /// How many events may still come.
    left: usize,
    /// Whether none came so far.
    nothing: bool,
    format: LogFormat,
}

impl Reader {
    /// Prints what is there, and then what comes.
    async fn follow(mut self, query: EventsQuery) -> Result<(), Failure> {
        let client = self.client.clone().with_patience(FOLLOW_PATIENCE);
        let mut events = client.events(query);
        while self.left > 0 {
            match hint::explain(&self.client, events.next().await, &[]).await? {
                Streamed::Event(event) => {
                    self.show(&[&event])?;
                    screen::doing(format!("at position {}", event.position));
                }
                Streamed::Cursor(cursor) => {
                    screen::doing(format!("at position {cursor}"));
                    self.caught_up().await;
                }
                Streamed::End => return Ok(()),
            }
        }
        Ok(())
    }

    /// Reads page after page, up to where the log ended at the first.
    async fn read(mut self, mut query: LogQuery) -> Result<(), Failure> {
        let mut until = None;
        while self.left > 0 {
            query.limit = Some(self.left.min(PAGE_EVENTS));
            let page = hint::explain(&self.client, self.client.log(&query).await, &[]).await?;
            let until = *until.get_or_insert(page.head);
            let wanted = |event: &&LogEvent| event.position <= until;
            let events: Vec<&LogEvent> =
                page.events.iter().filter(wanted).take(self.left).collect();
            self.show(&events)?;
            screen::doing(format!("at position {} of {until}", page.next.0.saturating_sub(1)));
            if page.next > until {
                self.caught_up().await;
                return Ok(());
            }
            if query.from >= Some(page.next) {
                return Err(Failure::failed("the server does not move on in its log")
                    .hint("this is a defect of the server; its own log may say more"));
            }
            query.from = Some(page.next);
        }
        Ok(())
    }

    /// There was nothing of an agent: perhaps its name is mistyped.
    async fn caught_up(&mut self) {
        if !std::mem::take(&mut self.nothing) {
            return;
        }
        if let Some(agent) = &self.agent {
            hint::tell_if_unknown(&self.client, agent).await;
        }
    }

    fn show(&mut self, events: &[&LogEvent]) -> io::Result<()> {
        self.nothing &= events.is_empty();
        self.left -= events.len();
        // Lines that go to a file tell nobody how far it is.
        if io::stdout().is_terminal() {
            screen::above(|| self.print(events))
        } else {
            self.print(events)
        }
    }

    fn print(&self, events: &[&LogEvent]) -> io::Result<()> {
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
