//! One file for each verb: its options, and what it does.

pub(crate) mod activate;
pub(crate) mod agent;
pub(crate) mod agents;
pub(crate) mod archive;
pub(crate) mod backup;
pub(crate) mod cancel;
pub(crate) mod demo;
pub(crate) mod deployment;
pub(crate) mod deployments;
pub(crate) mod doctor;
pub(crate) mod erase;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod token;
pub(crate) mod verify;
pub(crate) mod which;
pub(crate) mod workspace;
