#![doc = include_str!("lib.md")]

pub mod cli;
pub mod config;
pub mod decode;
pub mod devices;
pub mod engine;
pub mod error;
pub mod export;
pub mod filter;
pub mod flow;
pub mod global;
pub mod host;
pub mod ledger;
pub mod limits;
pub mod memory;
pub mod names;
pub mod privileges;
mod socket;
pub mod source;
pub mod sync;
pub mod table;
pub mod time;
pub mod view;
pub mod xdp;
