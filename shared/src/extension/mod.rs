//! Extensions that both tiers know.

pub mod health_check;
