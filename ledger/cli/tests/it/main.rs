//! The binary `ledger` as its users meet it: what it prints, and how it ends.

mod activate;
mod configuration;
mod help;
mod logs;
mod serve;
mod support;
mod usage;
mod verbs;
