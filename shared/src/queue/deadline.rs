//! Waiting for a moment that may not be known yet.

use std::time::Instant;

use tokio::sync::watch;

/// Waits until then; for ever if there is no then.
pub(crate) async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits until a deadline is set and then until it passes; for ever if none will be set.
pub(crate) async fn passed(deadline: &mut watch::Receiver<Option<Instant>>) {
    let set = match deadline.wait_for(Option::is_some).await {
        Ok(deadline) => *deadline,
        Err(_) => None,
    };
    until(set).await;
}
