//! The `otlp` receiver: OTLP by gRPC and by HTTP. Source: collector receiver/otlpreceiver.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tracing::info;

use super::{Door, Intake};
use crate::config::{GrpcServerConfig, HttpServerConfig, Path, Problems, Section};
use crate::config_struct;
use crate::service::{BuildError, Context, Outputs, Receiver, ReceiverConfig};
use crate::telemetry::memory;
use crate::transport::budget::Budget;
use crate::transport::listen::{DoorMetrics, Server};
use crate::transport::{grpc, http};
use crate::wire::Signal;

config_struct! {
    /// `otlp`: takes OTLP by gRPC, by HTTP or both.
    pub struct OtlpReceiverConfig {
        /// The protocols that it speaks.
        pub protocols: ProtocolsConfig = ProtocolsConfig::default(),
    }
}

config_struct! {
    /// `otlp::protocols`: each is on when its key is there.
    pub struct ProtocolsConfig {
        /// OTLP/gRPC.
        pub grpc: Section<GrpcServerConfig> = Section::off(),
        /// OTLP/HTTP.
        pub http: Section<OtlpHttpServerConfig> = Section::off(),
    }
}

config_struct! {
    /// `otlp::protocols::http`.
    pub struct OtlpHttpServerConfig {
        /// Where traces are posted to.
        pub traces_url_path: String = "/v1/traces".to_owned(),
        /// Where metrics are posted to.
        pub metrics_url_path: String = "/v1/metrics".to_owned(),
        /// Where logs are posted to.
        pub logs_url_path: String = "/v1/logs".to_owned(),
    }
    flatten {
        /// The server.
        pub server: HttpServerConfig = HttpServerConfig::default(),
    }
}

impl OtlpHttpServerConfig {
    /// The path of a signal, with its leading slash.
    pub fn path(&self, signal: Signal) -> String {
        let path = match signal {
            Signal::Traces => &self.traces_url_path,
            Signal::Metrics => &self.metrics_url_path,
            Signal::Logs => &self.logs_url_path,
        };
        match path.starts_with('/') {
            true => path.clone(),
            false => format!("/{path}"),
        }
    }
}

#[async_trait]
impl ReceiverConfig for OtlpReceiverConfig {
    const TYPE: &'static str = "otlp";
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let protocols = at.key("protocols");
        if !self.protocols.grpc.is_on() && !self.protocols.http.is_on() {
            problems.report(at, "must specify at least one protocol when using the OTLP receiver");
        }
        if let Some(grpc) = self.protocols.grpc.as_ref() {
            grpc.validate(&protocols.key("grpc"), problems);
        }
        if let Some(http) = self.protocols.http.as_ref() {
            http.server.validate_with_auth(&protocols.key("http"), problems);
        }
    }

    async fn start(
        &self,
        ctx: &Context,
        outputs: Outputs,
    ) -> Result<Box<dyn Receiver>, BuildError> {
        let receiver = ctx.id.to_string();
        let metrics = |transport| DoorMetrics::new(&receiver, transport);
        // One for all receivers of the process.
        let limit = memory::limit();
        let make = || Ok::<_, Infallible>(Budget::of_process());
        let Ok(budget) = ctx.commons.get_or_make(&BudgetOf(limit), make);
        let mut servers = Vec::new();
        if let Some(config) = self.protocols.grpc.as_ref() {
            let door = Door::new(&config.auth, config.include_metadata, &ctx.commons)?;
            let intake = Intake::new(&ctx.id, "grpc", &outputs).behind(door);
            let server =
                grpc::server::serve(config, intake, Arc::clone(&budget), metrics("grpc")).await?;
            info!(receiver, endpoint = server.endpoint(), "gRPC server listens");
            servers.push(server);
        }
        if let Some(config) = self.protocols.http.as_ref() {
            let settings = &config.server;
            let door = Door::new(&settings.auth, settings.include_metadata, &ctx.commons)?;
            let intake = Intake::new(&ctx.id, "http", &outputs).behind(door);
            let server =
                http::server::serve(config, intake, Arc::clone(&budget), metrics("http")).await?;
            info!(receiver, endpoint = server.endpoint(), "HTTP server listens");
            servers.push(server);
        }
        Ok(Box::new(OtlpReceiver { servers }))
    }
}

/// What a budget is found by: the memory limit that it is a part of.
#[derive(Debug, Clone, PartialEq)]
struct BudgetOf(u64);

struct OtlpReceiver {
    servers: Vec<Server>,
}

#[async_trait]
impl Receiver for OtlpReceiver {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().filter_map(Server::address).collect()
    }

    async fn shutdown(self: Box<Self>, deadline: Instant) {
        // All stop taking at once; the last answers may take until the deadline.
        for server in &self.servers {
            server.stop();
        }
        for server in self.servers {
            server.shutdown(deadline).await;
        }
    }
}
