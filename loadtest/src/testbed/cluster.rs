//! Edges, backends, the DNS server between them and the sink behind them.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::time::Duration;

use shared::config::{ClientTlsConfig, Compression, GrpcClientConfig};
use shared::queue::Sender;
use shared::service::Commons;
use shared::transport::grpc::client::GrpcClient;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::binaries::Binaries;
use super::dns::{Answer, DnsServer};
use super::page::Page;
use super::process::{GRPC, Launch, Process, SPAN_METRICS, Tier};
use super::{TestbedError, address};
use crate::ledger::Detail;
use crate::sink::Sink;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Addresses of the edges.
    pub edges: Vec<Ipv4Addr>,
    /// Addresses of the backends.
    pub backends: Vec<Ipv4Addr>,
    /// Address of the DNS server, on a free port.
    pub dns: Ipv4Addr,
    /// Address of the sink, on OTLP's port.
    pub sink: Ipv4Addr,
    /// How long the backends keep a trace before they judge it.
    pub decision_wait: Duration,
    /// Configuration of the edges, below `deploy/config`.
    pub edge_config: &'static str,
    /// Configuration of the backends, below `deploy/config`.
    pub backend_config: &'static str,
    /// Settings of the edges on top of the sample's.
    pub edge_settings: Vec<String>,
    /// Settings of the backends on top of the sample's.
    pub backend_settings: Vec<String>,
}

impl Shape {
    /// So many edges and backends on addresses that nobody else has.
    pub fn unique(edges: usize, backends: usize) -> Self {
        Self {
            edges: (0..edges).map(|_| address::unique()).collect(),
            backends: (0..backends).map(|_| address::unique()).collect(),
            dns: address::unique(),
            sink: address::unique(),
            decision_wait: Duration::from_secs(1),
            edge_config: "edge.yaml",
            backend_config: "backend.yaml",
            edge_settings: Vec::new(),
            backend_settings: Vec::new(),
        }
    }
}

/// The name that the DNS server knows.
const BACKENDS: &str = "backend.tailrace.test";

/// Both tiers, running.
pub struct Cluster {
    /// The edges.
    pub edges: Vec<Process>,
    /// The backends.
    pub backends: Vec<Process>,
    /// Says where the backends are.
    pub dns: DnsServer,
    /// Gets the sampled traces.
    pub sink: Sink,
    shape: Shape,
    binaries: Binaries,
    logs: TempDir,
}

impl Cluster {
    /// Starts everything, and waits until every edge knows every backend.
    ///
    /// # Errors
    /// When a part cannot start; the others are stopped.
    pub async fn start(shape: Shape, binaries: Binaries) -> Result<Self, TestbedError> {
        let logs = tempfile::tempdir()
            .map_err(|error| TestbedError::new(format!("no directory for logs: {error}")))?;
        let sink_address = SocketAddr::from((shape.sink, GRPC));
        address::ensure_free(sink_address)?;
        let sink = Sink::start(sink_address, Detail::Traces).await?;
        let addresses = shape.backends.iter().map(|host| (*host).into()).collect();
        let dns = DnsServer::start(shape.dns, BACKENDS, addresses).await?;
        let mut cluster =
            Self { edges: Vec::new(), backends: Vec::new(), dns, sink, shape, binaries, logs };
        for index in 0..cluster.shape.backends.len() {
            cluster.start_backend(index).await?;
        }
        for index in 0..cluster.shape.edges.len() {
            cluster.start_edge(index).await?;
        }
        let backends = cluster.backends.len() as u64;
        cluster.wait_for_backends(backends).await?;
        Ok(cluster)
    }

    /// Starts the backend with this place in the shape.
    ///
    /// # Errors
    /// When it does not become healthy.
    pub async fn start_backend(&mut self, index: usize) -> Result<(), TestbedError> {
        let wait = format!("{}ms", self.shape.decision_wait.as_millis());
        let mut launch = Launch::sample(Tier::Backend, index, self.shape.backends[index])
            .config(self.shape.backend_config)
            .env("TAILRACE_DESTINATION", self.sink.address().to_string())
            .env("TAILRACE_FLUSH_INTERVAL", "1s")
            .env("TAILRACE_DECISION_WAIT", wait);
        for setting in &self.shape.backend_settings {
            launch = launch.set(setting);
        }
        self.backends.push(launch.start(&self.binaries, self.logs.path()).await?);
        Ok(())
    }

