//! Processors that both tiers know.

pub mod batch;
pub mod memory_limiter;
