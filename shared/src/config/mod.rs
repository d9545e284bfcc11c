//! The Collector's file model: read, checked with every problem named, then built.
//!
//! Reading goes from text to [`Node`]s that know their lines, from nodes to typed sections
//! ([`config_struct!`](crate::config_struct)), and from sections to components. Only this module
//! reads files and the environment.

mod decode;
mod node;
mod problems;
#[cfg(test)]
pub(crate) mod testing;
pub mod units;

pub use decode::{Decode, DecodeField, Fields, NotSupported, Section, expected, key_name};
pub use node::{Data, Entry, Node, Place};
pub use problems::{Path, Problem, Problems, nearest};
