//! Processors in the pipeline of a real edge: what clients send and what leaves.

use loadtest::testbed::address::unique;
use loadtest::testbed::cluster::{client, until};
use loadtest::testbed::page::Sample;
use loadtest::testbed::process::{GRPC, Launch, Tier};
use serde_json::Value;
use shared::config::Compression;
use shared::wire::Writer;
use shared::{Batch, Signal};

use crate::common::binaries;

/// Spans of traces whose randomness is spread evenly.
fn spans(count: u64) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| {
            resource.string_attribute(1, b"service.name", b"cart");
            resource.int_attribute(1, b"process.pid", 7);
        });
        entry.message(2, |scope| {
            for index in 0..count {
                let randomness = (u128::from(index) << 56) / u128::from(count);
                let trace_id = (1_u128 << 100) + randomness;
                scope.message(2, |span| {
                    span.bytes(1, &trace_id.to_be_bytes());
                    span.bytes(2, &(index + 1).to_be_bytes());
                    span.bytes(5, b"GET /cart");
                    span.string_attribute(9, b"http.url", b"https://shop.test/cart?id=1");
                    span.string_attribute(9, b"enduser.id", b"ann");
                });
            }
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

/// The value of an attribute in OTLP/JSON.
fn attribute<'v>(of: &'v Value, key: &str) -> Option<&'v str> {
    let attributes = of["attributes"].as_array()?;
    let found = attributes.iter().find(|attribute| attribute["key"] == key)?;
    found["value"]["stringValue"].as_str()
}

#[tokio::test]
async fn attributes_resources_and_a_sampler_work_in_one_pipeline() {
    let logs = tempfile::tempdir().unwrap();
    let file = logs.path().join("kept.json");
    let edge = Launch::sample(Tier::Edge, 0, unique())
        .set(
            "processors::attributes={actions: [\
             {key: http.url, action: extract, pattern: '^https?://(?P<http_host>[^/]+)'}, \
             {key: http.url, action: delete}, {key: enduser.id, action: hash}, \
             {key: client.address, action: insert, from_context: client.address}]}",
        )
        .set(
            "processors::resource={attributes: [\
             {key: deployment.environment, action: upsert, value: test}, \
             {pattern: '^process', action: delete}]}",
        )
        .set("processors::probabilistic_sampler={mode: equalizing, sampling_percentage: 25}")
        .set(format!("exporters::file={{path: '{}', flush_interval: 10ms}}", file.display()))
        .set("service::pipelines::traces::exporters=[file]")
        .set("service::pipelines::traces::processors=[attributes, resource, probabilistic_sampler]")
        .set("exporters::loadbalancing::resolver::dns=null")
        .set("exporters::loadbalancing::resolver::static={hostnames: [127.0.0.1]}")
        .start(&binaries().await, logs.path())
        .await
        .unwrap();
    client(edge.at(GRPC), Compression::None).unwrap().send(spans(400)).await.unwrap();

    until("the file has what was kept", async || {
        Ok(std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')))
    })
    .await
    .unwrap();
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let entry = &kept["resourceSpans"][0];
    assert_eq!(attribute(&entry["resource"], "deployment.environment"), Some("test"));
    assert_eq!(attribute(&entry["resource"], "service.name"), Some("cart"));
    assert_eq!(entry["resource"]["attributes"].as_array().unwrap().len(), 2);
    let spans = entry["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 100);
    // As sha256sum has it.
    let ann = "49915e0d7d4b402e3017d010bc1c0e83cac6c797d6c16e66340fe3268693a6a1";
    for span in spans {
        assert_eq!(span["traceState"], "ot=th:c");
        assert_eq!(attribute(span, "http_host"), Some("shop.test"));
        assert_eq!(attribute(span, "http.url"), None);
        assert_eq!(attribute(span, "enduser.id"), Some(ann));
        assert_eq!(attribute(span, "client.address"), Some("127.0.0.1"));
    }

    let page = edge.telemetry().await.unwrap();
    let of = |label: &'static str, value: &'static str| {
        move |sample: &Sample| sample.label(label) == value
    };
    let decisions = "otelcol_processor_probabilistic_sampler_count_traces_sampled";
    assert_eq!(page.sum_where(decisions, of("sampled", "true")), 100);
    assert_eq!(page.sum_where(decisions, of("sampled", "false")), 300);
    assert_eq!(page.sum_where(decisions, of("policy", "trace_id_w3c")), 400);
    let sampler = of("processor", "probabilistic_sampler");
    assert_eq!(page.sum_where("otelcol_processor_incoming_items", sampler), 400);
    assert_eq!(page.sum_where("otelcol_processor_outgoing_items", sampler), 100);
    let attributes = of("processor", "attributes");
    assert_eq!(page.sum_where("otelcol_processor_outgoing_items", attributes), 400);
    assert_eq!(page.sum("otelcol_receiver_accepted_spans"), 400);
}
