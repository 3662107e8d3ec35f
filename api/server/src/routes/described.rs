//! What each route says of itself in the API's description: one function for each
//! handler, under its name. The table does not compile without it.

use crate::openapi::Description;
use crate::routes::docs::file_names;
use api_wire::http::{
    ActivateAnswer, ActivateRequest, AgentList, AgentsQuery, CancelRequest, ConsistencyProof,
    ConsistencyQuery, CreateWorkspaceRequest, Deployment, DeploymentList, DeploymentsQuery,
    EVENT_STREAM, EraseRequest, EventsFormat, EventsQuery, Health, InclusionProof, InclusionQuery,
    IssueTokenRequest, IssuedToken, JSON_LINES, LogEvent, LogPage, LogQuery, OutputPage,
    OutputQuery, Recorded, RekeyRequest, RetireRequest, RevokeTokenRequest, SigningKeys,
    StreamCursor, StreamProblem, TokenList, TokensQuery, WhoAmI, WorkspaceList, WorkspaceQuery,
    WorkspacesQuery,
};
use api_wire::problem::Code;
use api_wire::schema::{self, refer};
use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};

/// What every write of a workspace answers with.
const RECORDED: &str = "It is in the log, and every answer shows it from now on.";

/// A request can follow with what the answer holds at the pointer.
fn link(operation: &str, parameter: &str, from: &str) -> Link {
    LinkBuilder::new().operation_id(operation).parameter(parameter, from).build()
}

pub(super) fn activate() -> Description {
    Description::new(
        "Ask agents to deploy",
        "All of it is recorded, or nothing. The agents are those of `spec`, or the ones of them that `agents` names. With `dry_run` everything is checked and nothing is recorded.",
    )
    .query::<WorkspaceQuery>()
    .body::<ActivateRequest>()
    .answers::<ActivateAnswer>("What was asked of each agent.")
    .leads_to("show", link("show_activation", "id", "$response.body#/id"))
    .leads_to("log", link("read_log", "activation", "$response.body#/id"))
    .leads_to("output", link("read_output", "activation", "$response.body#/id"))
    .leads_to("deployment", link("show_deployment", "which", "$response.body#/deployments/0/id"))
    .refuses(&[Code::WorkspaceNotFound, Code::AgentNotFound, Code::AgentRetired])
    .refuses(&[Code::InvalidSpec])
}

pub(super) fn show_activation() -> Description {
    Description::new("Show an activation", "What was asked, and how its agents stand now.")
        .path("id", refer::<schema::ActivationId>(), "The activation.")
        .query::<WorkspaceQuery>()
        .answers::<ActivateAnswer>("What was asked of each agent.")
        .refuses(&[Code::WorkspaceNotFound, Code::NotFound, Code::Unavailable])
}

pub(super) fn read_log() -> Description {
    Description::new(
        "Read the log",
        "Events in order, from a position on. A page without events moves on all the same: ask on from its `next`. A token that may follow, but not read, names an `activation`, and gets no annexes.",
    )
    .query::<LogQuery>()
    .answers::<LogPage>("Events, and where to ask on.")
    .refuses(&[Code::WorkspaceNotFound, Code::NotFound, Code::Unavailable])
}

pub(super) fn stream_events() -> Description {
    let line = OneOfBuilder::new()
        .item(refer::<LogEvent>())
        .item(refer::<StreamCursor>())
        .item(refer::<StreamProblem>());
    Description::new(
        "Stream the log",
        "Everything from a position on, and then what comes, in one stream. As Server-Sent Events, the `id` of each event is its position and its data a `LogEvent`; an `id` alone says that the stream has come so far with nothing to show, and an event named `problem` ends it. As JSON lines, each line is a `LogEvent`, a `StreamCursor` or, last, a `StreamProblem`. A token that may follow, but not read, names an `activation`, and gets no annexes.",
    )
    .query::<EventsQuery>()
    .header(
        "Last-Event-ID",
        refer::<schema::Position>(),
        "The last position seen, instead of `from`; libraries send it when they connect again.",
    )
    .answers_other(200, Some(EVENT_STREAM), "The stream.")
    .also_lines(JSON_LINES, line)
    .mentions::<LogEvent>()
    .mentions::<StreamCursor>()
    .mentions::<StreamProblem>()
    .mentions::<EventsFormat>()
    .refuses(&[Code::WorkspaceNotFound, Code::NotFound, Code::Unavailable])
}

pub(super) fn read_output() -> Description {
    Description::new(
        "Read the output of deployments",
        "Name either an `activation` or a `deployment`, and not both.",
    )
    .query::<OutputQuery>()
    .answers::<OutputPage>("Chunks, in order for each deployment, and where to ask on.")
    .refuses(&[Code::WorkspaceNotFound, Code::NotFound, Code::DeploymentNotFound])
    .refuses(&[Code::Unavailable])
}

