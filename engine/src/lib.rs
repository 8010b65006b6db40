#![doc = include_str!("lib.md")]

pub mod error;
pub mod limits;
pub mod source;
pub mod time;
pub mod xdp;
