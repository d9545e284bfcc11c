//! Names, labels and text, after the Collector's real output.

use opentelemetry_proto::tonic::common::v1::ArrayValue;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{Summary, SummaryDataPoint};

use super::*;
use crate::prometheus::names::{Charset, TranslationStrategy};
use crate::prometheus::resource_attributes::{ResourceConversionConfig, ResourceLabelsConfig};

pub(super) const CART: [(&str, &str); 4] = [
    ("service.name", "cart"),
    ("service.namespace", "shop"),
    ("service.instance.id", "i-1"),
    ("k8s.pod.name", "cart-7"),
];
pub(super) const S: &str = "service_name=\"cart\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"GET /item\",status_code=\"STATUS_CODE_UNSET\"";
pub(super) const J: &str = "instance=\"i-1\",job=\"shop/cart\"";
pub(super) const O: &str =
    "otel_scope_name=\"spanmetricsconnector\",otel_scope_schema_url=\"\",otel_scope_version=\"\"";

/// The input of the Collector's examples.
pub(super) fn cart() -> ResourceMetrics {
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
    let exposed = Exposed::new(&PrometheusConfig::default());
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
    let exposed = Exposed::new(&PrometheusConfig {
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
    let exposed = Exposed::new(&convert(false));
    exposed.observe(vec![cart()]);
    assert_eq!(
        exposed.samples()[1],
        "traces_span_metrics_calls_total{instance=\"i-1\",job=\"shop/cart\",k8s_pod_name=\"cart-7\",\
         service_instance_id=\"i-1\",service_name=\"cart\",service_namespace=\"shop\",\
         span_kind=\"SPAN_KIND_SERVER\",span_name=\"GET /item\",status_code=\"STATUS_CODE_UNSET\"} 142"
    );
    let exposed = Exposed::new(&convert(true));
    exposed.observe(vec![cart()]);
    let expected =
        format!("traces_span_metrics_calls_total{{{J},k8s_pod_name=\"cart-7\",{S}}} 142");
    assert_eq!(exposed.samples()[1], expected);

    let exposed = Exposed::new(&convert(false));
    let own = gauge(1.0, attributes(&[("span.name", "DP")]));
    exposed.observe(vec![entry(&[("span.name", "RES")], vec![metric("x", "", own)])]);
    assert_eq!(exposed.samples(), ["x{span_name=\"RES\"} 1"]);
}

#[test]
fn suffixes_can_be_left_out() {
    let exposed = Exposed::new(&PrometheusConfig {
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
    let exposed = Exposed::new(&short());
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
    let exposed = Exposed::new(&short());
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
fn scope_attributes_become_labels() {
    let exposed = Exposed::new(&PrometheusConfig::default());
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
    let exposed = Exposed::new(&short());
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
    let mut exposed = Exposed::new(&short());
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
    let exposed = Exposed::new(&short());
    for (description, value) in [("one\ntwo", 1.0), ("other", 2.0)] {
        let gauge = gauge(value, Vec::new());
        let described = Metric { description: description.to_owned(), ..metric("x", "", gauge) };
        exposed.observe(vec![entry(&[], vec![described])]);
    }
    assert_eq!(exposed.text(), "# HELP x one\\ntwo\n# TYPE x gauge\nx 2\n");
}

/// Example 15: the Collector exposes one of them, and which one is chance.
#[test]
fn two_types_under_one_name_are_both_exposed() {
    let counter = metric("x", "", counter(5.0, TIME));
    let gauge = metric("x.total", "", gauge(7.0, Vec::new()));
    for metrics in [vec![counter.clone(), gauge.clone()], vec![gauge, counter]] {
        let exposed = Exposed::new(&short());
        let observed = exposed.observe(vec![entry(&[], metrics)]);
        assert_eq!(observed, Observed::default());
        assert_eq!(exposed.samples(), ["x_total 5", "x_total_gauge 7"]);
        assert_eq!(exposed.collection.lock().unwrap().plan(Charset::Legacy).renamed, 1);
    }
}

/// Examples 5 and 6: only the strategy, or the gate turned off, takes suffixes away.
#[test]
fn metric_suffixes_are_left_out_with_the_gate_off() {
    let of = |disable_add_metric_suffixes| {
        let exposed = Exposed::new(&PrometheusConfig {
            add_metric_suffixes: false,
            disable_add_metric_suffixes,
            ..short()
        });
        exposed.observe(vec![cart()]);
        exposed.samples()[1].clone()
    };
    assert_eq!(of(true), format!("traces_span_metrics_calls_total{{{J},{S}}} 142"));
    assert_eq!(of(false), format!("traces_span_metrics_calls{{{J},{S}}} 142"));
}

const UTF8: &str = "text/plain;version=1.0.0;escaping=allow-utf-8";

/// Examples 7 and 8.
#[test]
fn untranslated_names_are_for_scrapers_that_take_them() {
    let strategy = |strategy| {
        let exposed =
            Exposed::new(&PrometheusConfig { translation_strategy: Some(strategy), ..short() });
        exposed.observe(vec![cart()]);
        exposed
    };
    let escaped = strategy(TranslationStrategy::UnderscoreEscapingWithoutSuffixes);
    let kept = strategy(TranslationStrategy::NoTranslation);
    assert_eq!(kept.text(), escaped.text());
    assert_eq!(escaped.text_for(UTF8), escaped.text(), "what was escaped stays so");
    let text = kept.text_for(UTF8);
    assert!(text.contains("# TYPE \"traces.span.metrics.calls\" counter\n"), "{text}");
    let sample = format!(
        "{{\"traces.span.metrics.calls\",{J},\"service.name\"=\"cart\",\
         \"span.kind\"=\"SPAN_KIND_SERVER\",\"span.name\"=\"GET /item\",\
         \"status.code\"=\"STATUS_CODE_UNSET\"}} 142"
    );
    assert!(samples(&text).contains(&sample), "{text}");
    let target = format!("target_info{{{J},\"k8s.pod.name\"=\"cart-7\"}} 1");
    assert!(samples(&text).contains(&target), "{text}");
}

/// Example 9.
#[test]
fn suffixes_go_with_untranslated_names() {
    let exposed = Exposed::new(&PrometheusConfig {
        translation_strategy: Some(TranslationStrategy::NoUtf8EscapingWithSuffixes),
        ..short()
    });
    exposed.observe(vec![cart()]);
    let text = exposed.text_for(UTF8);
    assert!(text.contains("\n{\"traces.span.metrics.calls_total\","), "{text}");
    assert!(text.contains("\n{\"traces.span.metrics.duration_milliseconds_bucket\","), "{text}");
    assert!(text.contains("\"status.code\"=\"STATUS_CODE_UNSET\",le=\"2\"} 1\n"), "{text}");
}

#[test]
fn series_that_coincide_once_they_are_escaped_are_added_up() {
    let exposed = Exposed::new(&PrometheusConfig {
        translation_strategy: Some(TranslationStrategy::NoTranslation),
        ..short()
    });
    let labelled = |key, value| NumberDataPoint {
        attributes: attributes(&[(key, "x"), ("z", "1")]),
        ..point(value, TIME)
    };
    let points = vec![labelled("a.b", 1.0), labelled("a_b", 2.0), labelled("a.c", 4.0)];
    let metrics = vec![
        metric("m.n", "", sum(CUMULATIVE, true, points)),
        metric("m_n", "", sum(CUMULATIVE, true, vec![labelled("a.b", 8.0)])),
    ];
    exposed.observe(vec![entry(&[], metrics)]);
    assert_eq!(exposed.samples(), ["m_n{a_b=\"x\",z=\"1\"} 11", "m_n{a_c=\"x\",z=\"1\"} 4"]);
    assert_eq!(samples(&exposed.text_for(UTF8)).len(), 4);
}

/// Example 17, besides the names of labels.
#[test]
fn a_boolean_attribute_is_a_label() {
    let exposed = Exposed::new(&short());
    let overflow = vec![attribute("otel.metric.overflow", Value::BoolValue(true))];
    exposed.observe(vec![entry(&[], vec![metric("x", "", gauge(1.0, overflow))])]);
    assert_eq!(exposed.samples(), ["x{otel_metric_overflow=\"true\"} 1"]);
}

#[test]
fn resource_attributes_become_labels_by_pattern() {
    let patterns = |included: &[&str], excluded: &[&str]| {
        let own = |patterns: &[&str]| patterns.iter().map(|text| (*text).to_owned()).collect();
        let exposed = Exposed::new(&PrometheusConfig {
            resource_constant_labels: ResourceLabelsConfig {
                included: own(included),
                excluded: own(excluded),
            },
            ..short()
        });
        exposed.observe(vec![entry(&CART, vec![metric("x", "", gauge(1.0, Vec::new()))])]);
        let samples = exposed.samples();
        assert!(samples[0].contains("k8s_pod_name"), "the target keeps what it has");
        samples[1].clone()
    };
    let pod = format!("x{{{J},k8s_pod_name=\"cart-7\"}} 1");
    assert_eq!(patterns(&["k8s.pod.*"], &[]), pod);
    assert_eq!(patterns(&[], &["service.*"]), pod);
    assert_eq!(patterns(&["k8s.*"], &["*.name"]), format!("x{{{J}}} 1"));
}

#[test]
fn a_constant_label_gives_way_to_where_a_series_comes_from() {
    let exposed = Exposed::new(&PrometheusConfig {
        const_labels: [("job".to_owned(), "mine".to_owned())].into(),
        ..short()
    });
    let own = attributes(&[("job", "own")]);
    exposed.observe(vec![entry(&[("service.name", "a")], vec![metric("x", "", gauge(1.0, own))])]);
    let expected = "x{exported_exported_job=\"own\",exported_job=\"mine\",job=\"a\"} 1";
    assert_eq!(exposed.samples(), [expected]);
}
