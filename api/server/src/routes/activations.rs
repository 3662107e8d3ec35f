//! Activations: asked for, and told again from the log.

use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::limits;
use crate::problem::Refusal;
use crate::routes::histories::{Requested, Stream};
use crate::server::Server;
use api_wire::http::{ActivateAnswer, ActivateRequest, RequestedDeployment, WorkspaceQuery};
use api_wire::problem::Code;
use axum::extract::State;
use ledger_core::activation::{Activation, Target};
use ledger_core::event::Digest;
use ledger_core::names::{AgentName, StorePath};
use ledger_core::spec::{Spec, SpecError};
use ledger_core::{
    ActivationId, Command, DeploymentId, Event, Position, Record, RequestId, State as Decided,
    StreamId, Version, WorkspaceName,
};
use projections::fleet;
use projections::image::Image;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What an activation asked for, as its events tell.
pub(crate) struct Parts {
    pub(crate) activation: ActivationId,
    pub(crate) workspace: WorkspaceName,
    /// Where its first event stands.
    pub(crate) position: Position,
    pub(crate) agents: Vec<Part>,
}

/// One agent's part of an activation.
pub(crate) struct Part {
    pub(crate) request: Requested,
    pub(crate) store_path: StorePath,
    /// Its number among the agent's, once it was asked for.
    index: OnceLock<u64>,
}

impl Part {
    /// Returns the deployment's number, which never changes: it is looked for once.
    async fn index(&self, server: &Server, workspace: &WorkspaceName) -> Result<u64, Refusal> {
        if let Some(index) = self.index.get() {
            return Ok(*index);
        }
        let stream = Stream::of(server, workspace, &self.request.agent);
        let index = stream.index(&self.request).await?;
        Ok(*self.index.get_or_init(|| index))
    }
}

pub(crate) async fn activate(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<WorkspaceQuery>,
    Json(request): Json<ActivateRequest>,
) -> Result<Json<ActivateAnswer>, Refusal> {
    let snapshot = server.image();
    let workspace = caller.workspace(&snapshot.state, query.workspace)?;
    let (id, dry_run) = (request.id, request.dry_run);
    // The largest spec takes a second to read: other requests go on meanwhile.
    let (of, by) = (workspace.clone(), caller.clone());
    let read = tokio::task::spawn_blocking(move || {
        let given = by.given(Some(&of), &request);
        let spec = Spec::parse(&request.spec)?.only(&request.agents)?;
        Ok::<_, SpecError>((given, spec, request))
    });
    let read = read.await.map_err(|_| Refusal::internal())?;
    let (given, spec, request) = read.map_err(refuse_spec)?;
    caller.must_cover(spec.agents.keys())?;
    let activation = plan(&caller, &snapshot.state, &workspace, spec, request);
    if dry_run {
        return answer_dry_run(&snapshot.state, activation).map(Json);
    }
    let command = Command::Activate(activation);
    let (_, snapshot) = server.write(RequestId::from(id), given, caller.actor(), command).await?;
    let parts = parts(&server, Some(&workspace), id).await?;
    answer(&server, &caller, &snapshot.state, &parts).await.map(Json)
}

fn refuse_spec(error: SpecError) -> Refusal {
    let code = match error {
        SpecError::TooLarge { .. } => Code::TooLarge,
        SpecError::Invalid(_) | SpecError::NoSuchAgent { .. } => Code::InvalidSpec,
    };
    Refusal::new(code, error.to_string())
}

/// Gives each agent the rollback script of its system, as it was last seen.
fn plan(
    caller: &Caller,
    image: &Image,
    workspace: &WorkspaceName,
    spec: Spec,
    request: ActivateRequest,
) -> Activation {
    let Spec { agents, rollback_scripts } = spec;
    let agents = agents
        .into_iter()
        .map(|(agent, store_path)| {
            let known = image.fleet.agent(workspace, &agent);
            let system = known.and_then(|known| known.system.as_ref());
            let rollback_script = system.and_then(|system| rollback_scripts.get(system)).cloned();
            (agent, Target { store_path, rollback_script })
        })
        .collect();
    Activation {
        id: request.id,
        workspace: workspace.clone(),
        spec_digest: Digest::of(request.spec.as_bytes()),
        agents,
        rollback_scripts,
        ci: request.ci,
        annex: caller.annex(request.description),
    }
}

/// Decides as the log would, and records nothing.
fn answer_dry_run(image: &Image, activation: Activation) -> Result<ActivateAnswer, Refusal> {
    let workspace = activation.workspace.clone();
    let known = image.fleet.workspace(&workspace);
    let mut state = Decided::default();
    let decided = state.workspaces.entry(workspace.clone()).or_default();
    decided.created = known.is_some();
    for name in activation.agents.keys() {
        if let Some(agent) = known.and_then(|known| known.agent(name)) {
            decided.agents.insert(name.clone(), agent.decided.clone());
        }
    }
    activation.clone().decide(&state)?;
    let id = activation.id;
    let deployments = activation
        .agents
        .into_iter()
        .map(|(name, target)| {
            let agent = known.and_then(|known| known.agent(&name));
            requested(name, agent, None, None, target.store_path)
        })
        .collect();
    Ok(ActivateAnswer { id, workspace, position: None, deployments })
}

