//! `prometheus_remote_write`: an exporter that pushes samples to a Prometheus or to what speaks
//! like one.
//!
//! ```text
//! batch ─▶ queue or write-ahead log ─▶ feed ─▶ rows ─▶ receiver
//!                                   translates   one request under way in each
//! ```
//!
//! Pure: [`translate`], [`points`], [`native`], [`labels`], [`encode`]. The rest are the shells
//! around them.
//!
//! Source: contrib exporter/prometheusremotewriteexporter; the specifications of Prometheus
//! Remote-Write 1.0 and 2.0.

mod client;
mod config;
mod encode;
mod exporter;
mod feed;
mod labels;
mod metrics;
mod native;
mod points;
mod reason;
mod request;
mod row;
mod series;
#[cfg(test)]
mod tests;
mod ticket;
mod translate;
mod wal;

use std::sync::Arc;

use shared::config::{Path, Problems};
use shared::service::{BuildError, Context, ExporterConfig};
use shared::{Next, Signal};

pub(crate) use self::config::RemoteWriteConfig;
use self::exporter::RemoteWriteExporter;
pub(crate) use self::metrics::DESCRIPTORS;

impl ExporterConfig for RemoteWriteConfig {
    const TYPE: &'static str = "prometheus_remote_write";
    const ALIASES: &'static [&'static str] = &["prometheusremotewrite"];
    const SIGNALS: &'static [Signal] = &[Signal::Metrics];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.check(at, problems);
    }

    fn build(&self, ctx: &Context) -> Result<Next, BuildError> {
        Ok(Arc::new(RemoteWriteExporter::start(self, ctx)?))
    }
}
