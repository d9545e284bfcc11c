//! SIGTERM while there is something to lose.

use std::time::Duration;

use loadtest::oracle::{Policies, Policy};
use loadtest::plan::Plan;
use loadtest::testbed::cluster::until;
use loadtest::testbed::process::Tier;

use crate::common::{Failover, compare, flows, keeping_all, load, send, settle, start, stop};

#[tokio::test]
async fn an_edge_that_stops_in_mid_load_loses_nothing() {
    let mut cluster = start(keeping_all(2, 2)).await;
    let keep_all = Policies::new(vec![Policy::AlwaysSample]);
    let mut load = load(vec![Failover::over(cluster.clients().unwrap())]);
    load.rate = Some(6_000);
    let first = cluster.edges.remove(0);
    let stopping = async {
        until("the first edge works", async || {
            Ok(first.telemetry().await?.sum("otelcol_receiver_accepted_spans") > 500)
        })
        .await
        .unwrap();
        first.terminate().unwrap();
        first.wait(Duration::from_secs(60)).await.unwrap()
    };
    let sending = send(load, Plan::new(51, 1_500), keep_all.clone());
    let (truth, status) = tokio::join!(sending, stopping);
    assert!(status.success(), "{status}");
    let (edge, _) = settle(&cluster).await;
    assert!(edge.accepted > 0, "the second edge took over");
    let traces = compare(&cluster, &truth, &keep_all);
    assert!(traces.is_exact(), "{traces:?}");
    stop(cluster).await;
}

#[tokio::test]
async fn a_backend_judges_and_sends_what_it_holds_before_it_stops() {
    let mut shape = keeping_all(1, 2);
    // Everything is certain to be kept, and would leave at once.
    shape.backend_settings.push("processors::tail_sampling::early_release=false".to_owned());
    shape.decision_wait = Duration::from_secs(600);
    let cluster = start(shape).await;
    let keep_all = Policies::new(vec![Policy::AlwaysSample]);
    let plan = Plan::new(52, 400);
    let truth = send(load(cluster.clients().unwrap()), plan, keep_all.clone()).await;
    until("the backends hold every span", async || {
        let (_, backend) = flows(&cluster).await;
        assert_eq!(backend.exported, 0);
        Ok(backend.held == truth.spans)
    })
    .await
    .unwrap();
    for process in cluster.of(Tier::Edge).iter().chain(cluster.of(Tier::Backend)) {
        process.terminate().unwrap();
    }
    let ledger = std::sync::Arc::clone(cluster.sink.ledger());
    for process in cluster.edges.into_iter().chain(cluster.backends) {
        let name = process.name().to_owned();
        let status = process.wait(Duration::from_secs(60)).await.unwrap();
        assert!(status.success(), "{name}: {status}");
    }
    let traces = loadtest::audit::Traces::compare(&truth, &keep_all, &ledger.traces());
    assert!(traces.is_exact() && traces.duplicates == 0, "{traces:?}");
}
