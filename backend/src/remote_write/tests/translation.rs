//! Data points as samples, in both versions of the protocol.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint,
    Summary, SummaryDataPoint, exemplar,
};

use super::protocol::{Got, read_v1, read_v2};
use super::*;
use crate::prometheus::names::TranslationStrategy;
use crate::prometheus::resource_attributes::ResourceConversionConfig;
use crate::remote_write::config::{Message, TargetInfoConfig};
use crate::remote_write::encode::Encoder;
use crate::remote_write::reason::Reason;
use crate::remote_write::series::STALE;
use crate::remote_write::translate::{Settings, Translation};

fn translate(config: &RemoteWriteConfig, entries: Vec<ResourceMetrics>) -> Translation {
    Settings::new(config).translate(batch(entries).bytes())
}

fn encode(message: Message, translation: &Translation) -> Vec<u8> {
    let mut encoder = Encoder::new(message);
    translation.points.iter().for_each(|point| encoder.point(point));
    let (request, content) = encoder.finish();
    let size: usize = translation.points.iter().map(|point| point.size_bytes).sum();
    assert!(request.len() <= size, "{} bytes, announced as {size}", request.len());
    assert_eq!(content.samples + content.histograms, translation.series as u64);
    request
}

/// What arrives by both versions, which must agree but for what only one of them has.
fn send(config: &RemoteWriteConfig, entries: Vec<ResourceMetrics>) -> Vec<Got> {
    let translation = translate(config, entries);
    let first = read_v1(&encode(Message::V1, &translation)).0;
    let second = read_v2(&encode(Message::V2, &translation));
    assert_eq!(first.len(), second.len());
    for (first, second) in first.into_iter().zip(&second) {
        let mut same = second.clone();
        same.family = None;
        same.start_ms = 0;
        if let Some(histogram) = &mut same.histogram {
            histogram.start_timestamp = 0;
        }
        assert_eq!(format!("{first:?}"), format!("{same:?}"));
    }
    second
}

fn shown(samples: &[Got]) -> Vec<(&str, f64)> {
    samples.iter().map(|got| (got.series.as_str(), got.value)).collect()
}

#[track_caller]
fn check(config: &RemoteWriteConfig, entries: Vec<ResourceMetrics>, expected: &[(&str, f64)]) {
    assert_eq!(shown(&send(config, entries)), expected);
}

fn one(resource: &[(&str, &str)], name: &str, data: Data) -> Vec<ResourceMetrics> {
    vec![entry(resource, vec![metric(name, "ms", data)])]
}

const CART: &[(&str, &str)] =
    &[("service.name", "cart"), ("service.namespace", "shop"), ("service.instance.id", "i-1")];

#[test]
fn counters_say_where_they_come_from_and_since_when_they_count() {
    let config = RemoteWriteConfig::default();
    let data = counter(vec![point(142.0, &[("span.name", "GET /item")])]);
    let got = send(&config, one(CART, "traces.span.metrics.calls", data));
    assert_eq!(
        got[0].series,
        "traces_span_metrics_calls_milliseconds_total{instance=\"i-1\",job=\"shop/cart\",\
         otel_scope_name=\"sc\",otel_scope_team_name=\"x\",otel_scope_version=\"1.2\",\
         span_name=\"GET /item\"}"
    );
    assert_eq!((got[0].value, got[0].time_ms, got[0].start_ms), (142.0, TIME_MS, START_MS));
    let family = (1, "what it is".to_owned(), "milliseconds".to_owned());
    assert_eq!(got[0].family, Some(family));
    assert_eq!(got.len(), 1, "no target_info for a service without further attributes");
}

#[test]
fn gauges_and_sums_that_fall_have_no_start() {
    let data = gauge(vec![point(1.5, &[])]);
    let got = send(&config(""), one(CART, "depth", data));
    assert_eq!((got[0].start_ms, got[0].family.as_ref().unwrap().0), (0, 2));
    let sum = Sum {
        data_points: vec![point(-7.0, &[])],
        aggregation_temporality: CUMULATIVE,
        is_monotonic: false,
    };
    let expected = "inflight_milliseconds{instance=\"i-1\",job=\"shop/cart\"}";
    check(&config(""), one(CART, "inflight", Data::Sum(sum)), &[(expected, -7.0)]);
}