pub(crate) async fn show_activation(
    State(server): State<Server>,
    caller: Caller,
    Path(id): Path<ActivationId>,
    Query(query): Query<WorkspaceQuery>,
) -> Result<Json<ActivateAnswer>, Refusal> {
    let snapshot = server.image();
    let workspace = caller.workspace(&snapshot.state, query.workspace)?;
    let parts = parts(&server, Some(&workspace), id).await?;
    answer(&server, &caller, &snapshot.state, &parts).await.map(Json)
}

/// What was asked comes from the log, and so is the same for every retry; how
/// the agents stand is of this moment.
async fn answer(
    server: &Server,
    caller: &Caller,
    image: &Image,
    parts: &Parts,
) -> Result<ActivateAnswer, Refusal> {
    let workspace = &parts.workspace;
    let mut deployments = Vec::with_capacity(parts.agents.len());
    for part in parts.agents.iter().filter(|part| caller.covers(&part.request.agent)) {
        let Requested { agent: name, id, .. } = &part.request;
        let agent = image.fleet.agent(workspace, name);
        let index = part.index(server, workspace).await?;
        let path = part.store_path.clone();
        deployments.push(requested(name.clone(), agent, Some(*id), Some(index), path));
    }
    Ok(ActivateAnswer {
        id: parts.activation,
        workspace: workspace.clone(),
        position: Some(parts.position),
        deployments,
    })
}

fn requested(
    name: AgentName,
    agent: Option<&fleet::Agent>,
    id: Option<DeploymentId>,
    index: Option<u64>,
    store_path: StorePath,
) -> RequestedDeployment {
    let connected = agent.is_some_and(|agent| agent.session.is_some());
    let running = agent.and_then(|agent| agent.decided.running.as_ref());
    let pending = agent.and_then(|agent| agent.decided.pending.as_ref());
    // What has started or ended waits for nothing.
    let waits = id.is_none() || pending.map(|pending| pending.id) == id;
    RequestedDeployment {
        agent: name,
        id,
        index,
        store_path,
        connected,
        last_seen: agent.and_then(|agent| agent.since).filter(|_| !connected),
        waits_for: running.filter(|_| waits).map(|running| running.deployment.id),
    }
}

/// The activations asked for last: what they consist of never changes.
#[derive(Default)]
pub(crate) struct Remembered {
    parts: Mutex<VecDeque<Arc<Parts>>>,
}

impl Remembered {
    fn get(&self, id: ActivationId) -> Option<Arc<Parts>> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().find(|parts| parts.activation == id).cloned()
    }

    fn put(&self, fresh: &Arc<Parts>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.iter().any(|known| known.activation == fresh.activation) {
            return;
        }
        parts.push_back(fresh.clone());
        let mut held: usize = parts.iter().map(|parts| parts.agents.len()).sum();
        while held > limits::PARTS_REMEMBERED_MAX
            || parts.len() > limits::ACTIVATIONS_REMEMBERED_MAX
        {
            let Some(oldest) = parts.pop_front() else { return };
            held -= oldest.agents.len();
        }
    }
}

/// Reads what an activation asked for. One of another workspace is not there.
pub(crate) async fn parts(
    server: &Server,
    workspace: Option<&WorkspaceName>,
    id: ActivationId,
) -> Result<Arc<Parts>, Refusal> {
    let parts = match server.remembered.get(id) {
        Some(parts) => Some(parts),
        None => read_parts(server, id).await?,
    };
    let visible = |parts: &Arc<Parts>| workspace.is_none_or(|ws| *ws == parts.workspace);
    parts.filter(visible).ok_or_else(|| {
        Refusal::new(Code::NotFound, format!("there is no activation {id} in this workspace"))
    })
}

async fn read_parts(server: &Server, id: ActivationId) -> Result<Option<Arc<Parts>>, Refusal> {
    let stream = StreamId::Activation(id);
    let first = server.log.read_stream_bare(&stream, Version::ZERO.next(), 1).await?;
    let Some(first) = first.first() else { return Ok(None) };
    let Ok(Event::ActivationRequested(event)) = first.event() else { return Ok(None) };
    let mut parts = Parts {
        activation: id,
        workspace: event.workspace,
        position: first.position,
        agents: Vec::new(),
    };
    // One append: its events follow each other without another's in between.
    let mut from = first.position.next();
    while (parts.agents.len() as u64) < event.agents {
        // Each is preceded by the end of what it superseded, if there was something.
        let left = 2 * (event.agents as usize - parts.agents.len());
        let limit = left.min(ledger_core::limits::PAGE_RECORDS_MAX);
        let records = server.log.read_bare(from, limit).await?;
        let Some(last) = records.last() else { return Err(Refusal::internal()) };
        from = last.position.next();
        let asked = records.iter().filter_map(|record| part(record, &parts.workspace, id));
        parts.agents.extend(asked.take(event.agents as usize - parts.agents.len()));
    }
    let parts = Arc::new(parts);
    server.remembered.put(&parts);
    Ok(Some(parts))
}

fn part(record: &Record, workspace: &WorkspaceName, activation: ActivationId) -> Option<Part> {
    let request = Requested::of(record, workspace)?;
    match record.event() {
        Ok(Event::DeploymentRequested(event)) if event.activation == activation => {
            Some(Part { request, store_path: event.store_path, index: OnceLock::new() })
        }
        _ => None,
    }
}
