//! Both tiers as real processes, and what they need around them.
//!
//! Every process gets a loopback address of its own and listens there on the ports it has in
//! production, so the sample configurations run as they are.

pub mod address;
pub mod binaries;
pub mod cluster;
pub mod cores;
pub mod dns;
pub mod http;
pub mod kubernetes;
pub mod link;
pub mod page;
pub mod process;
pub mod usage;

/// Why the testbed could not do what it was asked to; the text is fit for a user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TestbedError(pub String);

impl TestbedError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