#[test]
fn integers_are_sent_as_doubles() {
    let mut int = point(0.0, &[]);
    int.value = Some(number_data_point::Value::AsInt(-3));
    check(&config(""), one(&[], "depth", gauge(vec![int])), &[("depth_milliseconds{}", -3.0)]);
}

fn exemplar(value: f64, id: u8, pairs: &[(&str, &str)]) -> Exemplar {
    Exemplar {
        filtered_attributes: attributes(pairs),
        time_unix_nano: TIME,
        span_id: vec![id; 8],
        trace_id: vec![id; 16],
        value: Some(exemplar::Value::AsDouble(value)),
    }
}

fn histogram_point() -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: START,
        time_unix_nano: TIME,
        count: 5,
        sum: Some(20_130.25),
        bucket_counts: vec![1, 3, 0, 1],
        explicit_bounds: vec![2.0, 100.0, 15_000.5],
        exemplars: vec![exemplar(12.5, 1, &[]), exemplar(2.0, 2, &[]), exemplar(1e9, 3, &[])],
        ..HistogramDataPoint::default()
    }
}

fn histogram(point: HistogramDataPoint) -> Vec<ResourceMetrics> {
    let histogram = Histogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
    one(&[("service.name", "a")], "d", Data::Histogram(histogram))
}

#[test]
fn a_histogram_is_a_series_for_each_bucket() {
    let got = send(&config(""), histogram(histogram_point()));
    assert_eq!(
        shown(&got),
        [
            ("d_milliseconds_bucket{job=\"a\",le=\"2\"}", 1.0),
            ("d_milliseconds_bucket{job=\"a\",le=\"100\"}", 4.0),
            ("d_milliseconds_bucket{job=\"a\",le=\"15000.5\"}", 4.0),
            ("d_milliseconds_bucket{job=\"a\",le=\"+Inf\"}", 5.0),
            ("d_milliseconds_sum{job=\"a\"}", 20_130.25),
            ("d_milliseconds_count{job=\"a\"}", 5.0),
        ]
    );
    assert!(got.iter().all(|got| got.start_ms == START_MS));
    let exemplars = |index: usize| -> Vec<f64> {
        got[index].exemplars.iter().map(|(_, value, _)| *value).collect()
    };
    // A bucket includes its upper bound.
    assert_eq!([0, 1, 2, 3].map(exemplars), [vec![2.0], vec![12.5], vec![], vec![1e9]]);
    let ids = "{span_id=\"0101010101010101\",trace_id=\"01010101010101010101010101010101\"}";
    assert_eq!(got[1].exemplars, [(ids.to_owned(), 12.5, TIME_MS)]);
}

#[test]
fn a_histogram_that_ended_ends_each_of_its_series() {
    let ended = HistogramDataPoint {
        time_unix_nano: TIME,
        explicit_bounds: vec![2.0],
        flags: 1,
        ..HistogramDataPoint::default()
    };
    let got = send(&config(""), histogram(ended));
    let series: Vec<_> = got.iter().map(|got| got.series.as_str()).collect();
    assert_eq!(
        series,
        [
            "d_milliseconds_bucket{job=\"a\",le=\"2\"}",
            "d_milliseconds_bucket{job=\"a\",le=\"+Inf\"}",
            "d_milliseconds_sum{job=\"a\"}",
            "d_milliseconds_count{job=\"a\"}",
        ]
    );
    assert!(got.iter().all(|got| got.value.to_bits() == STALE.to_bits()));
}

#[test]
fn a_value_that_ended_is_the_special_number() {
    let mut ended = point(5.0, &[]);
    ended.flags = 1;
    let got = send(&config(""), one(&[], "depth", gauge(vec![ended])));
    assert_eq!(got[0].value.to_bits(), 0x7ff0_0000_0000_0002);
}

