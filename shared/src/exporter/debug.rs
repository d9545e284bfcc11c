//! `debug`: writes what comes, for people who look into a pipeline.
//!
//! One record a request with its counts; `normal` adds a line for each item, `detailed` all that
//! is in it. Source: collector exporter/debugexporter.

mod dump;
mod sampler;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tracing::info;

use crate::batch::Batch;
use crate::clock;
use crate::config::{Path, Problems, Section};
use crate::consumer::{Next, Rejected};
use crate::queue::{ChainSettings, Delivered, QueueConfig, RetryConfig, Sender, chain};
use crate::service::{BuildError, Context, ExporterConfig};
use crate::wire::{Metric, ResourceEntry, ScopeEntry, Signal, resources};
use crate::{config_enum, config_struct};
use sampler::Sampler;

config_enum! {
    /// How much is written.
    pub enum Verbosity {
        /// A line for each request.
        Basic = "basic" | "Basic",
        /// And a line for each item.
        Normal = "normal" | "Normal",
        /// And all that is in it.
        Detailed = "detailed" | "Detailed",
    }
}

config_struct! {
    /// `debug`.
    pub struct DebugConfig {
        /// How much is written.
        pub verbosity: Verbosity = Verbosity::Basic,
        /// How many requests a second are written in any case.
        pub sampling_initial: u32 = 2,
        /// Of the further ones in that second, each how-manieth is written; 0 is none.
        pub sampling_thereafter: u32 = 1,
        /// Whether it goes to the process's own logs; else to standard output.
        pub use_internal_logger: bool = true,
        /// Where it goes when it does not go to the logs: `stdout` or `stderr`.
        pub output_paths: Vec<String> = Vec::new(),
        /// What waits to be written.
        pub sending_queue: Section<QueueConfig> = Section::off(),
    }
}

impl ExporterConfig for DebugConfig {
    const TYPE: &'static str = "debug";
    const ALIASES: &'static [&'static str] = &["logging"];
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let paths = at.key("output_paths");
        if self.use_internal_logger && !self.output_paths.is_empty() {
            problems
                .report(&paths, "output_paths is not supported when use_internal_logger is true");
        }
        for (index, path) in self.output_paths.iter().enumerate() {
            if !matches!(path.as_str(), "stdout" | "stderr") {
                problems.report(&paths.index(index), "only stdout and stderr are supported");
            }
        }
        if let Some(queue) = self.sending_queue.as_ref() {
            queue.validate(&at.key("sending_queue"), problems);
        }
    }

    fn build(&self, ctx: &Context) -> Result<Next, BuildError> {
        let printer = Printer {
            exporter: ctx.id.to_string(),
            verbosity: self.verbosity,
            output: self.output(),
            sampler: Mutex::new(Sampler::new(self.sampling_initial, self.sampling_thereafter)),
        };
        let settings = ChainSettings {
            timeout: Duration::ZERO,
            retry: RetryConfig { enabled: false, ..RetryConfig::default() },
            queue: self.sending_queue.clone(),
            destination: None,
        };
        Ok(chain(ctx, settings, Arc::new(printer)))
    }
}

impl DebugConfig {
    fn output(&self) -> Output {
        match (self.use_internal_logger, self.output_paths.iter().any(|path| path == "stderr")) {
            (true, _) => Output::Logs,
            (false, true) => Output::Stderr,
            (false, false) => Output::Stdout,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Logs,
    Stdout,
    Stderr,
}

/// Writes requests.
struct Printer {
    exporter: String,
    verbosity: Verbosity,
    output: Output,
    sampler: Mutex<Sampler>,
}

#[async_trait]
impl Sender for Printer {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        let now = clock::now();
        if self.sampler.lock().unwrap_or_else(PoisonError::into_inner).pass(now) {
            self.print(&batch);
        }
        Ok(Delivered::default())
    }
}

impl Printer {
    fn print(&self, batch: &Batch) {
        let counts = Counts::of(batch);
        if self.output == Output::Logs {
            let exporter = self.exporter.as_str();
            let Counts { resources, metrics, items } = counts;
            match batch.signal() {
                Signal::Traces => {
                    info!(exporter, resource_spans = resources, spans = items, "traces");
                }
                Signal::Metrics => info!(
                    exporter,
                    resource_metrics = resources,
                    metrics,
                    data_points = items,
                    "metrics"
                ),
                Signal::Logs => {
                    info!(exporter, resource_logs = resources, log_records = items, "logs");
                }
            }
        }
        let dump = match self.verbosity {
            Verbosity::Basic => String::new(),
            Verbosity::Normal => dump::lines(batch),
            Verbosity::Detailed => dump::everything(batch),
        };
        match self.output {
            Output::Logs if dump.is_empty() => {}
            Output::Logs => info!(exporter = self.exporter, "{dump}"),
            Output::Stdout => self.write(&mut std::io::stdout().lock(), batch, counts, &dump),
            Output::Stderr => self.write(&mut std::io::stderr().lock(), batch, counts, &dump),
        }
    }

    fn write(&self, output: &mut dyn Write, batch: &Batch, counts: Counts, dump: &str) {
        let Counts { resources, items, .. } = counts;
        let (exporter, signal) = (&self.exporter, batch.signal());
        // Nobody may be reading; the data was seen by whoever wanted to.
        let head = writeln!(output, "{exporter}: {signal}: {resources} resources, {items} items");
        drop(head.and_then(|()| output.write_all(dump.as_bytes())));
    }
}

/// What a request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    resources: usize,
    /// Records; of metrics those with a name, not their points.
    metrics: usize,
    items: usize,
}

impl Counts {
    fn of(batch: &Batch) -> Self {
        let entries = || resources(batch.bytes());
        Self {
            resources: entries().count(),
            metrics: match batch.signal() {
                Signal::Metrics => entries()
                    .flat_map(ResourceEntry::scopes)
                    .flat_map(ScopeEntry::records)
                    .map(Metric::read)
                    .count(),
                Signal::Traces | Signal::Logs => 0,
            },
            items: batch.items(),
        }
    }
}

#[cfg(test)]
mod tests;
