//! `exporters::prometheus_remote_write`, with the Collector's keys.
//!
//! Source: contrib exporter/prometheusremotewriteexporter/config.go, factory.go.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Uri;
use shared::config::{Compression, HttpClientConfig, Path, Problems, Section};
use shared::queue::RetryConfig;
use shared::{config_enum, config_struct};

use super::wal::WalConfig;
use crate::prometheus::names::{Charset, TranslationStrategy};
use crate::prometheus::resource_attributes::{ResourceConversionConfig, ResourceLabelsConfig};

/// What the Collector has for an endpoint when none is configured.
const PLACEHOLDER: &str = "http://some.url:9411/api/prom/push";

/// Headers that are the protocol's.
pub(super) const PROTOCOL_HEADERS: [&str; 4] =
    ["content-encoding", "content-type", "user-agent", "x-prometheus-remote-write-version"];

/// The size of a request when 0 is configured, in bytes.
const BATCH_SIZE: usize = 3_000_000;

config_struct! {
    /// `prometheus_remote_write`.
    pub struct RemoteWriteConfig {
        /// In front of every metric's name.
        pub namespace: String = String::new(),
        /// Labels of every series that has none of that name.
        pub external_labels: BTreeMap<String, String> = BTreeMap::new(),
        /// Time for one attempt; 0 is no limit. In the Collector, for all attempts together.
        pub timeout: Duration = Duration::from_secs(5),
        /// Whether and how a request is tried again.
        pub retry_on_failure: RemoteWriteRetryConfig = RemoteWriteRetryConfig::default(),
        /// What waits for the receiver.
        pub remote_write_queue: RemoteWriteQueueConfig = RemoteWriteQueueConfig::default(),
        /// Largest request, uncompressed; 0 is the default. A data point that is larger by itself
        /// is sent alone.
        pub max_batch_size_bytes: usize = BATCH_SIZE,
        /// How many requests are under way at a time; instead of
        /// `remote_write_queue::num_consumers`.
        pub max_batch_request_parallelism: Option<usize> = None,
        /// Copies resource attributes to labels.
        pub resource_to_telemetry_conversion: ResourceConversionConfig =
            ResourceConversionConfig::default(),
        /// Which resource attributes become labels; takes the place of
        /// `resource_to_telemetry_conversion`.
        pub resource_constant_labels: ResourceLabelsConfig = ResourceLabelsConfig::default(),
        /// The series `target_info`.
        pub target_info: TargetInfoConfig = TargetInfoConfig::default(),
        /// Leaves out the labels `otel_scope_*`.
        pub disable_scope_info: bool = false,
        /// Whether units and types become part of names. Superseded by `translation_strategy`.
        pub add_metric_suffixes: bool = true,
        /// How names are made; wins over `add_metric_suffixes`.
        pub translation_strategy: Option<TranslationStrategy> = None,
        /// Whether Remote-Write 1.0 sends types, units and descriptions; 2.0 always does.
        pub send_metadata: bool = false,
        /// Which version of the protocol is spoken.
        pub protobuf_message: Message = Message::V1,
        /// Headers of the senders' requests that go on to the receiver.
        pub include_metadata_keys: Vec<String> = Vec::new(),
        /// Sends histograms as native ones with their own bounds.
        pub convert_explicit_histograms_to_nhcb: bool = false,
        /// Sends them the classic way too.
        pub keep_classic_histograms: bool = false,
        /// Keeps on disk what the receiver has not taken.
        pub wal: Section<WalConfig> = Section::none(),
        /// The HTTP client, in a block of its own.
        pub http: Section<HttpBlockConfig> = Section::none(),
    }
    flatten {
        /// The HTTP client, unless there is `http`.
        pub client: HttpClientConfig = HttpClientConfig {
            write_buffer_size: 512 * 1024,
            ..HttpClientConfig::default()
        },
    }
}

config_struct! {
    /// `http`.
    pub struct HttpBlockConfig {
        /// Time for one attempt, instead of the one outside.
        pub timeout: Option<Duration> = None,
    }
    flatten {
        /// The client.
        pub client: HttpClientConfig = HttpClientConfig {
            write_buffer_size: 512 * 1024,
            ..HttpClientConfig::default()
        },
    }
}

