//! Extensions that both tiers know.

pub mod health_check;

pub mod basicauth;
pub mod bearertokenauth;
pub mod headers_setter;

mod credential_file;
mod htpasswd;
