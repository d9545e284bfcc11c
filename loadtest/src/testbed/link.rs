//! A TCP connection's way to a destination, which can be cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::TestbedError;

/// How a link treats connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Bytes pass.
    Up,
    /// Connections are accepted and reset at once; those that stood are reset.
    Resetting,
}

/// Passes bytes from an address of its own to a destination, as long as it is up.
pub struct Link {
    address: SocketAddr,
    state: watch::Sender<LinkState>,
    accepted: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Link {
    /// A link to `destination` that listens on `address`.
    ///
    /// # Errors
    /// When the address is in use.
    pub async fn start(
        (host, port): (Ipv4Addr, u16),
        destination: SocketAddr,
    ) -> Result<Self, TestbedError> {
        let listener = TcpListener::bind((host, port)).await.map_err(|error| {
            TestbedError::new(format!("cannot listen on {host}:{port}: {error}"))
        })?;
        let address = listener.local_addr().map_err(|e| TestbedError::new(e.to_string()))?;
        let (state, watched) = watch::channel(LinkState::Up);
        let accepted = Arc::<AtomicUsize>::default();
        let task = tokio::spawn(serve(listener, destination, watched, Arc::clone(&accepted)));
        Ok(Self { address, state, accepted, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Treats connections so from now on.
    pub fn set(&self, state: LinkState) {
        self.state.send_replace(state);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    to: SocketAddr,
    state: watch::Receiver<LinkState>,
    accepted: Arc<AtomicUsize>,
) {
    let connections = Arc::new(tokio::sync::Semaphore::new(256));
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else { return };
        accepted.fetch_add(1, Ordering::Relaxed);
        let mut state = state.clone();
        tokio::spawn(async move {
            // Held until this connection ends.
            let _permit = permit;
            pass(stream, to, &mut state).await;
        });
    }
}

async fn pass(mut from: TcpStream, to: SocketAddr, state: &mut watch::Receiver<LinkState>) {
    if *state.borrow_and_update() == LinkState::Up {
        let Ok(mut to) = TcpStream::connect(to).await else { return reset(&from) };
        tokio::select! {
            // How a connection ended does not matter to a wire.
            _ = tokio::io::copy_bidirectional(&mut from, &mut to) => return,
            _ = state.wait_for(|state| *state == LinkState::Resetting) => reset(&to),
        }
    }
    reset(&from);
}

/// Makes the close that follows a reset.
fn reset(stream: &TcpStream) {
    let linger = shared_linger(stream, Duration::ZERO);
    debug_assert!(linger.is_ok(), "the socket is open");
}

#[allow(deprecated, reason = "a linger of zero does not block, which the deprecation is about")]
fn shared_linger(stream: &TcpStream, linger: Duration) -> std::io::Result<()> {
    stream.set_linger(Some(linger))
}
