//! An edge that has no descriptors left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use loadtest::ledger::Detail;
use loadtest::oracle::{Policies, Policy};
use loadtest::plan::Plan;
use loadtest::sink::Sink;
use loadtest::testbed::address::unique;
use loadtest::testbed::cluster::{client, until};
use loadtest::testbed::page::Sample;
use loadtest::testbed::process::{GRPC, Launch, Tier};
use shared::config::Compression;
use shared::queue::Sender;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::common::{binaries, load, send};

/// More than an edge at rest has open, and far fewer than connections that come.
const DESCRIPTORS: u64 = 100;

#[tokio::test]
async fn an_edge_without_descriptors_serves_whom_it_has_and_recovers() {
    let sink = Sink::start(SocketAddr::from((unique(), GRPC)), Detail::Counts).await.unwrap();
    let logs = tempfile::tempdir().unwrap();
    let backend = sink.address().ip();
    let launch = Launch::sample(Tier::Edge, 0, unique())
        .set("exporters::loadbalancing::resolver::dns=null")
        .set(format!("exporters::loadbalancing::resolver::static={{hostnames: [{backend}]}}"))
        .with_descriptors(DESCRIPTORS);
    let edge = launch.start(&binaries().await, logs.path()).await.unwrap();
    let mut spans = 0;
    let mut send_by = async |client: &Arc<dyn Sender>, seed| {
        let keep_all = Policies::new(vec![Policy::AlwaysSample]);
        spans += send(load(vec![Arc::clone(client)]), Plan::new(seed, 20), keep_all).await.spans;
        spans
    };
    let known = client(edge.at(GRPC), Compression::None).unwrap();
    send_by(&known, 1).await;

    let mut silent = Vec::new();
    for _ in 0..3 * DESCRIPTORS {
        silent.push(TcpStream::connect(edge.at(GRPC)).await.unwrap());
    }
    until("the edge says that it cannot accept", async || {
        Ok(edge.log().contains("cannot accept connections"))
    })
    .await
    .unwrap();
    for seed in 2..12 {
        send_by(&known, seed).await;
    }
    // The longest quiet gives way; a reset is as good as an end.
    let mut goodbye = Vec::new();
    let first = silent[0].read_to_end(&mut goodbye);
    drop(tokio::time::timeout(Duration::from_secs(60), first).await.unwrap());
    send_by(&known, 14).await;

    drop(silent);
    let is_quiet = |sample: &Sample| sample.label("reason") == "quiet";
    until("it counts them, and lets others in again", async || {
        let page = edge.telemetry().await?;
        Ok(page.sum("otelcol_receiver_connections_failed") > 0
            && page.sum_where("otelcol_receiver_connections_cut", is_quiet) > 0
            && page.sum("otelcol_receiver_connections") == 1)
    })
    .await
    .unwrap();
    let late = client(edge.at(GRPC), Compression::None).unwrap();
    send_by(&late, 12).await;
    let sent = send_by(&known, 13).await;
    assert_eq!(sink.ledger().spans(), sent);
    edge.terminate().unwrap();
    assert!(edge.wait(Duration::from_secs(60)).await.unwrap().success());
}
