#![doc = include_str!("lib.md")]

pub mod decode;
pub mod error;
pub mod flow;
pub mod global;
pub mod limits;
pub mod source;
pub mod sync;
pub mod table;
pub mod time;
pub mod xdp;