pub(super) fn prove_event() -> Description {
    Description::new(
        "Prove an event",
        "The way from one event to the root of the tree, which a signed checkpoint names. With the event as the log shows it, it proves that the event is in the log as it is. A token of one workspace gets the proofs of its own events.",
    )
    .query::<InclusionQuery>()
    .answers::<InclusionProof>("The proof.")
    .refuses(&[Code::NotFound, Code::Unavailable])
}

pub(super) fn prove_growth() -> Description {
    Description::new(
        "Prove that the log only grew",
        "The hashes that lead from the root of an older tree to that of a newer one: what was in the log is in it still, unchanged and at its place.",
    )
    .query::<ConsistencyQuery>()
    .answers::<ConsistencyProof>("The proof.")
    .refuses(&[Code::Unavailable])
}

pub(super) fn list_signing_keys() -> Description {
    Description::new("List the keys that sign", "Who signs checkpoints of this log, or did.")
        .answers::<SigningKeys>("The name of the log and its keys.")
        .refuses(&[Code::Unavailable])
}

pub(super) fn erase_annex() -> Description {
    Description::new(
        "Erase an annex",
        "Removes what may be erased of an event: network addresses, names and words of people. The event stays, every proof stays valid, and the order is itself an event.",
    )
    .body::<EraseRequest>()
    .answers::<Recorded>(RECORDED)
    .refuses(&[Code::AnnexNotFound])
}

pub(super) fn show_checkpoint() -> Description {
    Description::new(
        "Show the newest checkpoint",
        "A signed note (C2SP tlog-checkpoint) over the size of the log and the root of its tree.",
    )
    .answers_other(200, Some("text/plain"), "The note.")
    .refuses(&[Code::NotFound, Code::Unavailable, Code::Internal])
}

pub(super) fn show_tile() -> Description {
    Description::new(
        "Load a tile",
        "Hashes of the tree (C2SP tlog-tiles): 256, or fewer where the path ends in `.p/WIDTH`. They say nothing of what the events are.",
    )
    .path("level", refer::<schema::Integer>(), "The level of the tile, from 0.")
    .path("index", refer::<schema::TilePath>(), "The place of the tile in its level.")
    .answers_other(200, Some("application/octet-stream"), "The hashes, 32 bytes each.")
    .refuses(&[Code::NotFound, Code::Unavailable, Code::Internal])
}

pub(super) fn show_entries() -> Description {
    Description::new(
        "Load a bundle of entries",
        "The envelopes of 256 events, or fewer where the path ends in `.p/WIDTH` (C2SP tlog-tiles): each behind its length in two bytes. Needs a token that reaches the whole ledger.",
    )
    .path("index", refer::<schema::TilePath>(), "The place of the bundle.")
    .answers_other(200, Some("application/octet-stream"), "The entries.")
    .refuses(&[Code::NotFound, Code::Unavailable])
}

pub(super) fn list_agents() -> Description {
    Description::new("List agents", "By name, with what each of them runs.")
        .query::<AgentsQuery>()
        .answers::<AgentList>("Agents, by name.")
        .leads_to("rekey", link("rekey_agent", "name", "$response.body#/agents/0/name"))
        .leads_to("retire", link("retire_agent", "name", "$response.body#/agents/0/name"))
        .refuses(&[Code::WorkspaceNotFound])
}

/// The path of both writes about one agent.
fn about_an_agent(description: Description) -> Description {
    description
        .path("name", refer::<schema::AgentName>(), "The agent.")
        .query::<WorkspaceQuery>()
        .answers::<Recorded>(RECORDED)
        .refuses(&[Code::WorkspaceNotFound, Code::AgentNotFound])
}

pub(super) fn rekey_agent() -> Description {
    about_an_agent(Description::new(
        "Let a name take another key",
        "As after a new machine. A retired agent is back in service.",
    ))
    .body::<RekeyRequest>()
}

pub(super) fn retire_agent() -> Description {
    about_an_agent(Description::new(
        "Take an agent out of service",
        "Its session ends, and what waits for it is cancelled.",
    ))
    .body::<RetireRequest>()
}

pub(super) fn list_deployments() -> Description {
    Description::new("List deployments", "The newest first.")
        .query::<DeploymentsQuery>()
        .answers::<DeploymentList>("Deployments, the newest first.")
        .leads_to("show", link("show_deployment", "which", "$response.body#/deployments/0/id"))
        .leads_to("cancel", link("cancel_deployment", "which", "$response.body#/deployments/0/id"))
        .refuses(&[Code::WorkspaceNotFound, Code::AgentNotFound, Code::NotFound])
        .refuses(&[Code::Unavailable])
}

/// The path of what is about one deployment.
fn about_a_deployment(description: Description) -> Description {
    description
        .path(
            "which",
            refer::<schema::DeploymentRef>(),
            "The deployment's id, or its agent and number; `#` is written `%23` in an address.",
        )
        .query::<WorkspaceQuery>()
        .refuses(&[Code::WorkspaceNotFound, Code::DeploymentNotFound, Code::Unavailable])
}

