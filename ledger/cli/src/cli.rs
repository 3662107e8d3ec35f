//! The command line.

use crate::config::Effective;
use crate::failure::Outcome;
use crate::screen::watched;
use crate::verbs::activate::Activate;
use crate::verbs::agent::Agent;
use crate::verbs::agents::Agents;
use crate::verbs::archive::{Export, Import};
use crate::verbs::backup::{Backup, Migrate};
use crate::verbs::cancel::Cancel;
use crate::verbs::demo::Demo;
use crate::verbs::deployment::ShowDeployment;
use crate::verbs::deployments::Deployments;
use crate::verbs::doctor::Doctor;
use crate::verbs::erase::Erase;
use crate::verbs::log::Log;
use crate::verbs::login::{Login, Logout};
use crate::verbs::serve::Serve;
use crate::verbs::shell::{Completions, Manual};
use crate::verbs::token::TokenVerb;
use crate::verbs::verify::Verify;
use crate::verbs::workspace::Workspace;
use clap::{Parser, Subcommand};

const AFTER_HELP: &str = "\
Begin with `ledger serve`, then `ledger agent` on a machine, then `ledger login` and `ledger activate` wherever you work. `ledger doctor` tells what is missing.

Environment: LEDGER_URL and LEDGER_TOKEN say where the server is and with which token, in place of a login; LEDGER_SERVER names a login, LEDGER_WORKSPACE the workspace that is meant. A token is never taken from the command line.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 history is not what it was; 4 refused by the server; 5 a deployment failed and its machine is not known to be back on the old closure.";

/// What a verb that asks one thing is doing.
const WAITING: &str = "waiting for the server";

/// Deploy Nix profiles to fleets, and remember
#[derive(Parser, Debug)]
#[command(name = "ledger", version = env!("LEDGER_VERSION"), after_help = AFTER_HELP, max_term_width = 100)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Serve(Serve),
    Agent(Agent),
    Login(Login),
    Logout(Logout),
    Activate(Box<Activate>),
    Cancel(Cancel),
    Agents(Agents),
    Deployments(Deployments),
    Deployment(ShowDeployment),
    Log(Log),
    Erase(Erase),
    Token(TokenVerb),
    Workspace(Workspace),
    Verify(Verify),
    Export(Export),
    Import(Import),
    Backup(Backup),
    Migrate(Migrate),
    Doctor(Box<Doctor>),
    Demo(Demo),
    Completions(Completions),
    #[command(name = "man")]
    Manual(Manual),
}

impl Cli {
    /// Takes the settings of the verb, with where each comes from.
    pub(crate) fn settle(&mut self, settings: Vec<Effective>) {
        if let Verb::Serve(serve) = &mut self.verb {
            serve.settle(settings);
        }
    }

    /// Returns whether the verb is one that stays, and has work to end in good order.
    pub(crate) fn stays(&self) -> bool {
        matches!(self.verb, Verb::Serve(_) | Verb::Agent(_))
    }

    /// Does what was asked for.
    pub(crate) async fn run(self) -> Outcome {
        match self.verb {
            Verb::Serve(serve) => serve.run().await,
            Verb::Agent(agent) => crate::verbs::agent::run(agent).await,
            Verb::Login(login) => login.run().await,
            Verb::Logout(logout) => logout.run(),
            Verb::Activate(activate) => activate.run().await,
            Verb::Cancel(cancel) => watched(WAITING, cancel.run()).await,
            Verb::Agents(agents) => watched(WAITING, agents.run()).await,
            Verb::Deployments(deployments) => watched(WAITING, deployments.run()).await,
            Verb::Deployment(deployment) => watched(WAITING, deployment.run()).await,
            Verb::Log(log) => log.run().await,
            Verb::Erase(erase) => watched(WAITING, erase.run()).await,
            Verb::Token(token) => watched(WAITING, token.run()).await,
            Verb::Workspace(workspace) => watched(WAITING, workspace.run()).await,
            Verb::Verify(verify) => verify.run().await,
            Verb::Export(export) => export.run().await,
            Verb::Import(import) => import.run().await,
            Verb::Backup(backup) => backup.run().await,
            Verb::Migrate(migrate) => migrate.run().await,
            Verb::Doctor(doctor) => doctor.run().await,
            Verb::Demo(demo) => demo.run().await,
            Verb::Completions(completions) => completions.run(),
            Verb::Manual(manual) => manual.run(),
        }
    }
}
