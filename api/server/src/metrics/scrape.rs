//! Every figure, with its name and its help, as it is at one moment.

use crate::metrics::process::{self, Process};
use crate::server::Server;
use ledger_core::WorkspaceName;
use projections::image::Image;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;

/// Workspaces that have figures under their own name: each costs two series, and
/// a monitoring system holds every one that it ever saw.
const WORKSPACES_MAX: usize = 100;
/// The label of all others together. No workspace can have this name.
const OTHER_WORKSPACES: &str = "_other";

/// The form of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own older text format.
    PrometheusText,
}

impl Format {
    /// Returns the form for who sends the header `Accept`: OpenMetrics, unless
    /// only plain text is wanted.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or_default();
        if accept.contains("text/plain") && !accept.contains("application/openmetrics-text") {
            Self::PrometheusText
        } else {
            Self::OpenMetrics
        }
    }

    /// Returns the media type.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::PrometheusText => prometheus_text::CONTENT_TYPE,
        }
    }

    fn encode(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut page = String::new();
        match self {
            Self::OpenMetrics => text::encode(&mut page, registry)?,
            Self::PrometheusText => prometheus_text::encode(&mut page, registry)?,
        }
        Ok(page)
    }
}

/// The agents of one workspace, or of all that have no line of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Agents {
    workspace: String,
    connected: i64,
    registered: i64,
}

/// What is read when the figures are asked for.
struct Moment {
    agents: Vec<Agents>,
    head: u64,
    folded: u64,
    database_bytes: Option<u64>,
    process: Process,
}

/// Returns every figure of the server, as it is now.
pub(crate) async fn scrape(server: &Server, format: Format) -> Result<String, fmt::Error> {
    let snapshot = server.image();
    // After the snapshot, so that it is no smaller, and at once, so that what is
    // appended meanwhile is no lag.
    let head = server.log.head().borrow().0;
    let database_bytes = server.log.database_bytes().await;
    let database_bytes = database_bytes.map_err(|error| {
        tracing::warn!(error = crate::problem::chain(&error), "The database cannot be measured.");
    });
    let process = tokio::task::spawn_blocking(process::read).await;
    let moment = Moment {
        agents: agents(counted(&snapshot.state)),
        head,
        folded: snapshot.position.0,
        database_bytes: database_bytes.ok(),
        // Without an answer there are no figures of it.
        process: process.unwrap_or_default(),
    };
    let mut registry = Registry::default();
    register_log(&mut registry, server, &moment);
    register_agents(&mut registry, server, &moment);
    register_requests(&mut registry, server);
    register_process(&mut registry, server, &moment);
    format.encode(&registry)
}

fn register_log(registry: &mut Registry, server: &Server, moment: &Moment) {
    let metrics = &server.metrics;
    let appended = moment.head.saturating_sub(metrics.since.0);
    registry.register(
        "ledger_events_appended",
        "Events appended to the log",
        ConstCounter::new(appended),
    );
    registry.register(
        "ledger_appends",
        "Writes to the log, by how they ended: appended, repeated (an earlier one under the same request id), nothing (to append), rejected, conflict, too_large, unavailable (for now) or failed",
        metrics.appends.clone(),
    );
    registry.register(
        "ledger_append_duration_seconds",
        "Time from a write to its commit, in seconds",
        metrics.append_seconds.clone(),
    );
    gauge(registry, "ledger_log_position", "Newest position of the log", moment.head);
    gauge(
        registry,
        "ledger_fold_lag_events",
        "Events that are in the log and not yet folded into what the server shows",
        moment.head.saturating_sub(moment.folded),
    );
    gauge(
        registry,
        "ledger_writer_queue_depth",
        "Writes that wait for the log's writer",
        server.log.waiting() as u64,
    );
    if let Some(bytes) = moment.database_bytes {
        let help = "Bytes of the database, with its write-ahead log";
        gauge(registry, "ledger_database_bytes", help, bytes);
    }
}

