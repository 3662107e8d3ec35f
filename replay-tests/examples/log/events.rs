//! Events as a fleet makes them: activations, every step of the deployments, and
//! agents that come and go.

use anyhow::{Context, Result};
use ledger_core::event::{self, CiRun, CiText, ClosureKind, Digest, DisconnectReason};
use ledger_core::event::{FailureOutcome, FailureReason, OutputDigest};
use ledger_core::key::PublicKey;
use ledger_core::record::ActorKind;
use ledger_core::{
    ActivationId, Actor, AgentName, Annex, DeploymentId, EventId, NewEvent, NodeId, RequestId,
    SessionId, StorePath, StreamId, System, WorkspaceName,
};
use ledger_store::{Change, Clock, SystemClock, Write};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// Agents of the fleet.
const AGENTS: usize = 1_000;
/// Agents of one activation.
const AGENTS_PER_ACTIVATION: usize = 20;
/// Agents that lose their connection and come back, for each activation.
const RECONNECTS_PER_ACTIVATION: usize = 4;
/// One deployment in so many fails.
const DEPLOYMENTS_PER_FAILURE: u64 = 25;

/// A fleet whose history goes on for as long as it is asked. Two that were made
/// alike tell the same, but for ids and times.
#[derive(Clone)]
pub(crate) struct Source {
    machines: Vec<Machine>,
    node: NodeId,
    workspace: WorkspaceName,
    /// What happens next.
    steps: VecDeque<Step>,
    activation: ActivationId,
    activated: u64,
    deployed: u64,
    /// Of everything that differs from event to event.
    number: u64,
    told: Told,
}

/// What a source has told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) events: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) annexes: u64,
}

impl Told {
    /// Returns the mean payload in bytes.
    pub(crate) fn mean_payload(self) -> f64 {
        self.payload_bytes as f64 / self.events.max(1) as f64
    }
}

/// One agent.
#[derive(Clone)]
struct Machine {
    name: AgentName,
    session: SessionId,
    deployment: DeploymentId,
    next: StorePath,
    current: Option<StorePath>,
    generation: u64,
}

/// One event to come; those of an agent with its number.
#[derive(Clone, Copy)]
enum Step {
    Activate,
    Request(usize),
    Start(usize),
    Fetch(usize),
    Activated(usize),
    Succeed(usize),
    NotActivated(usize),
    Fail(usize),
    Leave(usize),
    Join(usize),
}

impl Source {
    pub(crate) fn new() -> Result<Self> {
        let machine = |number| -> Result<Machine> {
            let name = format!("web-{number:04}.fra1.prod.example.net");
            Ok(Machine {
                next: store_path(number as u64, &name)?,
                name: AgentName::new(name)?,
                session: SessionId::new(Uuid::now_v7()),
                deployment: DeploymentId::new(Uuid::nil()),
                current: None,
                generation: 0,
            })
        };
        Ok(Self {
            machines: (0..AGENTS).map(machine).collect::<Result<_>>()?,
            node: NodeId::new(Uuid::now_v7()),
            workspace: WorkspaceName::initial(),
            steps: VecDeque::new(),
            activation: ActivationId::new(Uuid::nil()),
            activated: 0,
            deployed: 0,
            number: 0,
            told: Told::default(),
        })
    }

    /// Returns what was told since the last call.
    pub(crate) fn told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// What a log begins with: the workspace, and every agent registered and connected.
    pub(crate) fn opening(&mut self) -> Result<Write> {
        let workspace = StreamId::Workspace(self.workspace.clone());
        let mut events = vec![NewEvent::new(workspace, event::WorkspaceCreated {})];
        for number in 0..AGENTS {
            let Digest(key) = self.digest();
            let public_key = PublicKey::from_bytes(key);
            events.push(NewEvent::new(self.stream(number)?, event::AgentRegistered { public_key }));
        }
        for number in 0..AGENTS {
            events.push(self.event(Step::Join(number), fresh(), 0)?);
        }
        let actor = self.actor(None)?;
        Ok(write(fresh(), actor, events))
    }

    /// The next writes of so many events each.
    pub(crate) fn writes(&mut self, n_writes: usize, n_events: usize) -> Result<Vec<Write>> {
        (0..n_writes).map(|_| self.write(n_events)).collect()
    }

    fn write(&mut self, n_events: usize) -> Result<Write> {
        let request = fresh();
        let mut actor = None;
        let mut events = Vec::with_capacity(n_events);
        for ordinal in 0..n_events {
            let step = self.step()?;
            if actor.is_none() {
                actor = Some(self.actor(Some(step))?);
            }
            let event = self.event(step, request, u32::try_from(ordinal)?)?;
            self.told.events += 1;
            self.told.payload_bytes += event.event.encode().len() as u64;
            self.told.annexes += u64::from(!event.annex.is_empty());
            events.push(event);
        }
        Ok(write(request, actor.context("a write has an event")?, events))
    }

