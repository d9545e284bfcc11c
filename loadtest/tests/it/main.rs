//! Both tiers as real processes: what clients, operators and the network do to them.
//!
//! Every test has loopback addresses of its own, so all run side by side. Waiting is asking again
//! until a condition holds; nothing depends on how fast the machine is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

mod authentication;
mod benchmarks;
mod cardinality;
mod configuration;
mod connectors;
mod conservation;
mod descriptors;
mod destinations;
mod explaining;
mod filtering;
mod fleet_metrics;
mod flood;
mod growth;
mod intake;
mod kubernetes;
mod measuring;
mod membership;
mod processors;
mod replaying;
mod resolvers;
mod routing;
mod scenarios;
mod sharing;
mod shutdown;