    /// Starts the edge with this place in the shape.
    ///
    /// # Errors
    /// When it does not become healthy.
    pub async fn start_edge(&mut self, index: usize) -> Result<(), TestbedError> {
        let mut launch = Launch::sample(Tier::Edge, index, self.shape.edges[index])
            .config(self.shape.edge_config)
            .env("TAILRACE_FLUSH_INTERVAL", "1s")
            .env("TAILRACE_BACKEND", BACKENDS)
            .env("TAILRACE_NAMESERVERS", format!("[\"{}\"]", self.dns.address()));
        for setting in &self.shape.edge_settings {
            launch = launch.set(setting);
        }
        self.edges.push(launch.start(&self.binaries, self.logs.path()).await?);
        Ok(())
    }

    /// Changes the DNS answer to these backends.
    pub fn announce(&self, backends: &[Ipv4Addr]) {
        self.dns.set(Answer::Addresses(backends.iter().map(|host| (*host).into()).collect()));
    }

    /// Waits until every edge's ring has this many backends.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn wait_for_backends(&self, count: u64) -> Result<(), TestbedError> {
        for edge in &self.edges {
            let what = format!("{} sees {count} backends", edge.name());
            until(&what, async || {
                let page = edge.telemetry().await?;
                Ok(page.sum("otelcol_loadbalancer_num_backends") == count)
            })
            .await?;
        }
        Ok(())
    }

    /// A client of each edge.
    ///
    /// # Errors
    /// When an address is none.
    pub fn clients(&self) -> Result<Vec<Arc<dyn Sender>>, TestbedError> {
        self.edges.iter().map(|edge| client(edge.at(GRPC), Compression::None)).collect()
    }

    /// The metrics pages of a tier, all series in one.
    ///
    /// # Errors
    /// When a process does not answer.
    pub async fn telemetry(&self, tier: Tier) -> Result<Page, TestbedError> {
        let mut all = Page::default();
        for process in self.of(tier) {
            all.append(process.telemetry().await?);
        }
        Ok(all)
    }

    /// The backends' span metrics, all series in one.
    ///
    /// # Errors
    /// When a backend does not answer.
    pub async fn span_metrics(&self) -> Result<Page, TestbedError> {
        let mut all = Page::default();
        for backend in &self.backends {
            all.append(Page::fetch(backend.at(SPAN_METRICS)).await?);
        }
        Ok(all)
    }

    /// The processes of a tier.
    pub fn of(&self, tier: Tier) -> &[Process] {
        match tier {
            Tier::Edge => &self.edges,
            Tier::Backend => &self.backends,
        }
    }

    /// Stops in the order of the data's way; names and exit statuses.
    ///
    /// # Errors
    /// When a process has ended on its own or does not end.
    pub async fn stop(self) -> Result<Vec<(String, ExitStatus)>, TestbedError> {
        let mut statuses = Vec::new();
        for tier in [self.edges, self.backends] {
            for process in &tier {
                process.terminate()?;
            }
            for process in tier {
                let name = process.name().to_owned();
                statuses.push((name, process.wait(Duration::from_secs(60)).await?));
            }
        }
        self.sink.stop().await;
        Ok(statuses)
    }
}

/// A client of one endpoint, without TLS.
///
/// # Errors
/// When the endpoint is none.
pub fn client(
    endpoint: impl std::fmt::Display,
    compression: Compression,
) -> Result<Arc<dyn Sender>, TestbedError> {
    let tls = ClientTlsConfig { insecure: true, ..ClientTlsConfig::default() };
    let config = GrpcClientConfig { tls, compression, ..GrpcClientConfig::default() };
    let client = GrpcClient::new(&config, &endpoint.to_string(), &Commons::default())
        .map_err(|error| TestbedError::new(error.to_string()))?;
    Ok(Arc::new(client))
}

/// Asks again and again until `condition` holds.
///
/// # Errors
/// When it does not hold within a minute, with what was waited for and the last error.
pub async fn until(
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<bool, TestbedError>,
) -> Result<(), TestbedError> {
    let started = Instant::now();
    loop {
        let last = condition().await;
        if matches!(last, Ok(true)) {
            return Ok(());
        }
        if started.elapsed() > Duration::from_secs(60) {
            let why = last.err().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(TestbedError::new(format!("waited in vain until {what}{why}")));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
