use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use shared::Signal;
use shared::wire::Layout;

use super::*;
use crate::plan::{FieldOrder, Look};

fn generate(plan: Plan) -> (Vec<Batch>, Truth) {
    let mut generator = Generator::new(plan, Arc::new(Policies::of_sample_config()));
    let mut requests = Vec::new();
    while let Some(request) = generator.next_request() {
        requests.push(request);
    }
    (requests, generator.into_truth())
}

fn decode(request: &Batch) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(request.bytes().clone()).unwrap()
}

#[test]
fn equal_plans_make_equal_bytes() {
    let (first, _) = generate(Plan::new(7, 50));
    let (second, _) = generate(Plan::new(7, 50));
    assert_eq!(first, second);
    let (other, _) = generate(Plan::new(8, 50));
    assert_ne!(first, other);
}

#[test]
fn the_truth_is_what_a_decoder_finds() {
    let (requests, truth) = generate(Plan::new(3, 300));
    let mut spans: HashMap<[u8; 16], (u32, u64, u64, usize)> = HashMap::new();
    for (index, request) in requests.iter().enumerate() {
        for entry in decode(request).resource_spans {
            assert_eq!(entry.resource.unwrap().attributes.len(), 10);
            for span in entry.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                assert_eq!(span.attributes.len(), 12, "{}", span.name);
                let id = span.trace_id.try_into().unwrap();
                let seen = spans.entry(id).or_insert((0, u64::MAX, 0, index));
                seen.0 += 1;
                seen.1 = seen.1.min(span.start_time_unix_nano);
                seen.2 = seen.2.max(span.end_time_unix_nano);
                assert!(index - seen.3 <= 4, "a trace's spans are close together");
            }
        }
    }
    assert_eq!(truth.traces.len(), 300);
    assert_eq!(spans.len(), 300);
    for trace in &truth.traces {
        let (count, start, end, _) = spans[&trace.id];
        assert_eq!((trace.spans, trace.start_ns, trace.end_ns), (count, start, end));
    }
    assert_eq!(truth.calls.values().sum::<u64>(), truth.spans);
}

#[test]
fn requests_are_as_large_as_planned_and_spans_as_real_ones() {
    let mut plan = Plan::new(1, 2_000);
    plan.spans_per_request = 512;
    plan.services = 8;
    let (requests, truth) = generate(plan);
    let full = requests.iter().filter(|request| request.items() == 512).count();
    assert!(full + 5 >= requests.len(), "{full} of {}", requests.len());
    let bytes_per_span = truth.bytes / truth.spans;
    assert!((540..=600).contains(&bytes_per_span), "{bytes_per_span} bytes a span");
}

#[test]
fn both_field_orders_say_the_same() {
    let (ascending, _) = generate(Plan::new(5, 100));
    let mut plan = Plan::new(5, 100);
    plan.field_order = FieldOrder::Collector;
    let (descending, _) = generate(plan);
    for (ascending, descending) in ascending.iter().zip(&descending) {
        assert_eq!(ascending.layout(), Layout::Leading);
        assert_ne!(descending.layout(), Layout::Leading);
        assert_eq!(decode(ascending), decode(descending));
    }
    let trailing = descending.iter().filter(|batch| batch.layout() == Layout::Trailing).count();
    assert_eq!(trailing, descending.len());
}

/// The requests of a small plan for this signal, in both orders of fields, decoded.
fn in_both_orders<M: prost::Message + Default>(signal: Signal) -> [Vec<M>; 2] {
    [FieldOrder::Sdk, FieldOrder::Collector].map(|field_order| {
        let (requests, _) = generate(Plan { signal, field_order, ..Plan::new(5, 100) });
        requests.iter().map(|request| M::decode(request.bytes().clone()).unwrap()).collect()
    })
}

