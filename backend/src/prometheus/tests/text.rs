//! Names, labels and text, after the Collector's real output.

use opentelemetry_proto::tonic::common::v1::ArrayValue;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Summary, SummaryDataPoint,
};

use super::*;
use crate::prometheus::names::TranslationStrategy;
use crate::prometheus::resource_attributes::ResourceConversionConfig;

const CART: [(&str, &str); 4] = [
    ("service.name", "cart"),
    ("service.namespace", "shop"),
    ("service.instance.id", "i-1"),
    ("k8s.pod.name", "cart-7"),
];
const S: &str = "service_name=\"cart\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"GET /item\",status_code=\"STATUS_CODE_UNSET\"";
const J: &str = "instance=\"i-1\",job=\"shop/cart\"";
const O: &str =
    "otel_scope_name=\"spanmetricsconnector\",otel_scope_schema_url=\"\",otel_scope_version=\"\"";

/// The input of the Collector's examples.
fn cart() -> ResourceMetrics {
    let labels = attributes(&[
        ("service.name", "cart"),
        ("span.name", "GET /item"),
        ("span.kind", "SPAN_KIND_SERVER"),
        ("status.code", "STATUS_CODE_UNSET"),
    ]);
    let calls = NumberDataPoint {
        attributes: labels.clone(),
        value: Some(number_data_point::Value::AsInt(142)),
        ..point(0.0, TIME)
    };
    let mut duration = histogram(CUMULATIVE, &[2.0, 100.0, 15_000.0], &[1, 3, 0, 1], 20_130.25);
    duration.point.attributes = labels;
    let calls = sum(CUMULATIVE, true, vec![calls]);
    let metrics = vec![
        metric("traces.span.metrics.calls", "", calls),
        metric("traces.span.metrics.duration", "ms", duration.into()),
    ];
    entry(&CART, metrics)
}

#[test]
fn span_metrics_read_as_those_of_the_collector() {
    let exposed = Exposed::new(PrometheusConfig::default());
    exposed.observe(vec![cart()]);
    let duration = "traces_span_metrics_duration_milliseconds";
    let expected = format!(
        "# HELP target_info Target metadata\n\
         # TYPE target_info gauge\n\
         target_info{{{J},k8s_pod_name=\"cart-7\"}} 1\n\
         # HELP traces_span_metrics_calls_total \n\
         # TYPE traces_span_metrics_calls_total counter\n\
         traces_span_metrics_calls_total{{{J},{O},{S}}} 142\n\
         # HELP {duration} \n\
         # TYPE {duration} histogram\n\
         {duration}_bucket{{{J},{O},{S},le=\"2\"}} 1\n\
         {duration}_bucket{{{J},{O},{S},le=\"100\"}} 4\n\
         {duration}_bucket{{{J},{O},{S},le=\"15000\"}} 4\n\
         {duration}_bucket{{{J},{O},{S},le=\"+Inf\"}} 5\n\
         {duration}_sum{{{J},{O},{S}}} 20130.25\n\
         {duration}_count{{{J},{O},{S}}} 5\n"
    );
    assert_eq!(exposed.text(), expected);
}

#[test]
fn namespace_constant_labels_and_timestamps_read_as_those_of_the_collector() {
    let labels = [("label1", "value1"), ("another label", "spaced")];
    let exposed = Exposed::new(PrometheusConfig {
        namespace: "test-space".to_owned(),
        const_labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        send_timestamps: true,
        ..short()
    });
    exposed.observe(vec![cart()]);
    let samples = exposed.samples();
    assert_eq!(samples[0], format!("test_space_target_info{{{J},k8s_pod_name=\"cart-7\"}} 1"));
    assert_eq!(
        samples[1],
        format!(
            "test_space_traces_span_metrics_calls_total{{another_label=\"spaced\",{J},label1=\"value1\",{S}}} 142 1700000060123"
        )
    );
}

