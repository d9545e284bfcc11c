//! `file`: writes requests into a file, in the forms of [`recorded`](crate::otlp::recorded).
//!
//! A request is acknowledged when it is in memory; a piece of the file is written when it is large
//! enough, and every `flush_interval`. What could not be written by the end is counted as lost.
//! Instances for several signals share the file.
//!
//! Source: contrib exporter/fileexporter.

mod config;
mod log;
mod rotation;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tracing::error;

use crate::batch::Batch;
use crate::clock;
use crate::config::Section;
use crate::consumer::{Consumer, Next, Rejected};
use crate::metric_set;
use crate::otlp::recorded::Form;
use crate::queue::{ChainSettings, Delivered, RetryConfig, Sender, chain};
use crate::service::{BuildError, Context, Losses};
use crate::telemetry::metrics::Descriptor;
use crate::telemetry::thin::Thin;
pub use config::{FileCompression, FileConfig, FileFormat, RotationConfig};
use log::{FileLog, Progress};

/// What is counted here.
pub const DESCRIPTORS: &[&[Descriptor]] = &[FileMetrics::DESCRIPTORS];

metric_set! {
    /// What the file exporter writes.
    struct FileMetrics ["exporter"];
    /// Number of bytes that were written into files.
    written_bytes: Counter = "otelcol_exporter_file_written_bytes", "By";
    /// Number of times that a file was full and another one was begun.
    rotations: Counter = "otelcol_exporter_file_rotations", "{rotation}";
    /// Number of times that a file could not be written; the data is kept and tried again.
    errors: Counter = "otelcol_exporter_file_write_errors", "{error}";
    /// Number of spans, data points and log records that were taken and could not be written before the process had to stop.
    lost_items: Counter = "otelcol_exporter_file_lost_items", "{item}";
}

/// A file with all that is shared by those who write it.
struct Shared {
    /// The exporter that writes it.
    owner: String,
    path: String,
    form: Form,
    log: Arc<Mutex<FileLog>>,
    metrics: FileMetrics,
    losses: Arc<Losses>,
    failed: Thin,
}

/// What finds the file among the things that components share.
#[derive(Clone, PartialEq)]
struct Key(String);

impl Shared {
    /// The file of an exporter, opened by the first of its instances.
    fn of(config: &FileConfig, ctx: &Context) -> Result<Arc<Self>, BuildError> {
        let owner = ctx.id.to_string();
        let shared = ctx.commons.get_or_make(&Key(config.path.clone()), || {
            let log = FileLog::open(config, clock::unix_ns())
                .map_err(|error| BuildError::new(format!("{}: {error}", config.path)))?;
            Ok::<_, BuildError>(Self {
                metrics: FileMetrics::new(&[("exporter", &owner)]),
                owner: owner.clone(),
                path: config.path.clone(),
                form: config.form(),
                log: Arc::new(Mutex::new(log)),
                losses: Arc::clone(&ctx.losses),
                failed: Thin::new(),
            })
        })?;
        if shared.owner != owner {
            let (path, other) = (&config.path, &shared.owner);
            return Err(BuildError::new(format!("{path} is written by exporter \"{other}\" too")));
        }
        Ok(shared)
    }

    /// Adds a request; writes what is there before if that is enough.
    async fn put(&self, batch: &Batch) -> Result<(), Refused> {
        let mut message = Vec::new();
        self.form.put(batch, &mut message).map_err(|error| Refused::ForGood(error.to_string()))?;
        let mut log = Arc::clone(&self.log).lock_owned().await;
        if log.is_full() {
            let (back, written) = tokio::task::spawn_blocking(move || {
                let written = log.flush(clock::unix_ns());
                (log, written)
            })
            .await
            .map_err(|_| Refused::ForNow)?;
            self.note(&written);
            if written.is_err() {
                return Err(Refused::ForNow);
            }
            log = back;
        }
        log.put(&message, batch.items());
        Ok(())
    }

    /// Writes what is there; how many items are left unwritten.
    async fn flush(&self) -> usize {
        let mut log = Arc::clone(&self.log).lock_owned().await;
        if log.items() == 0 {
            return 0;
        }
        let items = log.items();
        let flushing = tokio::task::spawn_blocking(move || {
            let written = log.flush(clock::unix_ns());
            (log.items(), written)
        });
        match flushing.await {
            Ok((left, written)) => {
                self.note(&written);
                left
            }
            Err(_) => items,
        }
    }

    fn note(&self, written: &std::io::Result<Progress>) {
        match written {
            Ok(progress) => {
                self.metrics.written_bytes.increment(progress.bytes);
                self.metrics.rotations.increment(u64::from(progress.rotated));
            }
            Err(error) => {
                self.metrics.errors.increment(1);
                if let Some(suppressed) = self.failed.pass(clock::now()) {
                    let (exporter, path) = (&self.owner, &self.path);
                    error!(exporter, path, %error, suppressed, "cannot write, will try again");
                }
            }
        }
    }

    /// Writes what is there from time to time, for as long as somebody writes the file.
    fn start_flushing(this: &Arc<Self>, interval: Duration) {
        let file: Weak<Self> = Arc::downgrade(this);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(file) = file.upgrade() else { break };
                file.flush().await;
            }
        });
    }
}

/// Why a request was not added.
enum Refused {
    ForNow,
    ForGood(String),
}

/// Hands requests to the file.
struct Writer(Arc<Shared>);

#[async_trait]
impl Sender for Writer {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        match self.0.put(&batch).await {
            Ok(()) => Ok(Delivered::default()),
            Err(Refused::ForNow) => Err(Rejected::retryable(batch, "the file cannot be written")),
            Err(Refused::ForGood(reason)) => Err(Rejected::permanent(batch, reason)),
        }
    }
}

/// The exporter for one signal.
struct FileExporter {
    chain: Next,
    file: Arc<Shared>,
}

impl FileExporter {
    fn start(config: &FileConfig, ctx: &Context) -> Result<Self, BuildError> {
        let file = Shared::of(config, ctx)?;
        // One flusher an instance is one or two too many, which finds nothing to do.
        Shared::start_flushing(&file, config.flush_interval());
        let settings = ChainSettings {
            timeout: Duration::ZERO,
            retry: RetryConfig { enabled: false, ..RetryConfig::default() },
            queue: Section::off(),
            destination: None,
        };
        let chain = chain(ctx, settings, Arc::new(Writer(Arc::clone(&file))));
        Ok(Self { chain, file })
    }
}

#[async_trait]
impl Consumer for FileExporter {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.chain.consume(batch).await
    }

    async fn shutdown(&self, deadline: Instant) {
        self.chain.shutdown(deadline).await;
        let left = self.file.flush().await;
        if left > 0 {
            let mut log = self.file.log.lock().await;
            let lost = log.give_up();
            self.file.metrics.lost_items.increment(lost as u64);
            self.file.losses.add(lost);
            let (exporter, path) = (&self.file.owner, &self.file.path);
            error!(exporter, path, lost, "items were not written before the stop and are lost");
        }
    }
}
