//! Exponential histograms, in protobuf and as text, and what else protobuf holds.
//!
//! The messages are read by types of their own, written from `metrics.proto`.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, exemplar,
};

use super::text::{CART, J, S, cart};
use super::*;

const PROTOBUF: &str = "application/vnd.google.protobuf; \
     proto=io.prometheus.client.MetricFamily; encoding=delimited";

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<PromMetric>,
}

#[derive(Clone, PartialEq, Message)]
struct PromMetric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<Label>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<One>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Native>,
    #[prost(int64, optional, tag = "6")]
    timestamp_ms: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct One {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(message, optional, tag = "2")]
    exemplar: Option<PromExemplar>,
    #[prost(message, optional, tag = "3")]
    created: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
struct Native {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "9")]
    negative_span: Vec<Span>,
    #[prost(sint64, repeated, packed = "false", tag = "10")]
    negative_delta: Vec<i64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created: Option<Time>,
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<PromExemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<PromExemplar>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Span {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct PromExemplar {
    #[prost(message, repeated, tag = "1")]
    label: Vec<Label>,
    #[prost(double, optional, tag = "2")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn families(exposed: &Exposed) -> Vec<MetricFamily> {
    let bytes = exposed.bytes(PROTOBUF);
    let mut rest = &bytes[..];
    let mut families = Vec::new();
    while !rest.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
    }
    families
}

fn exponential(temporality: i32, points: Vec<ExponentialHistogramDataPoint>) -> Data {
    let aggregation_temporality = temporality;
    Data::ExponentialHistogram(ExponentialHistogram {
        data_points: points,
        aggregation_temporality,
    })
}

/// Example 16's.
fn duration() -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        start_time_unix_nano: START,
        time_unix_nano: TIME,
        count: 6,
        sum: Some(3.5),
        scale: 10,
        zero_count: 1,
        positive: Some(Buckets { offset: -5, bucket_counts: vec![1, 0, 2, 0, 0, 2] }),
        ..ExponentialHistogramDataPoint::default()
    }
}

fn observe(exposed: &Exposed, temporality: i32, point: ExponentialHistogramDataPoint) -> Observed {
    let data = exponential(temporality, vec![point]);
    exposed.observe(vec![entry(&CART, vec![metric("d", "s", data)])])
}

fn native(exposed: &Exposed) -> Native {
    let family = families(exposed).into_iter().find(|family| family.kind == Some(4)).unwrap();
    family.metric[0].histogram.clone().unwrap()
}

/// Example 16, in protobuf.
#[test]
fn an_exponential_histogram_is_a_native_one() {
    let exposed = Exposed::new(&short());
    observe(&exposed, CUMULATIVE, duration());
    let expected = Native {
        count: Some(6),
        sum: Some(3.5),
        schema: Some(8),
        zero_threshold: Some(1e-128),
        zero_count: Some(1),
        positive_span: vec![Span { offset: Some(-1), length: Some(3) }],
        positive_delta: vec![1, 1, 0],
        created: Some(Time { seconds: 1_700_000_000, nanos: 0 }),
        ..Native::default()
    };
    assert_eq!(native(&exposed), expected);
}

/// Example 16, as text, where the Collector writes the last bucket only.
#[test]
fn an_exponential_histogram_has_buckets_as_text() {
    let exposed = Exposed::new(&short());
    observe(&exposed, CUMULATIVE, duration());
    assert_eq!(
        exposed.samples()[..7],
        [
            format!("d_seconds_bucket{{{J},le=\"0\"}} 1"),
            format!("d_seconds_bucket{{{J},le=\"0.5\"}} 1"),
            format!("d_seconds_bucket{{{J},le=\"1\"}} 4"),
            format!("d_seconds_bucket{{{J},le=\"2\"}} 6"),
            format!("d_seconds_bucket{{{J},le=\"+Inf\"}} 6"),
            format!("d_seconds_sum{{{J}}} 3.5"),
            format!("d_seconds_count{{{J}}} 6"),
        ]
    );
}