config_struct! {
    /// `remote_write_queue`.
    pub struct RemoteWriteQueueConfig {
        /// Whether there is a queue; else whoever sends waits for the outcome.
        pub enabled: bool = true,
        /// Room, in requests of OTLP.
        pub queue_size: usize = 10_000,
        /// How many requests are under way at a time. Each series has its place in one of so many
        /// rows, so its samples stay in order.
        pub num_consumers: usize = 5,
    }
}

config_struct! {
    /// `retry_on_failure`: as elsewhere, but quicker at first.
    pub struct RemoteWriteRetryConfig {
        /// Whether to try again at all.
        pub enabled: bool = true,
        /// Wait before the second attempt.
        pub initial_interval: Duration = Duration::from_millis(50),
        /// Each wait is spread by this factor to both sides.
        pub randomization_factor: f64 = 0.5,
        /// Each wait is this many times the one before.
        pub multiplier: f64 = 1.5,
        /// The longest wait, before it is spread.
        pub max_interval: Duration = Duration::from_secs(30),
        /// Gives up after this time; 0 never does.
        pub max_elapsed_time: Duration = Duration::from_secs(300),
    }
}

config_struct! {
    /// `target_info`.
    pub struct TargetInfoConfig {
        /// Whether it is sent.
        pub enabled: bool = true,
    }
}

config_enum! {
    /// `protobuf_message`.
    pub enum Message {
        /// Of Remote-Write 1.0.
        V1 = "prometheus.WriteRequest",
        /// Of Remote-Write 2.0.
        V2 = "io.prometheus.write.v2.Request",
    }
}

impl RemoteWriteConfig {
    /// The client that is in force.
    pub(super) fn client(&self) -> &HttpClientConfig {
        self.http.as_ref().map_or(&self.client, |http| &http.client)
    }

    /// Time for one attempt.
    pub(super) fn timeout(&self) -> Duration {
        self.http.as_ref().and_then(|http| http.timeout).unwrap_or(self.timeout)
    }

    pub(super) fn max_batch_size(&self) -> usize {
        match self.max_batch_size_bytes {
            0 => BATCH_SIZE,
            size => size,
        }
    }

    /// How many requests are under way at a time.
    pub(super) fn parallelism(&self) -> usize {
        self.max_batch_request_parallelism.unwrap_or(self.remote_write_queue.num_consumers).max(1)
    }

    pub(super) fn strategy(&self) -> TranslationStrategy {
        match (self.translation_strategy, self.add_metric_suffixes) {
            (Some(strategy), _) => strategy,
            (None, true) => TranslationStrategy::UnderscoreEscapingWithSuffixes,
            (None, false) => TranslationStrategy::UnderscoreEscapingWithoutSuffixes,
        }
    }

    pub(super) fn retry(&self) -> RetryConfig {
        let of = &self.retry_on_failure;
        RetryConfig {
            enabled: of.enabled,
            initial_interval: of.initial_interval,
            randomization_factor: of.randomization_factor,
            multiplier: of.multiplier,
            max_interval: of.max_interval,
            max_elapsed_time: of.max_elapsed_time,
        }
    }

