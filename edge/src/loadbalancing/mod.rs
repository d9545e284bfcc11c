//! The `load_balancing` exporter: every record goes to the backend that owns its routing key.
//!
//! ```text
//!            room           by the routes of this moment
//! pipeline → [bytes] → cut ──┬→ lane → joined requests → backend 1
//!                       ▲    ├→ lane → joined requests → backend 2
//!                       │    └→ …
//!                       └── parts that failed, or whose backend is passed over now
//! ```
//!
//! In reading order: [`ticket`] is a request's place and its parts; `core` admits, cuts and tries
//! again; [`outcomes`] counts what comes of it; [`way`] is its way to one backend; [`lane`] is what
//! waits there (pure) and `lane_task` the task that owns it; [`peer`] is one backend and [`health`]
//! whether it is in rotation (pure).
//!
//! By default a request is acknowledged when the last of its parts was delivered. Each part is
//! retried by itself, so a slow or dead backend costs only its own keys.

mod config;
mod core;
mod health;
mod lane;
mod lane_task;
mod metrics;
mod outcomes;
mod peer;
mod routing_key;
#[cfg(test)]
mod tests;
mod ticket;
mod way;

pub(crate) use config::LoadBalancingConfig;
pub(crate) use metrics::DESCRIPTORS;
pub(crate) use routing_key::RoutingKey;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use shared::Batch;
use shared::consumer::{Consumer, Rejected};

use self::core::Core;

/// The exporter, as a pipeline sees it.
struct Exporter(Arc<Core>);

#[async_trait]
impl Consumer for Exporter {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        if batch.items() == 0 {
            return Ok(());
        }
        match self.0.take(batch).await? {
            None => Ok(()),
            Some((_caller, answer)) => answer.await.expect("a ticket answers when it is dropped"),
        }
    }

    async fn shutdown(&self, deadline: Instant) {
        self.0.shutdown(deadline).await;
    }
}
