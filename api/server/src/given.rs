//! What a client gave, as one digest: by it the log tells a request that is sent
//! again from another one under the same id.

use ledger_core::event::Digest;
use ledger_core::{NodeId, RequestId, WorkspaceName};
use serde::Serialize;

/// Digests a request of the HTTP API.
pub(crate) fn of_request(
    method: &str,
    path: &str,
    workspace: Option<&WorkspaceName>,
    body: &impl Serialize,
) -> Digest {
    // Bodies are structs of strings, numbers and lists, which cannot fail to encode.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let workspace = workspace.map_or("", WorkspaceName::as_str);
    digest("ledger 2026-11 given over http", &[method, path, workspace], &body)
}

/// Digests something that an agent sent over its socket.
pub(crate) fn of_message(
    kind: &str,
    workspace: &WorkspaceName,
    agent: &str,
    message: &impl Serialize,
) -> Digest {
    let message = serde_json::to_vec(message).unwrap_or_default();
    digest("ledger 2026-11 given by an agent", &[kind, workspace.as_str(), agent], &message)
}

/// Digests a write that the server makes by itself: its id says all.
pub(crate) fn of_node(node: NodeId, request: RequestId) -> Digest {
    digest("ledger 2026-11 given by a node", &[&node.to_string()], &request.bytes())
}

fn digest(context: &str, texts: &[&str], bytes: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in texts.iter().map(|text| text.as_bytes()).chain([bytes]) {
        // Lengths keep the parts apart.
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    Digest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_tells_requests_apart() {
        let (default, other) =
            (WorkspaceName::initial(), WorkspaceName::new("other").expect("valid"));
        let all = [
            of_request("POST", "/v1/a", Some(&default), &1),
            of_request("PUT", "/v1/a", Some(&default), &1),
            of_request("POST", "/v1/b", Some(&default), &1),
            of_request("POST", "/v1/a", Some(&other), &1),
            of_request("POST", "/v1/a", None, &1),
            of_request("POST", "/v1/a", Some(&default), &2),
            of_message("POST", &default, "/v1/a", &1),
        ];
        let distinct: std::collections::BTreeSet<Digest> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
