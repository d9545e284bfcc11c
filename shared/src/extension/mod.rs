//! Extensions that both tiers know.

pub mod health_check;

pub mod basicauth;
pub mod bearertokenauth;
pub mod headers_setter;
pub mod sigv4auth;

mod credential_file;
mod htpasswd;
