//! Two exporters of one edge that route the same spans by different keys to the same backends.

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::ledger::Detail;
use loadtest::oracle::Policies;
use loadtest::plan::Plan;
use loadtest::sink::Sink;
use loadtest::testbed::address;
use loadtest::testbed::binaries::workspace;
use loadtest::testbed::cluster::{client, until};
use loadtest::testbed::dns::DnsServer;
use loadtest::testbed::link::Link;
use loadtest::testbed::process::{GRPC, Launch, Tier};
use shared::config::Compression;

use crate::common::{binaries, load, send};

#[tokio::test]
async fn two_exporters_share_the_lookups_and_the_connections_to_their_backends() {
    let mut sinks = Vec::new();
    let mut links = Vec::new();
    for _ in 0..3 {
        let sink = Sink::start(SocketAddr::from((address::unique(), 0)), Detail::Traces);
        let sink = sink.await.unwrap();
        links.push(Link::start((address::unique(), GRPC), sink.address()).await.unwrap());
        sinks.push(sink);
    }
    let addresses = links.iter().map(|link| link.address().ip()).collect();
    let dns = DnsServer::start(address::unique(), "backend.test", addresses).await.unwrap();
    let logs = tempfile::tempdir().unwrap();
    let config = logs.path().join("edge.yaml");
    let exporter = |name: &str, key: &str| {
        format!(
            "  {name}:\n    routing_key: {key}\n    protocol: {{otlp: {{tls: {{insecure: true}}, \
             compression: none}}}}\n    resolver: {{dns: {{hostname: {}, nameservers: ['{}']}}}}\n",
            dns.name(),
            dns.address()
        )
    };
    let yaml = std::fs::read_to_string(workspace().join("deploy/config/edge.yaml")).unwrap();
    let (before, rest) = yaml.split_once("exporters:\n").unwrap();
    let (_, after) = rest.split_once("extensions:\n").unwrap();
    let exporters =
        exporter("loadbalancing", "traceID") + &exporter("loadbalancing/services", "service");
    let after = after.replace("[loadbalancing]", "[loadbalancing, loadbalancing/services]");
    let yaml = format!("{before}exporters:\n{exporters}extensions:\n{after}");
    std::fs::write(&config, yaml).unwrap();
    let mut launch = Launch::sample(Tier::Edge, 0, address::unique());
    launch.config = Some(config);
    let edge = launch.start(&binaries().await, logs.path()).await.unwrap();
    until("the edge sees its backends", async || {
        Ok(edge.telemetry().await?.sum("otelcol_loadbalancer_num_backends") == 3)
    })
    .await
    .unwrap();
    let target = client(edge.at(GRPC), Compression::None).unwrap();
    let truth = send(load(vec![target]), Plan::new(61, 200), Policies::default()).await;
    let arrived: u64 = sinks.iter().map(|sink| sink.ledger().spans()).sum();
    assert_eq!(arrived, 2 * truth.spans, "once by each exporter");
    for link in &links {
        assert_eq!(link.connections(), 1);
    }
    let page = edge.telemetry().await.unwrap();
    assert_eq!(page.sum("otelcol_loadbalancer_backend_connections"), 3);
    // One resolver tells its set once.
    assert_eq!(page.sum("otelcol_loadbalancer_num_backend_updates"), 1);
    edge.terminate().unwrap();
    assert!(edge.wait(Duration::from_secs(60)).await.unwrap().success());
}
