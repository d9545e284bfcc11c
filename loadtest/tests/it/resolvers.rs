//! Every resolver in a real edge: whom it takes for the backends, whatever it is told.
//!
//! The backends are sinks of this process; where only their number counts they need not exist.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use loadtest::ledger::Detail;
use loadtest::oracle::{Policies, Policy};
use loadtest::plan::Plan;
use loadtest::sink::Sink;
use loadtest::testbed::address::unique;
use loadtest::testbed::cluster::{client, until};
use loadtest::testbed::dns::{Answer, DnsServer};
use loadtest::testbed::kubernetes::{ApiServer, NAMESPACE, SERVICE};
use loadtest::testbed::page::Page;
use loadtest::testbed::process::{GRPC, Launch, Process, Tier};
use shared::config::Compression;
use tempfile::TempDir;

use crate::common::{binaries, load, send};

/// An edge with a resolver of its own.
struct Edge {
    process: Process,
    _logs: TempDir,
}

impl Edge {
    /// The sample configuration with this section as the only resolver, as `dns={…}`.
    async fn start(resolver: &str) -> Self {
        let logs = tempfile::tempdir().unwrap();
        let launch = Launch::sample(Tier::Edge, 0, unique())
            .set("exporters::loadbalancing::resolver::dns=null")
            .set(format!("exporters::loadbalancing::resolver::{resolver}"));
        let process = launch.start(&binaries().await, logs.path()).await.unwrap();
        Self { process, _logs: logs }
    }

    async fn wait_for_backends(&self, count: u64) {
        self.wait_until(&format!("the edge sees {count} backends"), |page| backends(page) == count)
            .await;
    }

    async fn wait_until(&self, what: &str, condition: impl Fn(&Page) -> bool) -> Page {
        let mut last = Page::default();
        let waited = until(what, async || {
            last = self.process.telemetry().await?;
            Ok(condition(&last))
        })
        .await;
        waited.unwrap_or_else(|error| panic!("{error}{}", self.process.last_words()));
        last
    }

    /// Sends some traces: all their spans must be in these sinks then, and some in each.
    async fn check_delivery(&self, sinks: &[Sink]) {
        let client = client(self.process.at(GRPC), Compression::None).unwrap();
        let before: u64 = sinks.iter().map(|sink| sink.ledger().spans()).sum();
        let keep_all = Policies::new(vec![Policy::AlwaysSample]);
        let truth = send(load(vec![client]), Plan::new(7, 200), keep_all).await;
        let spans: Vec<u64> = sinks.iter().map(|sink| sink.ledger().spans()).collect();
        assert_eq!(spans.iter().sum::<u64>() - before, truth.spans, "{spans:?}");
        assert!(!spans.contains(&0), "{spans:?}");
    }
}

fn backends(page: &Page) -> u64 {
    page.sum("otelcol_loadbalancer_num_backends")
}

fn lookups(page: &Page, outcome: &str) -> u64 {
    page.sum_where("otelcol_loadbalancer_num_lookups", |s| s.label("outcome") == outcome)
}

async fn sinks(count: usize) -> Vec<Sink> {
    let mut sinks = Vec::new();
    for _ in 0..count {
        let address = SocketAddr::from((unique(), GRPC));
        sinks.push(Sink::start(address, Detail::Counts).await.unwrap());
    }
    sinks
}

/// Addresses that nobody listens on.
fn nobody(count: u32) -> Vec<IpAddr> {
    (0..count).map(|i| Ipv4Addr::from(0x7fee_0000 + i).into()).collect()
}

/// A DNS server for the name `b.test` and an edge that asks it, with these settings besides.
async fn by_dns(addresses: Vec<IpAddr>, settings: &str) -> (DnsServer, Edge) {
    let dns = DnsServer::start(unique(), "b.test", addresses).await.unwrap();
    let server = dns.address();
    let names = format!("hostname: b.test, nameservers: [\"{server}\"]");
    let edge = Edge::start(&format!("dns={{{names}, {settings}}}")).await;
    (dns, edge)
}

#[tokio::test]
async fn a_static_list_is_used_as_it_is() {
    let sinks = sinks(2).await;
    let hosts: Vec<_> = sinks.iter().map(|sink| sink.address().ip().to_string()).collect();
    let edge = Edge::start(&format!("static={{hostnames: {hosts:?}}}")).await;
    edge.wait_for_backends(2).await;
    edge.check_delivery(&sinks).await;
}

#[tokio::test]
async fn backends_with_ipv6_addresses_are_found_and_dialled() {
    let Ok(sink) = Sink::start((Ipv6Addr::LOCALHOST, 0).into(), Detail::Counts).await else {
        // A machine without IPv6 has no such backends.
        return;
    };
    let port = sink.address().port();
    let settings = format!("port: \"{port}\", interval: 100ms");
    let (_dns, edge) = by_dns(vec![Ipv6Addr::LOCALHOST.into()], &settings).await;
    edge.wait_for_backends(1).await;
    edge.check_delivery(&[sink]).await;
}

#[tokio::test]
async fn three_hundred_addresses_are_all_taken() {
    let (dns, edge) = by_dns(nobody(300), "interval: 100ms").await;
    edge.wait_for_backends(300).await;
    // The same from a server that says over UDP no more than that TCP is needed.
    dns.set(Answer::Truncated(nobody(400)));
    edge.wait_for_backends(400).await;
}

