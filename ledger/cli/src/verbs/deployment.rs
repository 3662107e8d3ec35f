//! `ledger deployment`

use crate::activation::text::{runs, why};
use crate::connection::Connection;
use crate::failure::{Exit, Failure, Outcome};
use crate::hint;
use crate::terminal::{Format, bytes, clean, note, print, print_json, seconds, took};
use api_client::http::{Client, DeploymentRef};
use api_wire::http::{Deployment, OutputQuery};
use clap::Args;
use data_encoding::BASE64;
use ledger_core::{DeploymentId, limits};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  ledger deployment 'web-1#7'
  ledger deployment 0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90 --format json | jq -r .output_text";

/// Show one deployment: what the log says of it, and its output
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShowDeployment {
    /// The deployment's id, or AGENT#INDEX like web-1#7
    #[arg(value_name = "DEPLOYMENT")]
    deployment: DeploymentRef,
    /// For people, or as JSON for programs, with the output as `output_text`
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// What `--format json` prints: the deployment of the HTTP API, with its output.
#[derive(Serialize)]
struct WithOutput {
    #[serde(flatten)]
    deployment: Deployment,
    /// Its output. What is not UTF-8 is replaced.
    output_text: String,
}

impl ShowDeployment {
    pub(crate) async fn run(self) -> Outcome {
        let client = self.connection.client()?;
        let answer = client.deployment(&self.deployment).await;
        let deployment = hint::explain(&client, answer, self.deployment.agent()).await?;
        let output = read_output(&client, deployment.id).await?;
        let output_text = String::from_utf8_lossy(&output).into_owned();
        if self.format == Format::Json {
            print_json(&WithOutput { deployment, output_text })?;
            return Ok(Exit::Done);
        }
        let facts = facts(&deployment);
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in &facts {
            print(format!("{name:<width$}  {}", clean(value)))?;
        }
        // Mostly it is the end of the output, and then it is read there.
        let error = deployment.error.as_deref().filter(|e| !output_text.contains(e.trim()));
        if let Some(error) = error {
            print("\nwhat the failing program said:")?;
            print_lines(error)?;
        }
        if output_text.is_empty() {
            note(if deployment.status.is_final() {
                "it has no output"
            } else {
                "it has no output yet"
            });
        } else {
            print("\noutput:")?;
            print_lines(&output_text)?;
        }
        Ok(Exit::Done)
    }
}

fn print_lines(text: &str) -> Result<(), Failure> {
    for line in text.lines() {
        print(format!("  {}", clean(line)).trim_end())?;
    }
    Ok(())
}

/// Reads all output that is stored, and no more than a deployment may have.
async fn read_output(client: &Client, deployment: DeploymentId) -> Result<Vec<u8>, Failure> {
    let mut output = Vec::new();
    let mut query = OutputQuery { deployment: Some(deployment), ..OutputQuery::default() };
    loop {
        let page = client.output(&query).await?;
        if page.chunks.is_empty() {
            return Ok(output);
        }
        for chunk in &page.chunks {
            let bytes = BASE64.decode(chunk.bytes.as_bytes());
            output.extend(
                bytes.map_err(|e| Failure::from(e).context("a piece of output cannot be read"))?,
            );
        }
        if query.after.is_some_and(|after| page.next <= after)
            || output.len() as u64 > limits::OUTPUT_BYTES_MAX
        {
            return Ok(output);
        }
        query.after = Some(page.next);
    }
}

/// Returns everything that is known, by name.
fn facts(d: &Deployment) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("deployment", format!("{}#{}", d.agent, d.index)),
        ("id", d.id.to_string()),
        ("activation", d.activation.to_string()),
        ("store path", d.store_path.to_string()),
        ("status", d.status.as_str().to_owned()),
        ("requested", format!("{} (position {})", seconds(d.requested_at), d.position)),
    ];
    let mut fact = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    fact("started", d.started_at.map(seconds));
    let after = |to| d.started_at.map(|from| format!(", after {}", took(from, to)));
    fact("ended", d.ended_at.map(|to| format!("{}{}", seconds(to), after(to).unwrap_or_default())));
    fact("superseded by", d.superseded_by.map(|id| id.to_string()));
    let paths = d.closure_paths.map(|paths| format!(" in {paths} store paths"));
    fact(
        "closure",
        d.closure_bytes.map(|size| format!("{}{}", bytes(size), paths.unwrap_or_default())),
    );
    fact("kind", d.kind.map(|kind| kind.to_string()));
    fact("generation", d.generation.map(|generation| generation.to_string()));
    fact("profile before", d.previous.as_ref().map(ToString::to_string));
    fact("failure", d.reason.map(|reason| format!("{} ({reason})", why(reason))));
    fact("machine", d.outcome.map(|outcome| format!("{} ({outcome})", runs(outcome))));
    let output = d.output.as_ref();
    fact("output", output.map(|o| format!("{}, BLAKE3 {}", bytes(o.bytes), o.blake3)));
    facts
}
