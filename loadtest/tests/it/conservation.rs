use std::sync::Arc;
use std::time::Duration;

use loadtest::audit::{Audit, Traces};
use loadtest::oracle::{DEFAULT_SALT, Policies, Policy};
use loadtest::plan::{FieldOrder, Plan};
use loadtest::report::Report;
use loadtest::send::Replay;
use loadtest::testbed::cluster::{Shape, until};
use loadtest::testbed::process::Tier;
use shared::wire::{Span, regroup};
use tokio_util::sync::CancellationToken;

use crate::common::{compare, flows, load, send, settle, start, stop};

/// Everything that the demo claims, for this order of fields.
async fn check_everything_adds_up(field_order: FieldOrder) {
    // Far longer than sending takes on a busy machine: here no span may come late.
    let shape = Shape { decision_wait: Duration::from_secs(20), ..Shape::unique(2, 3) };
    let cluster = start(shape).await;
    let mut plan = Plan::new(21, 1_500);
    plan.field_order = field_order;
    let policies = Policies::of_sample_config();
    let truth = send(load(cluster.clients().unwrap()), plan, policies.clone()).await;
    settle(&cluster).await;
    until("the span metrics are flushed", async || {
        let page = cluster.span_metrics().await?;
        Ok(page.sum("traces_span_metrics_calls") >= truth.spans)
    })
    .await
    .unwrap();
    let mut report = Report::new();
    let audit = Audit {
        truth: &truth,
        policies: &policies,
        acknowledged: truth.spans,
        received: &cluster.sink.ledger().traces(),
        edges: &cluster.telemetry(Tier::Edge).await.unwrap(),
        backends: &cluster.telemetry(Tier::Backend).await.unwrap(),
        span_metrics: &cluster.span_metrics().await.unwrap(),
    };
    audit.report(&mut report);
    assert!(report.holds(), "{report:#?}");
    stop(cluster).await;
}

#[tokio::test]
async fn every_trace_is_judged_whole_and_every_span_accounted_for() {
    check_everything_adds_up(FieldOrder::Sdk).await;
}

#[tokio::test]
async fn fields_in_the_collectors_order_are_as_good() {
    check_everything_adds_up(FieldOrder::Collector).await;
}

#[tokio::test]
async fn late_spans_follow_the_verdict() {
    // A verdict that does not depend on which spans were there when it was spoken.
    let policies = Policies::new(vec![Policy::Probabilistic(40.0, DEFAULT_SALT.into())]);
    let mut shape = Shape::unique(1, 2);
    shape.backend_settings.push(
        "processors::tail_sampling::policies=[{name: coin, type: probabilistic, probabilistic: \
         {sampling_percentage: 40}}]"
            .to_owned(),
    );
    let cluster = start(shape).await;
    let target = cluster.clients().unwrap().remove(0);
    let plan = Plan::new(22, 400);
    let mut generator = loadtest::generate::Generator::new(plan, policies.clone().into());
    // Roots come first, everything else comes late.
    let (mut early, mut late) = (Vec::new(), Vec::new());
    while let Some(request) = generator.next_request() {
        for part in regroup(request.bytes(), |span| Span::read(span).is_root()) {
            let batch = request.part(part.request.into(), part.records);
            if part.key { early.push(batch) } else { late.push(batch) }
        }
    }
    let truth = generator.into_truth();
    for batches in [early, late] {
        let count = batches.len();
        let counts = Arc::default();
        let replay = Replay::new(batches.into(), count);
        load(vec![Arc::clone(&target)]).run(replay, counts, CancellationToken::new()).await;
        settle(&cluster).await;
    }
    let (_, backend) = flows(&cluster).await;
    assert_eq!(backend.received, truth.spans);
    assert_eq!(backend.traces, 400, "no late span began a trace of its own");
    assert!(backend.is_conserved(), "{backend:?}");
    let traces: Traces = compare(&cluster, &truth, &policies);
    assert!(traces.is_exact() && traces.duplicates == 0, "{traces:?}");
    stop(cluster).await;
}
