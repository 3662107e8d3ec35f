//! Proofs that an event is in the log and that the log only ever grew, and the
//! erasure that leaves them valid.

use super::exact::{exact, needed};
use ledger_core::checkpoint::Origin;
use ledger_core::ids::{Position, RequestId};
use ledger_core::merkle::NodeHash;
use serde::{Deserialize, Serialize};

/// Which proof that an event is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct InclusionQuery {
    /// The event.
    #[serde(deserialize_with = "needed")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Position))]
    pub position: Position,
    /// The size of the tree that it is to be proven in. Without it: that of the
    /// newest checkpoint, or of the whole log where no checkpoint has the event yet.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer, required = false))]
    pub size: Option<u64>,
}

/// The proof that an event is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InclusionProof {
    /// The event; its leaf has the index `position - 1`.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Position))]
    pub position: Position,
    /// The entry of the tree, in base 64: the envelope of the event. Its leaf hash
    /// is SHA-256 over a zero byte and these.
    pub entry: String,
    /// How many events the tree has.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Integer))]
    pub size: u64,
    /// The root of the tree.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::NodeHash))]
    pub root: NodeHash,
    /// The path from the leaf to the root (RFC 6962, 2.1.1).
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::schema::NodeHash>))]
    pub proof: Vec<NodeHash>,
    /// The signed checkpoint of that size, if the newest one is.
    #[cfg_attr(feature = "schema", schema(required = true))]
    pub checkpoint: Option<String>,
}

/// Which proof that the log only grew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct ConsistencyQuery {
    /// The size of the older tree.
    #[serde(deserialize_with = "needed")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer))]
    pub from: u64,
    /// The size of the newer tree. Without it: that of the newest checkpoint.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer, required = false))]
    pub to: Option<u64>,
}

/// The proof that the log of one size begins with that of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConsistencyProof {
    /// The size of the older tree.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Integer))]
    pub from: u64,
    /// The size of the newer tree.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Integer))]
    pub to: u64,
    /// The root of the newer tree.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::NodeHash))]
    pub root: NodeHash,
    /// The hashes that lead from the older root to the newer one (RFC 6962, 2.1.2).
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::schema::NodeHash>))]
    pub proof: Vec<NodeHash>,
    /// The signed checkpoint of the newer size, if the newest one is.
    #[cfg_attr(feature = "schema", schema(required = true))]
    pub checkpoint: Option<String>,
}

/// The keys that sign, or signed, checkpoints of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SigningKeys {
    /// The name of the log; none before a server signs.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, required = true))]
    pub origin: Option<Origin>,
    /// The keys, as C2SP writes verifier keys: `NAME+ID+KEY`.
    pub keys: Vec<String>,
}

/// An order to erase the annex of an event: addresses, names and words of people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EraseRequest {
    /// Made by the client and kept through every retry.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::RequestId))]
    pub request_id: RequestId,
    /// The event whose annex is to go.
    #[serde(deserialize_with = "needed")]
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Position))]
    pub position: Position,
    /// Why; recorded in the annex of the order.
    pub reason: String,
}