#[test]
fn explicit_bounds_may_become_those_of_a_native_histogram() {
    let mut config = config("");
    config.convert_explicit_histograms_to_nhcb = true;
    let got = send(&config, histogram(histogram_point()));
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].series, "d_milliseconds{job=\"a\"}");
    let native = got[0].histogram.as_ref().unwrap();
    assert_eq!((native.schema, native.count, native.sum), (-53, 5, 20_130.25));
    assert_eq!(native.custom_values, [2.0, 100.0, 15_000.5]);
    assert_eq!(native.positive_deltas, [1, 2, -3, 1]);
    assert_eq!(got[0].exemplars.len(), 3);
    config.keep_classic_histograms = true;
    assert_eq!(send(&config, histogram(histogram_point())).len(), 7);
}

fn exponential_point() -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        start_time_unix_nano: START,
        time_unix_nano: TIME,
        count: 6,
        sum: Some(3.5),
        scale: 10,
        zero_count: 1,
        positive: Some(Buckets { offset: -5, bucket_counts: vec![1, 0, 2, 0, 0, 2] }),
        exemplars: vec![exemplar(1.0, 1, &[("user.id", "7")])],
        ..ExponentialHistogramDataPoint::default()
    }
}

fn exponential(point: ExponentialHistogramDataPoint) -> Vec<ResourceMetrics> {
    let histogram =
        ExponentialHistogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
    one(&[("service.name", "a")], "d", Data::ExponentialHistogram(histogram))
}

#[test]
fn an_exponential_histogram_is_a_native_one() {
    let got = send(&config(""), exponential(exponential_point()));
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].time_ms, got[0].start_ms), (TIME_MS, START_MS));
    let native = got[0].histogram.as_ref().unwrap();
    assert_eq!((native.schema, native.count, native.zero_count), (8, 6, 1));
    assert_eq!((native.positive_spans[0].offset, native.positive_spans[0].length), (-1, 3));
    assert_eq!(native.positive_deltas, [1, 1, 0]);
    let labels = &got[0].exemplars[0].0;
    assert!(labels.contains("user_id=\"7\""), "{labels}");
    let ended = ExponentialHistogramDataPoint { flags: 1, ..exponential_point() };
    let got = send(&config(""), exponential(ended));
    assert_eq!(got[0].histogram.as_ref().unwrap().sum.to_bits(), STALE.to_bits());
}

#[test]
fn attributes_of_an_exemplar_that_are_too_long_stay_behind_and_its_trace_does_not() {
    let long = exemplar(1.0, 1, &[("text", &"x".repeat(80))]);
    let point = ExponentialHistogramDataPoint { exemplars: vec![long], ..exponential_point() };
    let got = send(&config(""), exponential(point));
    let labels = &got[0].exemplars[0].0;
    assert!(labels.contains("trace_id") && !labels.contains("text"), "{labels}");
}

#[test]
fn a_summary_is_a_series_for_each_quantile() {
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let point = SummaryDataPoint {
        time_unix_nano: TIME,
        count: 3,
        sum: 1.5,
        quantile_values: vec![quantile(0.5, 0.4), quantile(0.99, 0.9)],
        ..SummaryDataPoint::default()
    };
    let data = Data::Summary(Summary { data_points: vec![point] });
    check(
        &config(""),
        one(&[], "rpc", data),
        &[
            ("rpc_milliseconds{quantile=\"0.5\"}", 0.4),
            ("rpc_milliseconds{quantile=\"0.99\"}", 0.9),
            ("rpc_milliseconds_sum{}", 1.5),
            ("rpc_milliseconds_count{}", 3.0),
        ],
    );
}

#[test]
fn labels_that_coincide_are_joined_and_none_is_lost() {
    let attributes = [
        ("http.method", "a"),
        ("http_method", "b"),
        ("job", "mine"),
        ("a..b", "1"),
        ("_x", "2"),
        ("empty", ""),
        ("__name__", "3"),
    ];
    check(
        &config(""),
        one(&[("service.name", "s")], "m", gauge(vec![point(1.0, &attributes)])),
        &[(
            "m_milliseconds{a_b=\"1\",exported_job=\"mine\",http_method=\"a;b\",job=\"s\",\
             key_name_=\"3\",key_x=\"2\"}",
            1.0,
        )],
    );
}

