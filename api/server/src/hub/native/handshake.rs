//! The first words: a challenge, and the agent's proof of its key.

use crate::auth::Caller;
use crate::hub::native::wire::Wire;
use crate::hub::session::{Ending, Introduction};
use crate::limits;
use crate::server::Server;
use api_wire::agent::{FromAgent, FromServer};
use data_encoding::BASE64;
use ledger_core::key::session_proof;
use tokio::time::timeout;

/// Challenges the agent, and returns who it proved to be.
pub(crate) async fn introduce(
    server: &Server,
    caller: &Caller,
    wire: &mut Wire,
) -> Result<Introduction, Ending> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce)
        .map_err(|error| Ending::Unavailable(format!("no randomness: {error}")))?;
    let workspace = caller.token.workspace.clone();
    wire.say(&FromServer::Challenge {
        node: server.node,
        workspace: workspace.clone(),
        nonce: BASE64.encode(&nonce),
    })
    .await?;
    let hello = timeout(limits::HELLO_TIMEOUT, wire.hear()).await.map_err(|_| Ending::Silent)??;
    let FromAgent::Hello { agent, version, system, public_key, signature, cursor } = hello else {
        return Err(Ending::Broke("the first message must be hello".to_owned()));
    };
    let proof = session_proof(server.node, &nonce, &workspace, &agent);
    let signature = BASE64.decode(signature.as_bytes()).unwrap_or_default();
    if !public_key.verifies(&proof, &signature) {
        let detail = "the signature over the challenge is not the key's";
        return Err(Ending::Broke(detail.to_owned()));
    }
    Ok(Introduction { agent, key: public_key, version, system, cursor })
}
