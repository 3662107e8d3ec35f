//! A ledger that commands are tried on, and the commands.

use crate::samples::{id, of, path};
use ledger_core::activation::{Activation, Target};
use ledger_core::agent::{Agent, Report};
use ledger_core::command::Connection;
use ledger_core::event::{
    ClosureKind, Digest, DisconnectReason, FailureOutcome, FailureReason, OutputDigest,
};
use ledger_core::ids::*;
use ledger_core::key::PublicKey;
use ledger_core::{AgentName, Annex, Command, Context, Rejection, State, Timestamp, WorkspaceName};
use std::collections::BTreeMap;

/// A state, and a driver that does what a store does.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    pub(super) state: State,
    requests: u32,
}

impl Ledger {
    /// A workspace `default` with the agents registered and connected.
    pub(crate) fn with_agents(names: &[&str]) -> Self {
        let mut ledger = Self::default();
        ledger.does(Command::CreateWorkspace { workspace: of("default") });
        for name in names {
            ledger.does(connect(name, 1, 10));
        }
        ledger
    }

    /// Decides and applies. Returns the types of the events, or the refusal's code.
    pub(crate) fn decide(&mut self, command: Command) -> Result<Vec<&'static str>, &'static str> {
        self.requests += 1;
        let request = match &command {
            Command::Activate(activation) => activation.id.into(),
            _ => of(&id(0xa000 + self.requests)),
        };
        let context = Context { now: Timestamp::from_micros(i64::from(self.requests)), request };
        let events = self.state.decide(command, context).map_err(|r: Rejection| r.code())?;
        for (ordinal, new) in events.iter().enumerate() {
            let event_id = EventId::derive(request, ordinal as u32);
            self.state.evolve(&new.stream, event_id, context.now, &new.event);
        }
        Ok(events.iter().map(|new| new.event.type_name()).collect())
    }

    pub(super) fn does(&mut self, command: Command) -> Vec<&'static str> {
        let shown = format!("{command:?}");
        self.decide(command).unwrap_or_else(|code| panic!("{shown}: {code}"))
    }

    /// Checks one row: a command and the types or the code that it leads to.
    pub(super) fn check(
        &mut self,
        command: Command,
        expected: Result<&[&'static str], &'static str>,
    ) {
        let shown = format!("{command:?}");
        let found = self.decide(command);
        assert_eq!(found.as_deref().map_err(|code| *code), expected, "{shown}");
    }

    pub(super) fn agent(&self, name: &str) -> &Agent {
        let workspace = self.state.workspaces.get(&of::<WorkspaceName>("default")).expect("there");
        workspace.agents.get(&of::<AgentName>(name)).expect("there")
    }

    pub(super) fn pending(&self, name: &str) -> DeploymentId {
        self.agent(name).pending.as_ref().expect("pending").id
    }
}

pub(super) fn connect(name: &str, key: u8, session: u32) -> Command {
    Command::Connect {
        workspace: of("default"),
        connection: Connection {
            agent: of(name),
            key: PublicKey::from_bytes([key; 32]),
            session: of(&id(session)),
            node: of(&id(3)),
            version: of("0.1.0"),
            system: of("x86_64-linux"),
            annex: Annex::default(),
        },
    }
}

pub(super) fn disconnect(name: &str, session: u32) -> Command {
    let reason = DisconnectReason::ConnectionLost;
    Command::Disconnect {
        workspace: of("default"),
        agent: of(name),
        session: of(&id(session)),
        reason,
    }
}

pub(super) fn activate(n: u32, names: &[&str]) -> Command {
    let target = || Target { store_path: path(&format!("v{n}")), rollback_script: None };
    Command::Activate(Activation {
        id: of(&id(0x400 + n)),
        workspace: of("default"),
        spec_digest: Digest::of(b"{}"),
        agents: names.iter().map(|name| (of(name), target())).collect(),
        rollback_scripts: BTreeMap::new(),
        ci: None,
        annex: Annex::default(),
    })
}

/// A claim on the session that [`Ledger::with_agents`] opens.
pub(super) fn start(name: &str, deployment: DeploymentId) -> Command {
    start_on(10, name, deployment)
}

pub(super) fn start_on(session: u32, name: &str, deployment: DeploymentId) -> Command {
    let session = of(&id(session));
    Command::Start { workspace: of("default"), agent: of(name), deployment, session }
}

pub(super) fn cancel(name: &str, deployment: DeploymentId) -> Command {
    let annex = Annex::default();
    Command::Cancel { workspace: of("default"), agent: of(name), deployment, annex }
}

pub(super) fn report(name: &str, deployment: DeploymentId, report: Report) -> Command {
    let occurred_at = Timestamp::from_micros(5);
    Command::Report { workspace: of("default"), agent: of(name), deployment, report, occurred_at }
}

pub(super) fn output() -> OutputDigest {
    OutputDigest { blake3: Digest::of(b""), bytes: 0 }
}

pub(super) fn fetched() -> Report {
    Report::ClosureFetched { closure_bytes: 1, closure_paths: 1 }
}

pub(super) fn activated() -> Report {
    Report::ActivationSucceeded { closure: ClosureKind::Plain, generation: Some(1), previous: None }
}

pub(super) fn failed() -> Report {
    Report::Failed {
        reason: FailureReason::FetchFailed,
        outcome: FailureOutcome::Unchanged,
        output: output(),
        error: "no".to_owned(),
    }
}

/// One of eight kinds of command about an agent. Deployments are named by their
/// place in an activation, so that some exist and some do not.
pub(crate) fn command(kind: u8, name: &str, n: u32, activation: u32) -> Command {
    let request: RequestId = of(&id(0x400 + activation));
    let deployment = EventId::derive(request, n % 5).into();
    match kind {
        0 => activate(activation, &["web", "db"]),
        // One session of those that 4 and 5 open and end, so that it is often current.
        1 => start_on(10 + n % 3, name, deployment),
        2 => cancel(name, deployment),
        3 => report(name, deployment, [fetched(), activated(), failed()][n as usize % 3].clone()),
        4 => connect(name, 1, 10 + n),
        5 => disconnect(name, 10 + n),
        6 => Command::StartNode { node: of(&id(3)), version: of("0.1.0"), alive_until: None },
        _ => Command::StopNode { node: of(&id(3)) },
    }
}