pub(super) fn show_deployment() -> Description {
    about_a_deployment(Description::new(
        "Show a deployment",
        "With everything that the log says of it.",
    ))
    .answers::<Deployment>("The deployment.")
}

pub(super) fn cancel_deployment() -> Description {
    about_a_deployment(Description::new("Call off a deployment", "Only what has not started."))
        .body::<CancelRequest>()
        .answers::<Recorded>(RECORDED)
        .refuses(&[Code::DeploymentSuperseded, Code::DeploymentCancelled])
        .refuses(&[Code::DeploymentStarted, Code::DeploymentEnded])
}

pub(super) fn list_tokens() -> Description {
    Description::new("List tokens", "By age, without their secrets; those revoked are left out.")
        .query::<TokensQuery>()
        .answers::<TokenList>("Tokens, by age.")
        .refuses(&[Code::WorkspaceNotFound, Code::Unavailable])
}

pub(super) fn issue_token() -> Description {
    Description::new(
        "Issue a token",
        "The client makes the secret, of 32 random bytes behind the prefix of the kind. Only tokens of kind agent and activate can be limited to agents; only those of kind read and admin can reach the whole ledger, and only such a token can issue another.",
    )
    .query::<WorkspaceQuery>()
    .body_of::<IssueTokenRequest>(schema::issue_token())
    .answers::<IssuedToken>("The token is accepted from now on.")
    .leads_to("revoke", link("revoke_token", "id", "$response.body#/id"))
    .refuses(&[Code::WorkspaceNotFound, Code::SecretTaken, Code::PatternsNotAllowed])
    .refuses(&[Code::TooManyPatterns, Code::ReachNotAllowed])
}

pub(super) fn revoke_token() -> Description {
    Description::new("Revoke a token", "It ends at once, with the sessions that it opened.")
        .path("id", refer::<schema::TokenId>(), "The token.")
        .query::<WorkspaceQuery>()
        .body::<RevokeTokenRequest>()
        .answers::<Recorded>(RECORDED)
        .refuses(&[Code::WorkspaceNotFound, Code::TokenNotFound])
}

pub(super) fn who_am_i() -> Description {
    Description::new("Show the token", "What it may do and see, and which server answers.")
        .query::<WorkspaceQuery>()
        .answers::<WhoAmI>("The token of the request.")
        .refuses(&[Code::WorkspaceNotFound])
}

pub(super) fn list_workspaces() -> Description {
    Description::new("List workspaces", "By name, with how many agents each has.")
        .query::<WorkspacesQuery>()
        .answers::<WorkspaceList>("Workspaces, by name.")
}

pub(super) fn create_workspace() -> Description {
    Description::new("Create a workspace", "Names are taken for ever.")
        .body::<CreateWorkspaceRequest>()
        .answers::<Recorded>(RECORDED)
        .refuses(&[Code::WorkspaceExists])
}

pub(super) fn open_socket() -> Description {
    Description::new(
        "Open an agent's session",
        "A WebSocket upgrade (RFC 6455) over HTTP/1.1: send `Connection: Upgrade`, `Upgrade: websocket`, `Sec-WebSocket-Version: 13` and a `Sec-WebSocket-Key`. Messages are JSON objects, one in each text message; the server speaks first. They are for the agent alone, and no part of this description.",
    )
    .answers_other(101, None, "The connection is a WebSocket from now on.")
    .refuses(&[Code::BadRequest, Code::Unavailable])
}

pub(super) fn describe_api() -> Description {
    Description::new("Describe the API", "This document.").answers_other(
        200,
        Some("application/json"),
        "The description, in OpenAPI 3.1.",
    )
}

pub(super) fn show_docs() -> Description {
    Description::new("Show the docs", "This document as a page that loads nothing from elsewhere.")
        .answers_other(200, Some("text/html"), "The page.")
}

pub(super) fn load_docs_file() -> Description {
    let names = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(file_names()));
    Description::new("Load a file of the docs", "Those of Swagger UI are packed by gzip, always.")
        .path("file", names.into(), "The file.")
        .answers_other(200, Some("text/*"), "The file.")
        .refuses(&[Code::NotFound])
}

pub(super) fn read_metrics() -> Description {
    Description::new(
        "Read the figures",
        "For Prometheus. In OpenMetrics, or in Prometheus' older text format for who accepts only that. They are of the whole ledger, and so for a token that reaches it.",
    )
    .answers_other(200, Some("application/openmetrics-text"), "The figures.")
    .also_as("text/plain")
}

pub(super) fn lives() -> Description {
    Description::new("Tell whether the server lives", "For a supervisor.")
        .answers::<Health>("It does.")
}

pub(super) fn is_ready() -> Description {
    Description::new("Tell whether the server can serve", "For a load balancer.")
        .answers::<Health>("It can.")
        .answers_with::<Health>(503, "It cannot, and this is why.")
}
