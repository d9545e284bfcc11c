//! Processors that both tiers know.

mod actions;
pub mod attributes;
pub mod batch;
pub mod delta_to_cumulative;
mod drops;
pub mod filter;
pub mod group_by_trace;
pub mod items;
pub mod memory_limiter;
pub mod ottl;
pub mod probabilistic_sampler;
pub mod resource;
pub mod resource_detection;
mod selection;
#[cfg(test)]
pub(crate) mod testing;
pub mod transform;