#[test]
fn external_labels_give_way_and_may_be_reserved() {
    let mut config = config("");
    for (name, value) in [("region", "eu"), ("cluster.name", "c"), ("__replica__", "r")] {
        config.external_labels.insert(name.to_owned(), value.to_owned());
    }
    check(
        &config,
        one(&[], "m", gauge(vec![point(1.0, &[("region", "us")])])),
        &[("m_milliseconds{__replica__=\"r\",cluster_name=\"c\",region=\"us\"}", 1.0)],
    );
}

#[test]
fn a_target_with_attributes_is_described_at_the_time_of_its_latest_point() {
    let resource = [("service.name", "s"), ("k8s.pod.name", "p"), ("a..b", "1")];
    let mut early = point(1.0, &[("n", "1")]);
    early.time_unix_nano = TIME - 1_000_000_000;
    let entries = || one(&resource, "m", gauge(vec![point(2.0, &[]), early.clone()]));
    let mut config = config("");
    config.namespace = "ns".to_owned();
    let got = send(&config, entries());
    assert_eq!(
        shown(&got),
        [
            ("ns_m_milliseconds{job=\"s\",n=\"1\"}", 1.0),
            ("ns_m_milliseconds{job=\"s\"}", 2.0),
            ("ns_target_info{a__b=\"1\",job=\"s\",k8s_pod_name=\"p\"}", 1.0),
        ]
    );
    assert_eq!(got[2].time_ms, TIME_MS);
    config.target_info = TargetInfoConfig { enabled: false };
    assert_eq!(send(&config, entries()).len(), 2);
}

#[test]
fn resource_attributes_may_become_labels_of_every_series() {
    let mut config = config("");
    config.target_info.enabled = false;
    config.resource_to_telemetry_conversion =
        ResourceConversionConfig { enabled: true, exclude_service_attributes: true };
    check(
        &config,
        one(&[("service.name", "s"), ("k8s.pod.name", "p")], "m", gauge(vec![point(1.0, &[])])),
        &[("m_milliseconds{job=\"s\",k8s_pod_name=\"p\"}", 1.0)],
    );
}

#[test]
fn names_may_stay_as_they_are() {
    let mut config = config("");
    config.translation_strategy = Some(TranslationStrategy::NoTranslation);
    check(
        &config,
        one(&[], "http.calls", counter(vec![point(1.0, &[("http.method", "GET")])])),
        &[("http.calls{http.method=\"GET\"}", 1.0)],
    );
}

fn dropped(entries: Vec<ResourceMetrics>) -> Vec<(Reason, usize)> {
    let dropped = translate(&config(""), entries).dropped;
    Reason::ALL.into_iter().zip(dropped).filter(|(_, items)| *items > 0).collect()
}

#[test]
fn what_cannot_be_sent_has_a_reason() {
    let sum = |aggregation_temporality| Sum {
        data_points: vec![point(1.0, &[]), point(1.0, &[("a", "b")])],
        aggregation_temporality,
        is_monotonic: true,
    };
    for temporality in [0, DELTA] {
        let data = Data::Sum(sum(temporality));
        assert_eq!(dropped(one(&[], "m", data)), [(Reason::Temporality, 2)]);
    }
    let coarse = ExponentialHistogramDataPoint { scale: -5, ..exponential_point() };
    assert_eq!(dropped(exponential(coarse)), [(Reason::Scale, 1)]);
    let unordered = HistogramDataPoint { explicit_bounds: vec![2.0, 1.0], ..histogram_point() };
    assert_eq!(dropped(histogram(unordered)), [(Reason::Invalid, 1)]);
    let mut timeless = point(1.0, &[]);
    timeless.time_unix_nano = 0;
    assert_eq!(dropped(one(&[], "m", gauge(vec![timeless]))), [(Reason::Invalid, 1)]);
    assert_eq!(dropped(one(&[], "...", gauge(vec![point(1.0, &[])]))), [(Reason::Invalid, 1)]);
    let twice = vec![point(1.0, &[]), point(2.0, &[])];
    assert_eq!(dropped(one(&[], "m", gauge(twice))), [(Reason::Duplicate, 1)]);
}
