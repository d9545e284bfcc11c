//! Extensions that both tiers know.
