//! `ledger log`

use crate::connection::Connection;
use crate::failure::{Exit, Failure, Outcome};
use crate::log_line;
use api_client::http::{Client, Events, Streamed};
use api_wire::http::{EventsQuery, LogEvent, LogQuery};
use clap::Args;
use clap::builder::PossibleValuesParser;
use ledger_core::event::Event;
use ledger_core::names::AgentName;
use ledger_core::{ActivationId, Position, StreamId};
use std::io::{self, Write};
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
        let left = self.limit.unwrap_or(usize::MAX);
        let shown = Shown { left, format: self.format };
        if self.follow {
            let query = EventsQuery {
                from: Some(self.from),
                stream: self.stream,
                agent: self.agent,
                type_name: self.type_name,
                activation: self.activation,
                ..EventsQuery::default()
            };
            follow(client.with_patience(FOLLOW_PATIENCE).events(query), shown).await?;
        } else {
            let query = LogQuery {
                from: Some(self.from),
                stream: self.stream,
                agent: self.agent,
                type_name: self.type_name,
                activation: self.activation,
                ..LogQuery::default()
            };
            read(&client, query, shown).await?;
        }
        Ok(Exit::Done)
    }
}

/// Prints what is there, and then what comes.
async fn follow(mut events: Events, mut shown: Shown) -> Result<(), Failure> {
    while shown.left > 0 {
        match events.next().await? {
            Streamed::Event(event) => shown.show(&[&event])?,
            Streamed::Cursor(_) => {}
            Streamed::End => return Ok(()),
        }
    }
    Ok(())
}

/// Reads page after page, up to where the log ended at the first.
async fn read(client: &Client, mut query: LogQuery, mut shown: Shown) -> Result<(), Failure> {
    let mut until = None;
    while shown.left > 0 {
        query.limit = Some(shown.left.min(PAGE_EVENTS));
        let page = client.log(&query).await?;
        let until = *until.get_or_insert(page.head);
        let wanted = |event: &&LogEvent| event.position <= until;
        let events: Vec<&LogEvent> = page.events.iter().filter(wanted).take(shown.left).collect();
        shown.show(&events)?;
        if page.next > until {
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

/// What is printed, and how much of it may still come.
struct Shown {
    left: usize,
    format: LogFormat,
}

impl Shown {
    fn show(&mut self, events: &[&LogEvent]) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for event in events {
            match self.format {
                LogFormat::Text => writeln!(out, "{}", log_line::text(event))?,
                LogFormat::Jsonl => writeln!(out, "{}", log_line::json(event)?)?,
            }
        }
        self.left -= events.len();
        out.flush()
    }
}