fn register_agents(registry: &mut Registry, server: &Server, moment: &Moment) {
    let (connected, registered) = (Workspaces::default(), Workspaces::default());
    for agents in &moment.agents {
        let label = [("workspace", agents.workspace.clone())];
        connected.get_or_create(&label).set(agents.connected);
        registered.get_or_create(&label).set(agents.registered);
    }
    registry.register("ledger_agents_connected", "Agents with an open session", connected);
    registry.register(
        "ledger_agents_registered",
        "Agents that have shown themselves and are not retired",
        registered,
    );
    gauge(
        registry,
        "ledger_session_queue_depth_max",
        "Events that wait for the slowest session",
        server.registry.deepest_queue() as u64,
    );
    registry.register(
        "ledger_session_overflows",
        "Events that did not fit into a session's queue, so that it read them from the log",
        server.registry.overflows(),
    );
    let outcomes = &server.metrics.outcomes;
    registry.register(
        "ledger_deployments",
        "Deployments that ended, by how: succeeded, failed, superseded or cancelled",
        outcomes.ends.clone(),
    );
    registry.register(
        "ledger_deployment_duration_seconds",
        "Time from the start of a deployment to its end, in seconds",
        outcomes.seconds.clone(),
    );
}

fn register_requests(registry: &mut Registry, server: &Server) {
    registry.register(
        "ledger_requests",
        "Requests answered, by the route's path and the status",
        server.metrics.requests.clone(),
    );
    registry.register(
        "ledger_requests_refused",
        "Requests answered with a problem, by its code",
        server.metrics.refused.clone(),
    );
}

fn register_process(registry: &mut Registry, server: &Server, moment: &Moment) {
    let ready = u64::from(server.not_ready().is_none());
    gauge(registry, "ledger_ready", "Whether the server takes writes: 1 or 0", ready);
    let version = [("version", server.version.to_string())];
    registry.register("ledger_build", "The program's version", Info::new(version));
    let Process { resident_bytes, started_at, open_files } = moment.process;
    if let Some(bytes) = resident_bytes {
        let help = "Bytes of memory that the process holds";
        gauge(registry, "process_resident_memory_bytes", help, bytes);
    }
    if let Some(started_at) = started_at {
        let help = "When the process started, in seconds since 1970";
        registry.register("process_start_time_seconds", help, ConstGauge::new(started_at));
    }
    if let Some(files) = open_files {
        gauge(
            registry,
            "process_open_fds",
            "Files and connections that the process holds open",
            files,
        );
    }
}

/// Gauges that differ in the workspace.
type Workspaces = Family<[(&'static str, String); 1], Gauge>;

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstGauge::new(value));
}

/// Counts the agents of each workspace, by its name.
fn counted(image: &Image) -> impl Iterator<Item = (&WorkspaceName, i64, i64)> {
    image.fleet.workspaces().map(|(name, workspace)| {
        let (mut connected, mut registered) = (0, 0);
        for (_, agent) in workspace.agents() {
            connected += i64::from(agent.session.is_some());
            registered += i64::from(!agent.decided.retired);
        }
        (name, connected, registered)
    })
}

/// Names the first workspaces, and sums up the others.
fn agents<'a>(counted: impl Iterator<Item = (&'a WorkspaceName, i64, i64)>) -> Vec<Agents> {
    let mut all: Vec<Agents> = Vec::new();
    for (name, connected, registered) in counted {
        if all.len() < WORKSPACES_MAX {
            all.push(Agents { workspace: name.to_string(), connected, registered });
            continue;
        }
        if all.len() == WORKSPACES_MAX {
            let workspace = OTHER_WORKSPACES.to_owned();
            all.push(Agents { workspace, connected: 0, registered: 0 });
        }
        if let Some(others) = all.last_mut() {
            others.connected += connected;
            others.registered += registered;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspaces_beyond_the_bound_are_summed_up() {
        let names: Vec<WorkspaceName> =
            (0..250).map(|n| WorkspaceName::new(format!("w{n:03}")).expect("valid")).collect();
        let counted = |n: usize| agents(names[..n].iter().map(|name| (name, 1, 2)));
        assert_eq!(counted(0), []);
        let named = counted(WORKSPACES_MAX);
        assert_eq!((named.len(), named[99].workspace.as_str()), (100, "w099"));
        let summed = counted(250);
        assert_eq!(summed[..100], named);
        let others =
            Agents { workspace: OTHER_WORKSPACES.to_owned(), connected: 150, registered: 300 };
        assert_eq!(summed[100..], [others]);
        assert!(WorkspaceName::new(OTHER_WORKSPACES).is_err());
    }

    #[test]
    fn plain_text_is_for_whom_asks_for_nothing_newer() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3";
        assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
        assert_eq!(Format::accepted(Some("*/*")), Format::OpenMetrics);
        assert_eq!(Format::accepted(None), Format::OpenMetrics);
        assert_eq!(Format::accepted(Some("text/plain;version=0.0.4")), Format::PrometheusText);
    }
}