#[test]
fn classic_buckets_stand_beside_native_ones_when_asked_for() {
    let exposed = Exposed::new(&PrometheusConfig { keep_classic_histograms: true, ..short() });
    observe(&exposed, CUMULATIVE, duration());
    let native = native(&exposed);
    assert_eq!(native.positive_delta, [1, 1, 0]);
    let buckets: Vec<_> = native
        .bucket
        .iter()
        .map(|bucket| (bucket.upper_bound.unwrap(), bucket.cumulative_count.unwrap()))
        .collect();
    assert_eq!(buckets, [(0.0, 1), (0.5, 1), (1.0, 4), (2.0, 6)]);
}

/// The Collector drops such a histogram.
#[test]
fn a_histogram_coarser_than_any_schema_has_classic_buckets() {
    let exposed = Exposed::new(&short());
    let positive = Some(Buckets { offset: 0, bucket_counts: vec![5] });
    observe(
        &exposed,
        CUMULATIVE,
        ExponentialHistogramDataPoint { scale: -6, positive, zero_count: 0, ..duration() },
    );
    let native = native(&exposed);
    assert_eq!((native.schema, native.positive_span.len()), (None, 0));
    let bounds: Vec<_> = native.bucket.iter().filter_map(|bucket| bucket.upper_bound).collect();
    assert_eq!(bounds, [1.0, 2_f64.powi(64)]);
}

#[test]
fn exponential_deltas_are_added_up_at_the_coarser_scale() {
    let exposed = Exposed::new(&short());
    observe(&exposed, DELTA, duration());
    let next = ExponentialHistogramDataPoint {
        start_time_unix_nano: TIME,
        time_unix_nano: TIME + 1_000_000_000,
        scale: 0,
        count: 3,
        sum: Some(4.0),
        zero_count: 0,
        positive: Some(Buckets { offset: -1, bucket_counts: vec![1, 2] }),
        ..duration()
    };
    observe(&exposed, DELTA, next.clone());
    let native = native(&exposed);
    assert_eq!((native.count, native.sum, native.schema), (Some(9), Some(7.5), Some(0)));
    assert_eq!(native.zero_count, Some(1));
    // (0.5, 1]: 1 + 2 + 1, (1, 2]: 2 + 2.
    assert_eq!(native.positive_span, [Span { offset: Some(0), length: Some(2) }]);
    assert_eq!(native.positive_delta, [4, 0]);
    let again = observe(&exposed, DELTA, next);
    assert_eq!(dropped(&again, Reason::OverlappingDelta), 1);
}

/// The Collector takes the bound of a bucket for another one's, and so loses values.
#[test]
fn different_zero_thresholds_are_merged_without_loss() {
    let exposed = Exposed::new(&short());
    observe(&exposed, CUMULATIVE, duration());
    let data = exponential(
        CUMULATIVE,
        vec![ExponentialHistogramDataPoint {
            count: 2,
            sum: Some(1.0),
            scale: 10,
            zero_count: 1,
            zero_threshold: 0.999,
            positive: Some(Buckets { offset: 0, bucket_counts: vec![1] }),
            ..duration()
        }],
    );
    let other = [CART[0], CART[1], CART[2], ("k8s.pod.name", "cart-8")];
    let observed = exposed.observe(vec![entry(&other, vec![metric("d", "s", data)])]);
    assert_eq!(observed.merged, 1);
    let native = native(&exposed);
    let mut count = 0;
    let in_buckets: i64 = native
        .positive_delta
        .iter()
        .map(|delta| {
            count += delta;
            count
        })
        .sum();
    assert_eq!(native.count, Some(8));
    assert_eq!(i64::try_from(native.zero_count.unwrap()).unwrap() + in_buckets, 8);
    assert!(native.zero_count > Some(2) && native.zero_threshold >= Some(0.999));
}

