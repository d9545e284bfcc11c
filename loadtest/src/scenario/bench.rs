//! Edges, misbehaving backends and the DNS server between them.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shared::config::Compression;
use shared::queue::Sender;
use tempfile::TempDir;

use super::script::{BACKENDS, Scenario};
use super::{Mode, Options};
use crate::faulty::process::FaultySink;
use crate::testbed::cluster::{client, until};
use crate::testbed::dns::{Answer, DnsServer};
use crate::testbed::page::Page;
use crate::testbed::process::{GRPC, Launch, Process, Tier};
use crate::testbed::{TestbedError, address};

/// Settings of the edges' queue: room for what one of five backends gets in some minutes.
const QUEUE: &str = "exporters::loadbalancing::sending_queue=\
                     {enabled: true, sizer: bytes, queue_size: 67108864}";

/// Everything of a scenario, running.
pub(super) struct Bench {
    pub(super) edges: Vec<Process>,
    pub(super) sinks: Vec<FaultySink>,
    pub(super) dns: DnsServer,
    pub(super) dns_interval: Duration,
    files: TempDir,
}

impl Bench {
    /// Starts everything, and waits until every edge knows the first backends.
    pub(super) async fn start(
        scenario: Scenario,
        mode: Mode,
        options: &Options,
    ) -> Result<Self, TestbedError> {
        let files = tempfile::tempdir()
            .map_err(|error| TestbedError::new(format!("no directory for records: {error}")))?;
        let mut sinks = Vec::new();
        for _ in 0..scenario.sinks() {
            let hosts = (0..scenario.addresses_each()).map(|_| address::unique()).collect();
            sinks.push(FaultySink::start(&options.program, hosts, files.path()).await?);
        }
        let dns = DnsServer::start(address::unique(), "backend.tailrace.test", Vec::new()).await?;
        let mut bench =
            Self { edges: Vec::new(), sinks, dns, dns_interval: options.dns_interval, files };
        bench.announce(BACKENDS);
        for index in 0..options.edges {
            let edge = bench.start_edge(index, mode, options).await?;
            bench.edges.push(edge);
        }
        bench.wait_for_backends(BACKENDS).await?;
        Ok(bench)
    }

    async fn start_edge(
        &self,
        index: usize,
        mode: Mode,
        options: &Options,
    ) -> Result<Process, TestbedError> {
        let logs: &Path = self.files.path();
        let interval = self.dns_interval.as_millis();
        let mut launch = Launch::sample(Tier::Edge, index, address::unique())
            .env("TAILRACE_BACKEND", self.dns.name())
            .env("TAILRACE_NAMESERVERS", format!("[\"{}\"]", self.dns.address()))
            .set(format!("exporters::loadbalancing::resolver::dns::interval={interval}ms"));
        if mode == Mode::Queue {
            launch = launch.set(QUEUE);
        }
        for setting in &options.edge_settings {
            launch = launch.set(setting);
        }
        launch.start(&options.binaries, logs).await
    }

    /// The first addresses of the first `count` backends.
    pub(super) fn first_hosts(&self, count: usize) -> Vec<IpAddr> {
        self.sinks[..count].iter().map(|sink| sink.host().into()).collect()
    }

    /// Has DNS name the first `count` backends.
    pub(super) fn announce(&self, count: usize) {
        self.dns.set(Answer::Addresses(self.first_hosts(count)));
    }

    /// Has DNS name every address of every backend.
    pub(super) fn announce_everything(&self) {
        let hosts = self.sinks.iter().flat_map(FaultySink::hosts);
        self.dns.set(Answer::Addresses(hosts.map(|host| (*host).into()).collect()));
    }

    /// Waits until every edge's ring has this many backends.
    pub(super) async fn wait_for_backends(&self, count: usize) -> Result<(), TestbedError> {
        for edge in &self.edges {
            let what = format!("{} sees {count} backends", edge.name());
            until(&what, async || {
                let page = edge.telemetry().await?;
                Ok(page.sum("otelcol_loadbalancer_num_backends") == count as u64)
            })
            .await?;
        }
        Ok(())
    }

    /// So many clients with a connection each, to the edges in turns.
    pub(super) fn clients(&self, count: usize) -> Result<Vec<Arc<dyn Sender>>, TestbedError> {
        let edges = self.edges.iter().cycle().take(count);
        edges.map(|edge| client(edge.at(GRPC), Compression::None)).collect()
    }

    /// The metrics of all edges.
    pub(super) async fn telemetry(&self) -> Result<Page, TestbedError> {
        let mut all = Page::default();
        for edge in &self.edges {
            all.append(edge.telemetry().await?);
        }
        Ok(all)
    }

    /// Stops the edges in order; whether all ended cleanly.
    pub(super) async fn stop(self) -> Result<bool, TestbedError> {
        let mut clean = true;
        for edge in self.edges {
            edge.terminate()?;
            clean &= edge.wait(Duration::from_secs(60)).await?.success();
        }
        Ok(clean)
    }
}