    fn step(&mut self) -> Result<Step> {
        if self.steps.is_empty() {
            self.plan();
        }
        self.steps.pop_front().context("an activation has steps")
    }

    /// Plans the next activation, each step for all agents before the next step.
    fn plan(&mut self) {
        let first = usize::try_from(self.activated).unwrap_or_default() * AGENTS_PER_ACTIVATION;
        let agents: Vec<usize> =
            (first..first + AGENTS_PER_ACTIVATION).map(|number| number % AGENTS).collect();
        self.activated += 1;
        let first_deployed = self.deployed;
        self.deployed += agents.len() as u64;
        let numbered = (first_deployed..).zip(agents.iter().copied());
        let (failing, succeeding): (Vec<_>, Vec<_>) =
            numbered.partition(|(number, _)| number % DEPLOYMENTS_PER_FAILURE == 0);
        let steps = &mut self.steps;
        steps.push_back(Step::Activate);
        for step in [Step::Request, Step::Start, Step::Fetch] {
            steps.extend(agents.iter().copied().map(step));
        }
        for step in [Step::Activated, Step::Succeed] {
            steps.extend(succeeding.iter().map(|(_, agent)| step(*agent)));
        }
        for step in [Step::NotActivated, Step::Fail] {
            steps.extend(failing.iter().map(|(_, agent)| step(*agent)));
        }
        let away = agents.iter().take(RECONNECTS_PER_ACTIVATION);
        steps.extend(away.flat_map(|agent| [Step::Leave(*agent), Step::Join(*agent)]));
    }

    /// Makes the event of a step, which will have this place in this request.
    fn event(&mut self, step: Step, request: RequestId, ordinal: u32) -> Result<NewEvent> {
        self.number += 1;
        let number = match step {
            Step::Activate => return self.activate(),
            Step::Leave(number) | Step::Join(number) => return self.session(step, number),
            Step::Request(number) => return self.request(number, request, ordinal),
            Step::Start(number)
            | Step::Fetch(number)
            | Step::Activated(number)
            | Step::Succeed(number)
            | Step::NotActivated(number)
            | Step::Fail(number) => number,
        };
        let stream = self.stream(number)?;
        let output = OutputDigest { blake3: self.digest(), bytes: 800 + self.number % 4_000 };
        let serial = self.number;
        let machine = self.machine(number)?;
        let deployment = machine.deployment;
        let error = Annex { error: Some(ERROR.to_owned()), ..Annex::default() };
        let (event, annex): (ledger_core::Event, Annex) = match step {
            Step::Start(_) => {
                let session = machine.session;
                (event::DeploymentStarted { deployment, session }.into(), Annex::default())
            }
            Step::Fetch(_) => {
                let closure_bytes = 1_800_000_000 + serial * 4_096;
                let closure_paths = 1_400 + serial % 300;
                let fetched = event::ClosureFetched { deployment, closure_bytes, closure_paths };
                (fetched.into(), Annex::default())
            }
            Step::Activated(_) => {
                machine.generation += 1;
                let (kind, generation) = (ClosureKind::Nixos, Some(machine.generation));
                let previous = machine.current.clone();
                let activated =
                    event::ActivationSucceeded { deployment, kind, generation, previous };
                (activated.into(), Annex::default())
            }
            Step::NotActivated(_) => {
                let (kind, exit_status) = (ClosureKind::Nixos, Some(4));
                let previous = machine.current.clone();
                let failed = event::ActivationFailed { deployment, kind, exit_status, previous };
                (failed.into(), error)
            }
            Step::Fail(_) => {
                let (reason, outcome) = (FailureReason::ActivationFailed, FailureOutcome::Unknown);
                let output = Some(output);
                let failed = event::DeploymentFailed { deployment, reason, outcome, output };
                (failed.into(), error)
            }
            _ => {
                machine.current = Some(machine.next.clone());
                (event::DeploymentSucceeded { deployment, output }.into(), Annex::default())
            }
        };
        let mut event = NewEvent::new(stream, event)
            .correlated(self.activation)
            .caused_by(deployment.into())
            .with_annex(annex);
        if !matches!(step, Step::Start(_)) {
            // What an agent reports is on its way for some milliseconds.
            let way = 2_000 + i64::try_from(self.number % 40_000)?;
            event.occurred_at = Some(SystemClock.now().plus_micros(-way));
        }
        Ok(event)
    }

