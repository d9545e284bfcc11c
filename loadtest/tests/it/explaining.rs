//! What a backend says about a trace while it waits and afterwards.

use loadtest::testbed::cluster::{Cluster, Shape, until};
use loadtest::testbed::http::{exchange, get};
use loadtest::testbed::process::{HTTP, TELEMETRY};
use serde_json::{Value, json};

use crate::common::{start, stop};

const POLICIES: &str = "processors::tail_sampling::policies=[\
    {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}, \
    {name: probes, type: drop, drop: {drop_sub_policy: [{name: health, type: string_attribute, \
        string_attribute: {key: http.route, values: [/health]}}]}}, \
    {name: slow-carts, type: and, and: {and_sub_policy: [\
        {name: cart, type: string_attribute, string_attribute: {key: http.route, values: [/cart]}}, \
        {name: slow, type: latency, latency: {threshold_ms: 1000}}]}}]";

/// A trace of one root span.
struct Sent {
    id: String,
    route: &'static str,
    failed: bool,
}

impl Sent {
    fn new(number: u8, route: &'static str, failed: bool) -> Self {
        Self { id: format!("{number:032x}"), route, failed }
    }

    async fn send(&self, cluster: &Cluster) {
        let span = json!({
            "traceId": self.id, "spanId": "00000000000000aa", "name": "GET",
            "startTimeUnixNano": "1000000000", "endTimeUnixNano": "1500000000",
            "attributes": [{"key": "http.route", "value": {"stringValue": self.route}}],
            "status": {"code": if self.failed { 2 } else { 0 }},
        });
        let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
        let request = http::Request::post("/v1/traces").header("content-type", "application/json");
        let request = request.body(body.to_string().into()).unwrap();
        let (status, body) = exchange(cluster.backends[0].at(HTTP), request).await.unwrap();
        assert_eq!(status, 200, "{body}");
    }
}

async fn ask(cluster: &Cluster, about: &str) -> (u16, Value) {
    let path = format!("/api/traces/{about}");
    let (status, body) = get(cluster.backends[0].at(TELEMETRY), &path).await.unwrap();
    (status, serde_json::from_str(&body).unwrap())
}

/// The one answer about a trace.
async fn explain(cluster: &Cluster, sent: &Sent) -> Value {
    let (status, mut answers) = ask(cluster, &sent.id).await;
    assert_eq!((status, answers.as_array().map(Vec::len)), (200, Some(1)), "{answers}");
    assert_eq!(answers[0]["processor"], "tail_sampling");
    answers[0].take()
}

async fn wait_for(cluster: &Cluster, sent: &Sent, state: &str) -> Value {
    until(&format!("{} is {state}", sent.id), async || {
        Ok(explain(cluster, sent).await["state"] == state)
    })
    .await
    .unwrap();
    explain(cluster, sent).await
}

#[tokio::test]
async fn a_trace_tells_why_it_waits_and_why_it_was_kept_or_dropped() {
    let mut shape = Shape::unique(0, 1);
    shape.decision_wait = std::time::Duration::from_secs(12);
    shape.backend_settings.push(POLICIES.to_owned());
    let cluster = start(shape).await;
    let [failed, probe, cart] =
        [Sent::new(1, "/cart", true), Sent::new(2, "/health", true), Sent::new(3, "/cart", false)];
    assert_eq!(explain(&cluster, &cart).await["state"], "unknown");
    for sent in [&failed, &probe, &cart] {
        sent.send(&cluster).await;
    }

    let answer = wait_for(&cluster, &cart, "buffered").await;
    let due = answer["due_in_seconds"].as_f64().unwrap();
    assert!(due <= 12.0 && answer["due_for"] == "decision_wait", "{answer}");
    assert_eq!([&answer["spans"], &answer["root_seen"]], [&json!(1), &json!(true)]);
    assert_eq!(answer["decision_by_now"], "not_sampled");
    let slow = json!({
        "policy": "slow-carts", "vote": "not_sampled", "decided_by": "slow-carts/slow",
        "parts": [
            {"policy": "slow-carts/cart", "vote": "sampled", "certain": "sampled"},
            {"policy": "slow-carts/slow", "vote": "not_sampled"},
        ],
    });
    assert_eq!(answer["policies"][2], slow);
    let answer = explain(&cluster, &probe).await;
    assert_eq!([&answer["decision_by_now"], &answer["policy"]], ["dropped", "probes"]);
    assert_eq!(answer["policies"][1]["vote"], "not_asked");

    let answer = wait_for(&cluster, &failed, "kept").await;
    assert_eq!([&answer["decision"], &answer["policy"]], ["sampled", "errors"]);
    assert!(answer["age_seconds"].as_u64().unwrap() < 60, "{answer}");
    let answer = wait_for(&cluster, &probe, "dropped").await;
    assert_eq!([&answer["decision"], &answer["policy"]], ["dropped", "probes"]);
    let answer = wait_for(&cluster, &cart, "dropped").await;
    assert_eq!([&answer["decision"], &answer["policy"]], [&json!("not_sampled"), &Value::Null]);

    let (status, answer) = ask(&cluster, "4bf9").await;
    assert_eq!(status, 400, "{answer}");
    stop(cluster).await;
}