#[test]
fn a_decoder_finds_a_log_record_for_each_span() {
    let [ascending, descending] = in_both_orders::<ExportLogsServiceRequest>(Signal::Logs);
    assert_eq!(ascending, descending);
    let (_, truth) = generate(Plan::new(5, 100));
    let mut ids = std::collections::HashSet::new();
    for entry in ascending.into_iter().flat_map(|request| request.resource_logs) {
        for record in entry.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            assert_eq!((record.attributes.len(), record.trace_id.len()), (12, 16));
            assert!(record.body.is_some() && record.severity_number > 0);
            assert!(ids.insert((record.trace_id, record.span_id)));
        }
    }
    assert_eq!(ids.len() as u64, truth.spans);
}

#[test]
fn a_decoder_finds_a_data_point_for_each_span() {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    let [ascending, descending] = in_both_orders::<ExportMetricsServiceRequest>(Signal::Metrics);
    assert_eq!(ascending, descending);
    let (_, truth) = generate(Plan::new(5, 100));
    let mut points: HashMap<String, usize> = HashMap::new();
    for entry in ascending.into_iter().flat_map(|request| request.resource_metrics) {
        for metric in entry.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            *points.entry(metric.name).or_default() += match metric.data.unwrap() {
                Data::Gauge(gauge) => gauge.data_points.len(),
                Data::Sum(sum) => {
                    assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
                    sum.data_points.len()
                }
                Data::Histogram(histogram) => {
                    for point in &histogram.data_points {
                        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                    }
                    histogram.data_points.len()
                }
                Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
                Data::Summary(_) => panic!("a summary has no exemplars"),
            };
        }
    }
    assert_eq!(points.len(), 5);
    assert_eq!(points.values().sum::<usize>() as u64, truth.spans);
}

#[test]
fn some_traces_fail_and_some_are_slow() {
    let (_, truth) = generate(Plan::new(11, 5_000));
    let slow = truth.traces.iter().filter(|trace| trace.end_ns - trace.start_ns >= 1_000_000_000);
    assert!((50..300).contains(&slow.count()));
    let failed = |key: &&crate::truth::CallKey| key.status == "STATUS_CODE_ERROR";
    let errors: u64 =
        truth.calls.iter().filter(|(key, _)| failed(key)).map(|(_, count)| count).sum();
    let share = errors * 1000 / truth.spans;
    assert!((10..=30).contains(&share), "{share} of 1000 spans failed");
    let kept = Policies::of_sample_config().kept(&truth).len();
    assert!((800..2_500).contains(&kept), "{kept} of 5000 traces are kept");
}

#[test]
fn a_finished_generator_hands_out_what_it_began() {
    let mut generator = Generator::new(Plan::new(1, u64::MAX), Arc::default());
    let spans: u64 = generator.at_least(1).iter().map(|request| request.items() as u64).sum();
    let expected: u64 = generator.truth().traces.iter().map(|trace| u64::from(trace.spans)).sum();
    assert_eq!(spans, expected);
}

#[test]
fn spans_look_as_planned() {
    let spans = |look, services| {
        let (requests, _) = generate(Plan { services, look, ..Plan::new(3, 20) });
        requests.iter().flat_map(|request| decode(request).resource_spans).collect::<Vec<_>>()
    };
    let tiny = spans(Look::Tiny, 12);
    let plain = spans(Look::Plain, 12);
    assert_eq!(tiny.len(), plain.len(), "the same spans, but for what they carry");
    for group in tiny {
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert!(span.attributes.is_empty() && span.events.is_empty() && span.links.is_empty());
        }
    }
    for group in spans(Look::Fat, 12) {
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert_eq!(span.attributes.len(), 20);
            assert!((100_000..101_500).contains(&span.encoded_len()), "{}", span.encoded_len());
        }
    }
    let one: std::collections::HashSet<_> = spans(Look::Plain, 1)
        .iter()
        .map(|group| group.resource.clone().unwrap().encode_to_vec())
        .collect();
    assert_eq!(one.len(), 1);
}