    fn activate(&mut self) -> Result<NewEvent> {
        self.activation = ActivationId::new(Uuid::now_v7());
        let ci = CiRun {
            provider: "github".to_owned().try_into()?,
            repository: CiText::new("acme/infrastructure"),
            run: CiText::new(format!("{}", 11_400_000_000 + self.number)),
            revision: CiText::new(&self.digest().to_string()[..40]),
        };
        let requested = event::ActivationRequested {
            workspace: self.workspace.clone(),
            spec_digest: self.digest(),
            agents: AGENTS_PER_ACTIVATION as u64,
            rollback_scripts: BTreeMap::from([(
                System::new(SYSTEM)?,
                ROLLBACK_SCRIPT.to_owned().try_into()?,
            )]),
            ci: Some(ci),
        };
        let annex = Annex {
            address: Some("192.0.2.17".to_owned()),
            client: Some("ledger/0.1.0".to_owned()),
            description: Some("Deploy main after review".to_owned()),
            error: None,
        };
        Ok(NewEvent::new(StreamId::Activation(self.activation), requested)
            .correlated(self.activation)
            .with_annex(annex))
    }

    fn request(&mut self, number: usize, request: RequestId, ordinal: u32) -> Result<NewEvent> {
        let (stream, activation, serial) = (self.stream(number)?, self.activation, self.number);
        let machine = self.machine(number)?;
        machine.deployment = EventId::derive(request, ordinal).into();
        machine.next = store_path(serial, machine.name.as_str())?;
        let store_path = machine.next.clone();
        // The same for all, as one is of a system.
        let rollback_script = Some(ROLLBACK_SCRIPT.to_owned().try_into()?);
        let requested = event::DeploymentRequested { activation, store_path, rollback_script };
        Ok(NewEvent::new(stream, requested)
            .correlated(activation)
            .caused_by(EventId::new(activation.uuid())))
    }

    fn session(&mut self, step: Step, number: usize) -> Result<NewEvent> {
        let (node, stream) = (self.node, StreamId::Sessions(self.workspace.clone()));
        let machine = self.machine(number)?;
        let agent = machine.name.clone();
        if matches!(step, Step::Leave(_)) {
            let (session, reason) = (machine.session, DisconnectReason::ConnectionLost);
            let left = event::AgentDisconnected { session, agent, node, reason };
            return Ok(NewEvent::new(stream, left));
        }
        machine.session = SessionId::new(Uuid::now_v7());
        let joined = event::AgentConnected {
            session: machine.session,
            agent,
            node,
            version: "0.1.0".to_owned().try_into()?,
            system: System::new(SYSTEM)?,
        };
        let address = Some(format!("198.51.100.{}", number % 254 + 1));
        Ok(NewEvent::new(stream, joined).with_annex(Annex { address, ..Annex::default() }))
    }

    /// Who causes what the step tells.
    fn actor(&mut self, step: Option<Step>) -> Result<Actor> {
        Ok(match step {
            Some(Step::Activate | Step::Request(_)) => {
                let token = Uuid::from_u128(0x0190_b1f2_7c1e_7d3a_9f00_5c2d_6e1a_4b90);
                Actor { kind: ActorKind::Token, id: token.to_string() }
            }
            Some(
                Step::Start(number)
                | Step::Fetch(number)
                | Step::Activated(number)
                | Step::Succeed(number)
                | Step::NotActivated(number)
                | Step::Fail(number),
            ) => {
                let id = self.machine(number)?.name.to_string();
                Actor { kind: ActorKind::Agent, id }
            }
            Some(Step::Leave(_) | Step::Join(_)) | None => {
                Actor { kind: ActorKind::Node, id: self.node.to_string() }
            }
        })
    }

    fn machine(&mut self, number: usize) -> Result<&mut Machine> {
        self.machines.get_mut(number).context("the fleet has no such agent")
    }

    fn stream(&mut self, number: usize) -> Result<StreamId> {
        let name = self.machine(number)?.name.clone();
        Ok(StreamId::Agent(self.workspace.clone(), name))
    }

    fn digest(&mut self) -> Digest {
        self.number += 1;
        Digest::of(&self.number.to_be_bytes())
    }
}

/// What every machine of the fleet is.
const SYSTEM: &str = "x86_64-linux";
/// The rollback script of the fleet's system.
const ROLLBACK_SCRIPT: &str =
    "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-rollback-script-x86_64-linux";

/// What a failing activation says.
const ERROR: &str = "warning: the following units failed: nginx.service\n\
     nginx: [emerg] host not found in upstream \"api.internal\" in /etc/nginx/nginx.conf:41";

fn fresh() -> RequestId {
    RequestId::new(Uuid::now_v7())
}

fn write(request_id: RequestId, actor: Actor, events: Vec<NewEvent>) -> Write {
    Write {
        request_id,
        given: Digest::of(&request_id.bytes()),
        actor,
        expect: Vec::new(),
        change: Change::Events(Arc::new(events)),
    }
}

/// A NixOS system's path, with a hash as Nix writes it.
fn store_path(serial: u64, name: &str) -> Result<StorePath> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";
    let Digest(bytes) = Digest::of(&serial.to_le_bytes());
    let hash: String =
        bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect();
    Ok(StorePath::new(format!("/nix/store/{hash}-nixos-system-{name}-25.11.20261114.a3f2c1d"))?)
}
