//! How long a connection lives, and how it ends.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio_util::sync::CancellationToken;

use super::connections::{Connection, Connections, Cut, Place, RequestGuard};

/// What a server's connections are told.
#[derive(Debug, Clone, Default)]
pub(super) struct Signals {
    /// Take no further request and end.
    pub(super) stop: CancellationToken,
    /// End at once.
    pub(super) kill: CancellationToken,
}

/// A connection that was told to end and has no request may take this long to do so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// When a connection ends by itself; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Age {
    /// Without a request for this long.
    pub max_idle: Duration,
    /// At this age, ± 10 %.
    pub max_age: Duration,
    /// Requests under way may take this long then.
    pub grace: Duration,
}

/// Runs one connection until it ends.
#[derive(Clone)]
pub struct Lifetime {
    signals: Signals,
    connection: Arc<Connection>,
    all: Arc<Connections>,
}

impl Lifetime {
    pub(super) fn new(signals: Signals, place: &Place, all: Arc<Connections>) -> Self {
        Self { signals, connection: Arc::clone(&place.connection), all }
    }

    /// To be held while a request is under way.
    pub fn request(&self) -> RequestGuard {
        RequestGuard::new(&self.connection)
    }

    /// How many connections the server has, this one among them.
    pub fn connections(&self) -> usize {
        self.all.len()
    }

    /// Serves `connection` until it ends by itself, by age, because it must give way or because
    /// the server stops. At its age and when the server stops it finishes what is under way.
    pub async fn run<C>(&self, connection: C, age: Age)
    where
        C: GracefulConnection,
        C::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut connection = pin!(connection);
        let grace = tokio::select! {
            ended = connection.as_mut() => return self.explain(ended),
            () = self.signals.stop.cancelled() => Duration::ZERO,
            () = after(jittered(age.max_age)) => age.grace,
            () = self.idle(age.max_idle) => Duration::ZERO,
            () = self.connection.give_way.notified() => return say_goodbye(connection).await,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection.as_mut() => self.explain(ended),
            () = self.signals.kill.cancelled() => {}
            () = after(grace) => {}
            // The client does not say that it has understood.
            () = self.idle(LAST_WORDS) => {}
            () = self.connection.give_way.notified() => {}
        }
    }

    /// Remembers whether the server ended the connection, which the guard knows for itself.
    fn explain<E: Into<Box<dyn Error + Send + Sync>>>(&self, ended: Result<(), E>) {
        let Err(error) = ended else { return };
        let error: Box<dyn Error + Send + Sync> = error.into();
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<h2::Error>()
                && error.is_library()
            {
                self.connection.cut(Cut::Protocol);
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                if error.is_parse() {
                    self.connection.cut(Cut::Protocol);
                }
                // Between two requests it is no more than idle.
                if error.is_timeout() && self.connection.is_new() {
                    self.connection.cut(Cut::SlowRequest);
                }
            }
            cause = error.source();
        }
    }

    /// Ends when there was no request for `limit`.
    async fn idle(&self, limit: Duration) {
        if limit.is_zero() {
            return std::future::pending().await;
        }
        loop {
            let quiet = self.connection.quiet.notified();
            if self.connection.has_requests() {
                quiet.await;
                continue;
            }
            // A request that comes and goes meanwhile starts the time anew.
            if tokio::time::timeout(limit, quiet).await.is_err() && !self.connection.has_requests()
            {
                return;
            }
        }
    }
}

/// Tells the client that it is over, as far as that goes without waiting for it.
async fn say_goodbye<C: GracefulConnection>(mut connection: Pin<&mut C>) {
    connection.as_mut().graceful_shutdown();
    poll_fn(|cx| {
        // A connection that gathers its writes says it when it is polled again.
        if connection.as_mut().poll(cx).is_pending() {
            drop(connection.as_mut().poll(cx));
        }
        Poll::Ready(())
    })
    .await;
}

/// A tenth more or less, so that connections made together do not end together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(rand::random_range(0.9..1.1))
}

/// Ends after `delay`; 0 is never.
async fn after(delay: Duration) {
    match delay {
        Duration::ZERO => std::future::pending().await,
        delay => tokio::time::sleep(delay).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_made_together_do_not_end_together() {
        let minute = Duration::from_secs(60);
        let ages: Vec<_> = (0..1000).map(|_| jittered(minute)).collect();
        let (first, last) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(*first >= Duration::from_secs(54) && *last <= Duration::from_secs(66));
        assert!(last.abs_diff(*first) > Duration::from_secs(10), "{first:?} to {last:?}");
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
    }
}