#[test]
fn resource_attributes_become_labels_when_asked_for() {
    let convert = |exclude_service_attributes| PrometheusConfig {
        resource_to_telemetry_conversion: ResourceConversionConfig {
            enabled: true,
            exclude_service_attributes,
        },
        ..short()
    };
    let exposed = Exposed::new(convert(false));
    exposed.observe(vec![cart()]);
    assert_eq!(
        exposed.samples()[1],
        "traces_span_metrics_calls_total{instance=\"i-1\",job=\"shop/cart\",k8s_pod_name=\"cart-7\",\
         service_instance_id=\"i-1\",service_name=\"cart\",service_namespace=\"shop\",\
         span_kind=\"SPAN_KIND_SERVER\",span_name=\"GET /item\",status_code=\"STATUS_CODE_UNSET\"} 142"
    );
    let exposed = Exposed::new(convert(true));
    exposed.observe(vec![cart()]);
    let expected =
        format!("traces_span_metrics_calls_total{{{J},k8s_pod_name=\"cart-7\",{S}}} 142");
    assert_eq!(exposed.samples()[1], expected);

    let exposed = Exposed::new(convert(false));
    let own = gauge(1.0, attributes(&[("span.name", "DP")]));
    exposed.observe(vec![entry(&[("span.name", "RES")], vec![metric("x", "", own)])]);
    assert_eq!(exposed.samples(), ["x{span_name=\"RES\"} 1"]);
}

#[test]
fn suffixes_can_be_left_out() {
    let exposed = Exposed::new(PrometheusConfig {
        translation_strategy: Some(TranslationStrategy::UnderscoreEscapingWithoutSuffixes),
        ..short()
    });
    exposed.observe(vec![cart()]);
    let text = exposed.text();
    assert!(text.contains("# TYPE traces_span_metrics_calls counter\n"));
    assert!(text.contains(&format!("traces_span_metrics_calls{{{J},{S}}} 142\n")));
    assert!(text.contains("\ntraces_span_metrics_duration_bucket{"));
}

#[test]
fn values_and_labels_read_as_those_of_the_collector() {
    let exposed = Exposed::new(short());
    let list = Value::ArrayValue(ArrayValue {
        values: [Value::StringValue("x".to_owned()), Value::IntValue(1)]
            .map(|value| AnyValue { value: Some(value) })
            .into(),
    });
    let labels = vec![
        attribute("b", Value::BoolValue(true)),
        attribute("d", Value::DoubleValue(1.5)),
        attribute("l", list),
    ];
    let requests = NumberDataPoint { attributes: labels, ..point(9.0, TIME) };
    let host = attributes(&[("host.name", "a\"b\\c\nd")]);
    let metrics = vec![
        metric("system.memory.utilization", "1", gauge(0.25, Vec::new())),
        metric("system.filesystem.usage", "By", gauge(1.5e9, host)),
        metric("9lives", "{cats}", gauge(f64::NAN, Vec::new())),
        metric("inflight", "1", sum(CUMULATIVE, false, vec![point(7.0, TIME)])),
        metric("requests_total", "1", sum(CUMULATIVE, true, vec![requests])),
        metric("rate", "1/s", gauge(1e21, Vec::new())),
    ];
    exposed.observe(vec![entry(&[("service.name", "cart")], metrics)]);
    assert_eq!(
        exposed.samples(),
        [
            "_9lives{job=\"cart\"} NaN",
            "inflight{job=\"cart\"} 7",
            "rate_per_second{job=\"cart\"} 1e+21",
            "requests_total{b=\"true\",d=\"1.5\",job=\"cart\",l=\"[\\\"x\\\",1]\"} 9",
            "system_filesystem_usage_bytes{host_name=\"a\\\"b\\\\c\\nd\",job=\"cart\"} 1.5e+09",
            "system_memory_utilization_ratio{job=\"cart\"} 0.25",
        ]
    );
}

#[test]
fn a_summary_has_its_quantiles() {
    let exposed = Exposed::new(short());
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let summary = Data::Summary(Summary {
        data_points: vec![SummaryDataPoint {
            count: 3,
            sum: 1.5,
            quantile_values: vec![quantile(0.5, 0.4), quantile(0.99, 0.9)],
            attributes: attributes(&[("quantile", "mine")]),
            ..SummaryDataPoint::default()
        }],
    });
    exposed.observe(vec![entry(&[], vec![metric("rpc.latency", "ms", summary)])]);
    let own = "exported_quantile=\"mine\"";
    assert_eq!(
        exposed.samples(),
        [
            format!("rpc_latency_milliseconds{{{own},quantile=\"0.5\"}} 0.4"),
            format!("rpc_latency_milliseconds{{{own},quantile=\"0.99\"}} 0.9"),
            format!("rpc_latency_milliseconds_sum{{{own}}} 1.5"),
            format!("rpc_latency_milliseconds_count{{{own}}} 3"),
        ]
    );
}

