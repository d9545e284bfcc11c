//! What the process says of itself: metrics on `/metrics`, logs on stderr.
//!
//! [`start`] comes before any component is built, since a metric's handle is taken from the
//! recorder that is installed at that moment. Components declare their metrics with
//! [`metric_set!`](crate::metric_set), [`expiring`] where a label's values come and go, count what they hold with [`memory::Held`] and thin their
//! logs with [`thin::Thin`]. What they answer operators beside that is added to [`admin`].

pub mod admin;
mod bounds;
pub mod cgroup;
pub mod config;
pub mod docs;
pub mod expiring;
mod logs;
pub mod memory;
pub mod metrics;
mod page;
pub mod process;
pub mod server;
mod start;
pub mod thin;

pub use config::TelemetryConfig;
pub use page::OWN;
pub use start::{Identity, Telemetry, start};
