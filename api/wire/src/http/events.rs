//! The log as a stream: catch-up and live in one.
//!
//! As Server-Sent Events, each event's `id` is its position and its `data` is a
//! [`LogEvent`](super::LogEvent); an `id` alone says that the stream has come so
//! far without anything to show. As JSON lines, each line is a `LogEvent`, or a
//! [`StreamCursor`] that says the same. A stream that ends by a fault says why:
//! with an event named `problem`, or a line that is a [`StreamProblem`].

use super::exact;
use crate::problem::Problem;
use ledger_core::ids::{ActivationId, Position};
use ledger_core::names::{AgentName, WorkspaceName};
use ledger_core::stream::StreamId;
use serde::{Deserialize, Serialize};

/// The media type of the stream as Server-Sent Events.
pub const EVENT_STREAM: &str = "text/event-stream";
/// The media type of the stream as JSON lines.
pub const JSON_LINES: &str = "application/jsonl";
/// How often, in seconds, a stream without news says how far it has come.
/// Whoever hears nothing for three times as long has lost the connection.
pub const HEARTBEAT_SECONDS: u64 = 15;

/// Which part of the log. Filters are all to be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Which workspace. With a token for the whole ledger, none means all of it.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::WorkspaceName, required = false))]
    pub workspace: Option<WorkspaceName>,
    /// The first position wanted, 1 if not given. The header `Last-Event-ID`
    /// names the last one seen instead, and is heeded first.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Position, required = false))]
    pub from: Option<Position>,
    /// Only this stream.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::StreamId, required = false))]
    pub stream: Option<StreamId>,
    /// Only what is about this agent: its stream, and its comings and goings.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::AgentName, required = false))]
    pub agent: Option<AgentName>,
    /// Only this type.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", param(value_type = String, required = false))]
    pub type_name: Option<String>,
    /// Only what belongs to this activation.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::ActivationId, required = false))]
    pub activation: Option<ActivationId>,
    /// Whether to go on with new events as they come, as is done if not given;
    /// `false` ends where the log ends.
    #[cfg_attr(feature = "schema", param(value_type = bool, required = false))]
    pub follow: Option<bool>,
    /// The form; if not given, what the header `Accept` asks for.
    #[cfg_attr(feature = "schema", param(value_type = EventsFormat, required = false))]
    pub format: Option<EventsFormat>,
}

/// The form of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventsFormat {
    /// Server-Sent Events.
    Sse,
    /// JSON lines.
    Jsonl,
}

/// The stream has come so far. A line of its own among JSON lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StreamCursor {
    /// Everything up to this position was shown or left out by the filters.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Position))]
    pub cursor: Position,
}

/// Why the stream ends. The last line among JSON lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StreamProblem {
    /// What went wrong.
    pub problem: Problem,
}