#[test]
fn an_exponential_histogram_keeps_count_and_sum() {
    let exposed = Exposed::new(short());
    let data = Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![ExponentialHistogramDataPoint {
            count: 6,
            sum: Some(3.5),
            ..ExponentialHistogramDataPoint::default()
        }],
        aggregation_temporality: CUMULATIVE,
    });
    exposed.observe(vec![entry(&[], vec![metric("d", "s", data)])]);
    assert_eq!(
        exposed.samples(),
        ["d_seconds_bucket{le=\"+Inf\"} 6", "d_seconds_sum 3.5", "d_seconds_count 6"]
    );
}

#[test]
fn scope_attributes_become_labels() {
    let exposed = Exposed::new(PrometheusConfig::default());
    let mut calls = entry(&[], vec![metric("calls", "", counter(1.0, TIME))]);
    calls.scope_metrics[0].scope = Some(InstrumentationScope {
        name: "sc".to_owned(),
        version: "1.2".to_owned(),
        attributes: attributes(&[("team.name", "x"), ("name", "reserved")]),
        ..InstrumentationScope::default()
    });
    calls.scope_metrics[0].schema_url = "https://s/1".to_owned();
    exposed.observe(vec![calls]);
    assert_eq!(
        exposed.samples(),
        ["calls_total{otel_scope_name=\"sc\",otel_scope_schema_url=\"https://s/1\",\
          otel_scope_team_name=\"x\",otel_scope_version=\"1.2\"} 1"]
    );
}

/// The Collector drops the first two metrics with an error in its log.
#[test]
fn attributes_that_share_a_label_cost_no_metric() {
    let exposed = Exposed::new(short());
    let both = attributes(&[("http_method", "b"), ("http.method", "a")]);
    let metrics = vec![
        metric("one", "", gauge(1.0, both)),
        metric("two", "", gauge(2.0, attributes(&[("job", "mine"), ("__name", "x")]))),
        metric("three", "", gauge(3.0, Vec::new())),
    ];
    exposed.observe(vec![entry(&[("service.name", "cart")], metrics)]);
    assert_eq!(
        exposed.samples(),
        [
            "one{http_method=\"a;b\",job=\"cart\"} 1",
            "three{job=\"cart\"} 3",
            "two{exported_job=\"mine\",job=\"cart\",key__name=\"x\"} 2",
        ]
    );
}

#[test]
fn a_target_is_described_once_and_by_its_latest_attributes() {
    let mut exposed = Exposed::new(short());
    let named = |pod| {
        let resource =
            [("service.name", "a"), ("service.instance.id", "i"), ("a.b", "1"), ("a_b", "2"), pod];
        entry(&resource, Vec::new())
    };
    exposed.observe(vec![named(("pod", "p1"))]);
    exposed.pass(1);
    exposed.observe(vec![named(("pod", "p2"))]);
    let expected = "target_info{a_b=\"1;2\",instance=\"i\",job=\"a\",pod=\"p2\"} 1";
    assert_eq!(exposed.samples(), [expected]);
    exposed.observe(vec![entry(&[("service.name", "b")], Vec::new())]);
    assert_eq!(exposed.samples(), [expected], "a target has an instance");
}

#[test]
fn the_first_description_stays() {
    let exposed = Exposed::new(short());
    for (description, value) in [("one\ntwo", 1.0), ("other", 2.0)] {
        let gauge = gauge(value, Vec::new());
        let described = Metric { description: description.to_owned(), ..metric("x", "", gauge) };
        exposed.observe(vec![entry(&[], vec![described])]);
    }
    assert_eq!(exposed.text(), "# HELP x one\\ntwo\n# TYPE x gauge\nx 2\n");
}
