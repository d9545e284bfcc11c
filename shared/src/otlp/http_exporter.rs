//! The `otlp_http` exporter. Source: collector exporter/otlphttpexporter.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::Encoding;
use crate::config::{Compression, HttpClientConfig, Path, Problems, Section, validate_url};
use crate::config_struct;
use crate::consumer::Next;
use crate::queue::{ChainSettings, QueueConfig, RetryConfig, chain};
use crate::service::{BuildError, Context, ExporterConfig};
use crate::transport::http::client::HttpClient;
use crate::wire::Signal;

config_struct! {
    /// `otlp_http`: sends by OTLP/HTTP.
    pub struct OtlpHttpConfig {
        /// URL for traces, taken as it is, instead of `endpoint` and `/v1/traces`.
        pub traces_endpoint: String = String::new(),
        /// URL for metrics.
        pub metrics_endpoint: String = String::new(),
        /// URL for logs.
        pub logs_endpoint: String = String::new(),
        /// How messages are encoded.
        pub encoding: Encoding = Encoding::Protobuf,
        /// Time for one attempt; 0 is no limit.
        pub timeout: Duration = Duration::from_secs(30),
        /// Whether and how a batch is tried again.
        pub retry_on_failure: RetryConfig = RetryConfig::default(),
        /// What waits for the destination.
        pub sending_queue: Section<QueueConfig> = Section::on(QueueConfig::default()),
    }
    flatten {
        /// The client.
        pub client: HttpClientConfig = HttpClientConfig {
            compression: Compression::Gzip,
            write_buffer_size: 512 * 1024,
            ..HttpClientConfig::default()
        },
    }
}

impl OtlpHttpConfig {
    fn own_url(&self, signal: Signal) -> &str {
        match signal {
            Signal::Traces => &self.traces_endpoint,
            Signal::Metrics => &self.metrics_endpoint,
            Signal::Logs => &self.logs_endpoint,
        }
    }

    /// Where a signal is posted to.
    fn url(&self, signal: Signal) -> Result<String, BuildError> {
        match (self.own_url(signal), self.client.endpoint.trim_end_matches('/')) {
            ("", "") => Err(BuildError::new(format!(
                "either endpoint or {signal}_endpoint must be specified"
            ))),
            ("", base) => Ok(format!("{base}/v1/{signal}")),
            (url, _) => Ok(url.to_owned()),
        }
    }
}

impl ExporterConfig for OtlpHttpConfig {
    const TYPE: &'static str = "otlp_http";
    const ALIASES: &'static [&'static str] = &["otlphttp"];
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.client.validate(at, problems);
        for signal in Signal::ALL {
            let key = format!("{signal}_endpoint");
            validate_url(self.own_url(signal), &at.key(&key), problems);
        }
        if Signal::ALL.into_iter().all(|signal| self.url(signal).is_err()) {
            problems.report(at, "at least one endpoint must be specified");
        }
    }

    fn build(&self, ctx: &Context) -> Result<Next, BuildError> {
        let url = self.url(ctx.signal)?;
        let client = HttpClient::new(&self.client, &url, self.encoding, &ctx.commons)?;
        let settings = ChainSettings {
            timeout: self.timeout,
            retry: self.retry_on_failure.clone(),
            queue: self.sending_queue.clone(),
            destination: destination(&url),
        };
        Ok(chain(ctx, settings, Arc::new(client)))
    }
}

/// Host and port of a URL, as labels.
fn destination(url: &str) -> Option<(String, u16)> {
    let url: Uri = url.parse().ok()?;
    let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
    Some((url.host()?.to_owned(), url.port_u16().unwrap_or(default)))
}
