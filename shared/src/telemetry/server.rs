//! Small HTTP servers for operators, each on its own thread.
//!
//! `/metrics` and the health check must answer while the workers are busy, so they do not run on
//! them. A server takes [`MAX_CONNECTIONS`] connections at a time and gives a client
//! [`CONNECTION_TIME`] for what it wants.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, oneshot};

/// How many connections are served at a time; more wait in the kernel's backlog.
pub const MAX_CONNECTIONS: usize = 64;
/// How long a connection may last; probes and scrapers open new ones.
pub const CONNECTION_TIME: Duration = Duration::from_secs(120);
/// How long a client may take to send its request's head.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    // Dropping the sender ends the server.
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Listens on `address` (`host:port`) and serves `router` on a thread named `name`.
    ///
    /// # Errors
    /// When the address cannot be resolved or bound, or the thread cannot be made.
    pub fn start(name: &str, address: impl ToSocketAddrs, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, router) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, _stop: stop })
    }

    /// The address it listens on, with the port that was really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, router: Router) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot serve operators");
            return;
        }
    };
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: give the process time to close some.
                tracing::warn!(%error, "cannot accept a connection of an operator");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIME, connection).await {
                tracing::debug!(%error, "an operator's connection broke");
            }
            drop(permit);
        });
    }
}