#[test]
fn an_explicit_histogram_takes_in_an_exponential_one_of_equal_labels() {
    let exposed = Exposed::new(&short());
    observe(&exposed, CUMULATIVE, duration());
    let explicit = histogram(CUMULATIVE, &[1.0, 3.0], &[2, 1, 1], 5.0);
    exposed.observe(vec![entry(&CART, vec![metric("d", "s", explicit.into())])]);
    let samples = exposed.samples();
    assert_eq!(samples[0], format!("d_seconds_bucket{{{J},le=\"1\"}} 6"));
    assert_eq!(samples[1], format!("d_seconds_bucket{{{J},le=\"+Inf\"}} 10"));
}

#[test]
fn protobuf_holds_counters_gauges_and_explicit_buckets() {
    let exposed = Exposed::new(&PrometheusConfig { send_timestamps: true, ..short() });
    exposed.observe(vec![cart()]);
    let families = families(&exposed);
    let heads: Vec<_> =
        families.iter().map(|family| (family.name.as_deref().unwrap(), family.kind)).collect();
    assert_eq!(
        heads,
        [
            ("target_info", Some(1)),
            ("traces_span_metrics_calls_total", Some(0)),
            ("traces_span_metrics_duration_milliseconds", Some(4)),
        ]
    );
    let target = &families[0].metric[0];
    assert_eq!(families[0].help.as_deref(), Some("Target metadata"));
    assert_eq!(target.gauge, Some(One { value: Some(1.0) }));
    assert_eq!(target.timestamp_ms, None);
    let calls = &families[1].metric[0];
    let labels: Vec<_> =
        calls.label.iter().map(|label| format!("{}=\"{}\"", label.name(), label.value())).collect();
    assert_eq!(labels.join(","), format!("{J},{S}"));
    assert_eq!(calls.counter.as_ref().unwrap().value, Some(142.0));
    assert_eq!(calls.timestamp_ms, Some(1_700_000_060_123));
    let duration = families[2].metric[0].histogram.as_ref().unwrap();
    let bucket = |upper_bound, count| Bucket {
        cumulative_count: Some(count),
        upper_bound: Some(upper_bound),
        exemplar: None,
    };
    assert_eq!(duration.bucket, [bucket(2.0, 1), bucket(100.0, 4), bucket(15_000.0, 4)]);
    assert_eq!((duration.count, duration.schema), (Some(5), None));
}

#[test]
fn a_native_histogram_has_exemplars() {
    let exposed = Exposed::new(&PrometheusConfig { enable_open_metrics: true, ..short() });
    let exemplars = vec![Exemplar {
        time_unix_nano: TIME,
        trace_id: (1..=16).collect(),
        value: Some(exemplar::Value::AsDouble(1.0)),
        ..Exemplar::default()
    }];
    observe(&exposed, CUMULATIVE, ExponentialHistogramDataPoint { exemplars, ..duration() });
    let native = native(&exposed);
    assert_eq!(native.exemplars.len(), 1);
    assert_eq!(native.exemplars[0].label[0].name(), "trace_id");
    assert_eq!(
        native.exemplars[0].timestamp,
        Some(Time { seconds: 1_700_000_060, nanos: 123_000_000 })
    );
}

/// A message says how long it is, so it is in memory as a whole.
#[test]
fn a_large_family_is_cut_into_messages_of_one_name() {
    let exposed = Exposed::new(&short());
    let long = "x".repeat(1 << 20);
    let points = (0..6).map(|index| NumberDataPoint {
        attributes: attributes(&[("long", &long), ("index", &index.to_string())]),
        ..point(1.0, TIME)
    });
    let data = sum(CUMULATIVE, true, points.collect());
    exposed.observe(vec![entry(&[], vec![metric("m", "", data)])]);
    let families = families(&exposed);
    assert!(families.iter().all(|family| family.name.as_deref() == Some("m_total")));
    let counts: Vec<_> = families.iter().map(|family| family.metric.len()).collect();
    assert_eq!(counts, [4, 2]);
}
