//! Processors that both tiers know.

mod actions;
pub mod attributes;
pub mod batch;
pub mod delta_to_cumulative;
pub mod filter;
pub mod items;
pub mod memory_limiter;
pub mod ottl;
pub mod resource;
#[cfg(test)]
pub(crate) mod testing;
pub mod transform;
