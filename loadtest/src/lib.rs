//! Shows, loads, measures and tests both tiers.

pub mod generate;
pub mod oracle;
pub mod plan;
pub mod testbed;
pub mod truth;
