//! The binary `ledger` as its users meet it: what it prints, and how it ends.

mod activate;
mod configuration;
mod doctor;
mod help;
mod login;
mod logs;
mod meant;
mod serve;
mod shell;
mod support;
mod terminal;
mod usage;
mod verbs;
mod verify;