    /// Reports everything that is wrong.
    pub(super) fn check(&self, at: &Path<'_>, problems: &mut Problems) {
        self.check_client(at, problems);
        self.retry().validate(&at.key("retry_on_failure"), problems);
        self.check_queue(at, problems);
        self.check_names(at, problems);
        if let Some(wal) = self.wal.as_ref() {
            wal.check(&at.key("wal"), problems);
            if !self.include_metadata_keys.is_empty() {
                let key = at.key("include_metadata_keys");
                problems.report(&key, "headers are not kept in the write-ahead log: remove wal");
            }
        }
        for (index, name) in self.include_metadata_keys.iter().enumerate() {
            if PROTOCOL_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                let text = format!(
                    "include_metadata_keys entry {name:?} collides with a reserved remote write header"
                );
                problems.report(&at.key("include_metadata_keys").index(index), text);
            }
        }
        if self.keep_classic_histograms && !self.convert_explicit_histograms_to_nhcb {
            let text = "has no effect without convert_explicit_histograms_to_nhcb";
            problems.warn(&at.key("keep_classic_histograms"), text);
        }
        if self.send_metadata && self.protobuf_message == Message::V2 {
            let text = "has no effect: Remote-Write 2.0 always sends metadata";
            problems.warn(&at.key("send_metadata"), text);
        }
    }

    fn check_client(&self, at: &Path<'_>, problems: &mut Problems) {
        let block = at.key("http");
        let at = match self.http.is_on() {
            true => &block,
            false => at,
        };
        if self.http.is_on() {
            self.check_no_top_level(at, problems);
        }
        let client = self.client();
        client.validate(at, problems);
        let endpoint = at.key("endpoint");
        match client.endpoint.as_str() {
            "" => problems.report(
                &endpoint,
                "must be the receiver's URL, such as https://prometheus:9090/api/v1/write",
            ),
            PLACEHOLDER => {
                problems.report(&endpoint, "is the Collector's placeholder, not a receiver");
            }
            url => {
                let uri = url.parse::<Uri>().ok();
                let authority = uri.as_ref().and_then(Uri::authority);
                if authority.is_some_and(|authority| authority.as_str().contains('@')) {
                    problems.report(
                        &endpoint,
                        "credentials in the URL are not sent: use the extension basicauth",
                    );
                }
            }
        }
        if !matches!(client.compression, Compression::None | Compression::Snappy) {
            problems.report(&at.key("compression"), "compression type must be snappy");
        }
        for name in PROTOCOL_HEADERS {
            if client.headers.iter().any(|(given, _)| given.as_str() == name) {
                problems.warn(
                    &at.key("headers"),
                    format!("{name} is set by the protocol, and not to what is given here"),
                );
            }
        }
    }

    /// Keys of the client beside `http` would be passed over.
    fn check_no_top_level(&self, at: &Path<'_>, problems: &mut Problems) {
        let (given, default) = (&self.client, HttpClientConfig::default());
        for (key, is_set) in [
            ("endpoint", !given.endpoint.is_empty()),
            ("tls", given.tls != default.tls),
            ("headers", given.headers != default.headers),
            ("auth", given.auth.is_on()),
            ("proxy_url", given.proxy_url != default.proxy_url),
        ] {
            if is_set {
                let text = format!("{key} also stands outside of http, where it is not read");
                problems.report(&at.key(key), text);
            }
        }
    }

    fn check_queue(&self, at: &Path<'_>, problems: &mut Problems) {
        let queue = &self.remote_write_queue;
        if queue.enabled && queue.queue_size == 0 {
            problems.report(
                &at.key("remote_write_queue").key("queue_size"),
                "a 0 size queue will drop all the data",
            );
        }
        if !queue.enabled && self.wal.is_on() {
            let text = "has no effect with wal, which takes the queue's place";
            problems.warn(&at.key("remote_write_queue").key("enabled"), text);
        }
        if self.max_batch_request_parallelism == Some(0) {
            problems.report(
                &at.key("max_batch_request_parallelism"),
                "max_batch_request_parallelism can't be set to below 1",
            );
        }
    }

    fn check_names(&self, at: &Path<'_>, problems: &mut Problems) {
        let strategy = self.strategy();
        if strategy.charset() == Charset::Utf8 && self.protobuf_message == Message::V1 {
            problems.report(
                &at.key("translation_strategy"),
                format!(
                    "translation strategy {} requires Prometheus Remote Write 2.0 (UTF-8 support)",
                    strategy.name()
                ),
            );
        }
        if !self.add_metric_suffixes {
            problems.warn(
                &at.key("add_metric_suffixes"),
                "is deprecated: set translation_strategy: UnderscoreEscapingWithoutSuffixes",
            );
        }
        if self.resource_to_telemetry_conversion.enabled && self.resource_constant_labels.is_set() {
            problems.report(
                &at.key("resource_constant_labels"),
                "cannot configure both resource_to_telemetry_conversion and resource_constant_labels",
            );
        }
        for (name, value) in &self.external_labels {
            if name.is_empty() || value.is_empty() {
                problems.report(
                    &at.key("external_labels"),
                    "external labels configuration contains an empty key or value",
                );
            }
        }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
