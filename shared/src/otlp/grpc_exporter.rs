//! The `otlp_grpc` exporter. Source: collector exporter/otlpexporter.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Compression, GrpcClientConfig, Path, Problems, Section, Target};
use crate::config_struct;
use crate::consumer::Next;
use crate::queue::{ChainSettings, QueueConfig, RetryConfig, chain};
use crate::service::{BuildError, Commons, Context, ExporterConfig};
use crate::transport::grpc::client::GrpcClient;
use crate::wire::Signal;

config_struct! {
    /// `otlp_grpc`: sends by OTLP/gRPC.
    #[derive(PartialEq)]
    pub struct OtlpGrpcConfig {
        /// Time for one attempt; 0 is no limit.
        pub timeout: Duration = Duration::from_secs(5),
        /// Whether and how a batch is tried again.
        pub retry_on_failure: RetryConfig = RetryConfig::default(),
        /// What waits for the destination.
        pub sending_queue: Section<QueueConfig> = Section::on(QueueConfig::default()),
    }
    flatten {
        /// The client.
        pub client: GrpcClientConfig = GrpcClientConfig {
            compression: Compression::Gzip,
            write_buffer_size: 512 * 1024,
            ..GrpcClientConfig::default()
        },
    }
}

impl OtlpGrpcConfig {
    /// A client of `endpoint`, whatever the settings say of it, that has its requests signed by
    /// an extension in `commons` if the settings name one. Connects when it is first used.
    ///
    /// # Errors
    /// When the endpoint cannot be read, a TLS file is unusable, or the extension is not there.
    pub fn client(&self, endpoint: &str, commons: &Commons) -> Result<GrpcClient, BuildError> {
        GrpcClient::new(&self.client, endpoint, commons)
    }
}

impl ExporterConfig for OtlpGrpcConfig {
    const TYPE: &'static str = "otlp_grpc";
    const ALIASES: &'static [&'static str] = &["otlp"];
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.client.endpoint.is_empty() {
            problems.report(at, "requires a non-empty \"endpoint\"");
        }
        self.client.validate(at, problems);
    }

    fn build(&self, ctx: &Context) -> Result<Next, BuildError> {
        let target = Target::parse(&self.client.endpoint).map_err(BuildError::new)?;
        let destination = match target {
            Target::Tcp(endpoint) => Some((endpoint.host, endpoint.port)),
            Target::Unix(_) => None,
        };
        let settings = ChainSettings {
            timeout: self.timeout,
            retry: self.retry_on_failure.clone(),
            queue: self.sending_queue.clone(),
            destination,
        };
        Ok(chain(ctx, settings, Arc::new(self.client(&self.client.endpoint, &ctx.commons)?)))
    }
}