#[tokio::test]
async fn failed_lookups_are_told_apart_and_the_set_gets_old() {
    let (dns, edge) = by_dns(nobody(3), "interval: 100ms, timeout: 300ms").await;
    edge.wait_for_backends(3).await;
    let failures = [
        ("servfail", Answer::ServerFailure),
        ("nxdomain", Answer::NoSuchName),
        ("empty", Answer::Addresses(Vec::new())),
        ("timeout", Answer::Late(std::time::Duration::from_secs(60), nobody(9))),
    ];
    for (outcome, answer) in failures {
        dns.set(answer);
        let page = edge.wait_until(outcome, |page| lookups(page, outcome) >= 4).await;
        assert_eq!(backends(&page), 3, "{outcome}");
    }
    let age = "otelcol_loadbalancer_resolver_age";
    edge.wait_until("the set is a second old", |page| page.sum(age) >= 1).await;
    dns.set(Answer::Addresses(nobody(3)));
    let page = edge.wait_until("the set is new again", |page| page.sum(age) == 0).await;
    assert_eq!(page.sum("otelcol_loadbalancer_num_backend_updates"), 1);
    let failed = |s: &loadtest::testbed::page::Sample| s.label("success") == "false";
    assert!(page.sum_where("otelcol_loadbalancer_num_resolutions", failed) >= 16);
}

#[tokio::test]
async fn a_large_shrink_is_held_back_and_then_goes_through() {
    let (dns, edge) = by_dns(nobody(8), "interval: 100ms, shrink_hold: 12s").await;
    edge.wait_for_backends(8).await;
    // Half an answer, for a moment.
    dns.set(Answer::Addresses(nobody(2)));
    let held = "otelcol_loadbalancer_num_shrinks_held";
    let page = edge.wait_until("the shrink is held back", |page| page.sum(held) == 1).await;
    assert_eq!(backends(&page), 8);
    dns.set(Answer::Addresses(nobody(8)));
    let asked = dns.questions();
    until("the edge has seen all again", async || Ok(dns.questions() >= asked + 4)).await.unwrap();
    // And for good.
    dns.set(Answer::Addresses(nobody(3)));
    let page = edge.wait_until("the shrink is held back", |page| page.sum(held) == 2).await;
    assert_eq!(backends(&page), 8);
    edge.wait_for_backends(3).await;
}

#[tokio::test]
async fn a_short_ttl_is_not_outwaited() {
    // The server's TTL is 0, which counts as 1 s.
    let (dns, edge) = by_dns(nobody(2), "interval: 1h").await;
    edge.wait_for_backends(2).await;
    dns.set(Answer::Addresses(nobody(3)));
    edge.wait_for_backends(3).await;
}

#[tokio::test]
async fn names_of_srv_records_are_backends() {
    let sinks = sinks(2).await;
    // Names that the system can look up without asking anybody.
    let services = sinks.iter().map(|sink| (sink.address().ip().to_string(), GRPC)).collect();
    let dns = DnsServer::start(unique(), "_otlp._tcp.b.test", Vec::new()).await.unwrap();
    dns.set(Answer::Services(services));
    let server = dns.address();
    let names = format!("hostname: b.test, port_name: otlp, nameservers: [\"{server}\"]");
    let edge = Edge::start(&format!("srv={{{names}, interval: 100ms}}")).await;
    edge.wait_for_backends(2).await;
    edge.check_delivery(&sinks).await;
    dns.set(Answer::NoSuchName);
    let page = edge.wait_until("nxdomain", |page| lookups(page, "nxdomain") >= 4).await;
    assert_eq!(backends(&page), 2);
}

#[tokio::test]
async fn endpoint_slices_are_followed() {
    let api = ApiServer::start(unique()).await.unwrap();
    let sinks = sinks(2).await;
    let hosts: Vec<_> = sinks.iter().map(|sink| sink.address().ip().to_string()).collect();
    api.put("s1", &[&hosts[0], "!127.238.0.1"]);
    let names = format!("service: {SERVICE}.{NAMESPACE}, ports: [{GRPC}]");
    let edge = Edge::start(&format!("k8s={{{names}, api_server: \"{}\"}}", api.url())).await;
    edge.wait_for_backends(1).await;
    edge.check_delivery(&sinks[..1]).await;
    let digest = "otelcol_loadbalancer_ring_digest";
    let before = edge.process.telemetry().await.unwrap().sum(digest);
    api.put("s2", &[&hosts[1]]);
    edge.wait_until("the ring is another one", |page| page.sum(digest) != before).await;
    edge.check_delivery(&sinks).await;
    // Without a single endpoint, without the permission to ask, and cut off.
    api.put("s1", &[&hosts[0], &hosts[1]]);
    api.delete("s2");
    api.put("s1", &[]);
    let page = edge.wait_until("empty", |page| lookups(page, "empty") >= 1).await;
    assert_eq!(backends(&page), 2);
    api.refuse(Some(403));
    api.hang_up();
    let page = edge.wait_until("refused", |page| lookups(page, "failed") >= 2).await;
    assert_eq!(backends(&page), 2);
    let age = "otelcol_loadbalancer_resolver_age";
    edge.wait_until("the set is a second old", |page| page.sum(age) >= 1).await;
    edge.check_delivery(&sinks).await;
    api.refuse(None);
    api.put("s3", &[&hosts[0], &hosts[1]]);
    edge.wait_until("the set is new again", |page| page.sum(age) == 0).await;
    edge.check_delivery(&sinks).await;
}
