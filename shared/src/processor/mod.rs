//! Processors that both tiers know.
