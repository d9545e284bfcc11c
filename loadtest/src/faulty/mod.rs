//! A backend that misbehaves as it is told to: a sink in a process of its own.
//!
//! ```text
//! edge ──OTLP/gRPC──▶ serve ──▶ record (a file, written before the answer)
//!                      ▲
//! runner ──HTTP──▶ control: PUT /fault, GET /report
//! ```
//!
//! The process may be killed or stopped at any time: what it took is in the file.

mod control;
mod fault;
pub(crate) mod grpc;
pub mod process;
pub mod record;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

pub use fault::Fault;
use record::Recorder;
use serve::Backend;

use crate::progress::say;
use crate::testbed::TestbedError;

/// `loadtest faulty-sink`.
#[derive(Debug, Clone, Args)]
pub struct FaultySinkArguments {
    /// Addresses to serve OTLP/gRPC on
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:4317")]
    pub listen: Vec<SocketAddr>,
    /// Address to be controlled through: PUT /fault with the fault's name, GET /report
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:4319")]
    pub control: SocketAddr,
    /// File to append to: what came, and what became of it
    #[arg(long, value_name = "FILE")]
    pub record: PathBuf,
    /// Fault to begin with: none, delay 2s, unavailable, exhausted 1s, partial 3, poison 500,
    /// refuse, reset 10, lose-answers 10
    #[arg(long, default_value = "none")]
    pub fault: Fault,
}

/// Serves until it is told to stop.
///
/// # Errors
/// When an address is in use or the record cannot be written.
pub async fn run(
    arguments: FaultySinkArguments,
    stop: CancellationToken,
) -> Result<bool, TestbedError> {
    let recorder = Recorder::open(&arguments.record)?;
    let backend = Arc::new(Backend::new(recorder, arguments.fault));
    let mut listening = Vec::new();
    for address in arguments.listen {
        listening.push(serve::listen(Arc::clone(&backend), address).await?);
    }
    // Whoever sees the control answer knows that the rest is up.
    let record = arguments.record.clone();
    let control = control::serve(arguments.control, Arc::clone(&backend), record).await?;
    say(&format!("controlled through http://{}", arguments.control));
    stop.cancelled().await;
    control.abort();
    listening.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(true)
}
