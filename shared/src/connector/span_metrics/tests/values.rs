//! Names, dimensions, buckets, times and sums.

use std::time::Duration;

use super::*;
use crate::config::Section;
use crate::connector::span_metrics::aggregate::Observed;
use crate::connector::span_metrics::config::{
    AggregationTemporality, ExplicitConfig, HistogramConfig, Unit,
};

#[track_caller]
fn check_default_dimensions(kind: i32, status: Option<i32>, expected: &str) {
    let config = SpanMetricsConfig { initial_zero: false, ..SpanMetricsConfig::default() };
    let aggregator = aggregator(&config);
    let status = status.map(|code| trace_v1::Status { code, ..trace_v1::Status::default() });
    let span = trace_v1::Span { kind, status, ..span("GET /item", 5) };
    aggregator.observe(&batch(vec![service("cart", vec![span])]), BEGIN);
    let attributes = format!(
        "{{service.name=cart,span.name=GET /item,{expected},collector.instance.id=backend-0}}"
    );
    let points = collect(&aggregator, BEGIN + SECOND);
    let series: Vec<&String> = points.keys().collect();
    assert_eq!(
        series,
        [
            &format!("traces.span.metrics.calls{attributes}"),
            &format!("traces.span.metrics.duration{attributes}")
        ]
    );
}

#[test]
fn default_dimensions_have_the_collectors_values() {
    let unset = "status.code=STATUS_CODE_UNSET";
    check_default_dimensions(0, None, &format!("span.kind=SPAN_KIND_UNSPECIFIED,{unset}"));
    check_default_dimensions(1, Some(0), &format!("span.kind=SPAN_KIND_INTERNAL,{unset}"));
    check_default_dimensions(2, Some(1), "span.kind=SPAN_KIND_SERVER,status.code=STATUS_CODE_OK");
    check_default_dimensions(
        3,
        Some(2),
        "span.kind=SPAN_KIND_CLIENT,status.code=STATUS_CODE_ERROR",
    );
    check_default_dimensions(4, Some(7), &format!("span.kind=SPAN_KIND_PRODUCER,{unset}"));
    check_default_dimensions(5, None, &format!("span.kind=SPAN_KIND_CONSUMER,{unset}"));
    check_default_dimensions(9, None, &format!("span.kind=,{unset}"));
}

#[test]
fn a_dimension_is_the_spans_else_the_resources_else_the_default_else_left_out() {
    let mut config = bare(&["a"]);
    config.dimensions.push(dimension("b", Some("none")));
    config.dimensions.push(dimension("c", None));
    config.histogram.disable = true;
    let aggregator = aggregator(&config);
    let with = |attributes: Vec<KeyValue>| trace_v1::Span { attributes, ..span("x", 1) };
    let resource = vec![text("service.name", "s"), text("a", "resource")];
    let spans = vec![
        with(vec![text("a", "span"), attribute("c", Value::IntValue(200))]),
        with(vec![text("b", "span")]),
        with(vec![text("c", "200")]),
    ];
    aggregator.observe(&batch(vec![entry(resource, spans)]), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    assert_eq!(
        counts(&points),
        [
            ("calls{service.name=s,span.name=x,a=resource,b=none,c=200}", 1),
            ("calls{service.name=s,span.name=x,a=resource,b=span}", 1),
            ("calls{service.name=s,span.name=x,a=span,b=none,c=int 200}", 1),
        ]
    );
}

#[test]
fn each_metric_may_have_dimensions_of_its_own() {
    let mut config = bare(&["a"]);
    config.calls_dimensions = vec![dimension("b", None)];
    config.histogram.dimensions = vec![dimension("c", None)];
    let aggregator = aggregator(&config);
    let span = |b, c| trace_v1::Span {
        attributes: vec![text("a", "1"), text("b", b), text("c", c)],
        ..span("x", 1)
    };
    let spans = vec![span("p", "m"), span("q", "m"), span("p", "n"), span("p", "m")];
    aggregator.observe(&batch(vec![service("s", spans)]), BEGIN);
    assert_eq!(aggregator.series(), 4);
    let points = collect(&aggregator, BEGIN + SECOND);
    assert_eq!(
        counts(&points),
        [
            ("calls{service.name=s,span.name=x,a=1,b=p}", 3),
            ("calls{service.name=s,span.name=x,a=1,b=q}", 1),
            ("duration{service.name=s,span.name=x,a=1,c=m}", 3),
            ("duration{service.name=s,span.name=x,a=1,c=n}", 1),
        ]
    );
}

#[track_caller]
fn check_bucket(nanos: u64, unit: Unit, bucket: usize, sum: f64) {
    let buckets = [2, 100, 15_000].map(Duration::from_millis).to_vec();
    let mut config = bare(&[]);
    config.histogram = HistogramConfig { unit, ..HistogramConfig::default() };
    config.histogram.explicit = Section::on(ExplicitConfig { buckets });
    let aggregator = aggregator(&config);
    let span = trace_v1::Span { end_time_unix_nano: SECOND + nanos, ..span("x", 0) };
    aggregator.observe(&batch(vec![service("s", vec![span])]), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    let point = &points["duration{service.name=s,span.name=x}"];
    let filled: Vec<_> = point.buckets.iter().positions();
    assert_eq!((filled, point.sum), (vec![bucket], sum), "{nanos} ns");
}

/// The indices of what is not zero.
trait Positions {
    fn positions(self) -> Vec<usize>;
}

impl<'a, I: Iterator<Item = &'a u64>> Positions for I {
    fn positions(self) -> Vec<usize> {
        self.enumerate().filter(|(_, count)| **count > 0).map(|(index, _)| index).collect()
    }
}

#[test]
fn a_bucket_includes_its_upper_bound() {
    check_bucket(0, Unit::Milliseconds, 0, 0.0);
    check_bucket(2_000_000, Unit::Milliseconds, 0, 2.0);
    check_bucket(2_000_001, Unit::Milliseconds, 1, 2.000_001);
    check_bucket(100_000_000, Unit::Seconds, 1, 0.1);
    check_bucket(100_000_001, Unit::Seconds, 2, 0.100_000_001);
    check_bucket(20_000_000_000, Unit::Seconds, 3, 20.0);
}

#[test]
fn a_span_that_ends_before_it_starts_lasts_no_time() {
    let aggregator = aggregator(&bare(&[]));
    let span = trace_v1::Span { end_time_unix_nano: 5, ..span("x", 0) };
    aggregator.observe(&batch(vec![service("s", vec![span])]), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    assert_eq!(points["duration{service.name=s,span.name=x}"].sum.to_bits(), 0.0_f64.to_bits());
}

#[test]
fn a_series_has_its_true_value_and_start_from_the_first_flush_on() {
    let aggregator = aggregator(&bare(&[]));
    let spans = batch(vec![service("s", vec![span("x", 3), span("x", 4)])]);
    aggregator.observe(&spans, BEGIN + SECOND);
    let series = "calls{service.name=s,span.name=x}";
    for (flush, count) in [(10, 2), (20, 4), (30, 6)] {
        let point = collect(&aggregator, BEGIN + flush * SECOND)[series].clone();
        assert_eq!((point.count, point.start_ns), (count, BEGIN + SECOND));
        assert_eq!(point.time_ns, BEGIN + flush * SECOND);
        aggregator.observe(&spans, BEGIN + (flush + 1) * SECOND);
    }
}

#[test]
fn deltas_join_without_a_gap_and_keep_no_state() {
    let mut config = bare(&[]);
    config.aggregation_temporality = AggregationTemporality::Delta;
    let aggregator = aggregator(&config);
    let spans = batch(vec![service("s", vec![span("x", 3)])]);
    let series = "calls{service.name=s,span.name=x}";
    for flush in [10, 20] {
        aggregator.observe(&spans, BEGIN + (flush - 1) * SECOND);
        let point = collect(&aggregator, BEGIN + flush * SECOND)[series].clone();
        assert_eq!(point.count, 1);
        assert_eq!(point.start_ns, BEGIN + (flush - 10) * SECOND);
        assert_eq!((aggregator.series(), aggregator.resources()), (0, 0));
    }
    assert!(collect(&aggregator, BEGIN + 30 * SECOND).is_empty());
}

#[test]
fn the_emitted_resource_has_all_attributes_and_its_order_does_not_matter() {
    let aggregator = aggregator(&bare(&[]));
    let attributes = vec![text("service.name", "s"), text("k8s.pod.name", "p")];
    let reversed = attributes.iter().cloned().rev().collect();
    aggregator.observe(&batch(vec![entry(attributes.clone(), vec![span("x", 1)])]), BEGIN);
    aggregator.observe(&batch(vec![entry(reversed, vec![span("x", 1)])]), BEGIN);
    assert_eq!(aggregator.resources(), 1);
    let batches = aggregator.collect(BEGIN + SECOND).batches;
    let request = ExportMetricsServiceRequest::decode(batches[0].bytes().clone()).unwrap();
    let resource = request.resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(resource.attributes, attributes);
    let names: Vec<_> = request.resource_metrics[0].scope_metrics[0]
        .metrics
        .iter()
        .map(|metric| (metric.name.as_str(), metric.unit.as_str()))
        .collect();
    assert_eq!(names, [("calls", ""), ("duration", "ms")]);
}

#[test]
fn a_resource_is_known_again_whatever_came_between() {
    let config = SpanMetricsConfig { resource_metrics_cache_size: 2_000, ..bare(&[]) };
    let aggregator = aggregator(&config);
    for _ in 0..2 {
        for number in 0..1_500 {
            let service = service(&format!("s{number}"), vec![span("x", 1)]);
            aggregator.observe(&batch(vec![service]), BEGIN);
        }
    }
    assert_eq!((aggregator.resources(), aggregator.series()), (1_500, 1_500));
    let points = collect(&aggregator, BEGIN + SECOND);
    assert!(points.values().all(|point| point.count == 2), "{points:?}");
}

#[test]
fn key_attributes_alone_tell_resources_apart() {
    let mut config = bare(&[]);
    config.resource_metrics_key_attributes = vec!["k8s.deployment.name".to_owned()];
    let aggregator = aggregator(&config);
    let resource = |service: &str, pid| {
        let pid = attribute("process.pid", Value::IntValue(pid));
        entry(vec![text("service.name", service), pid], vec![span("x", 1)])
    };
    aggregator.observe(&batch(vec![resource("a", 1), resource("a", 2), resource("b", 1)]), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    let calls: Vec<_> = counts(&points).into_iter().take(2).collect();
    let [a, b] = ["calls{service.name=a,span.name=x}", "calls{service.name=b,span.name=x}"];
    assert_eq!(calls, [(a, 2), (b, 1)]);
}

#[test]
fn spans_without_a_service_are_skipped_and_counted() {
    let aggregator = aggregator(&bare(&[]));
    let nameless = entry(vec![text("host.name", "h")], vec![span("x", 1), span("y", 1)]);
    let numbered = entry(vec![attribute("service.name", Value::IntValue(3))], vec![span("x", 1)]);
    let observed = aggregator.observe(&batch(vec![nameless, numbered]), BEGIN);
    assert_eq!(observed, Observed { counted: 1, no_service: 2, tally: observed.tally });
    let points = collect(&aggregator, BEGIN + SECOND);
    assert_eq!(counts(&points)[0], ("calls{service.name=,span.name=x}", 1));
}

#[test]
fn text_that_is_no_utf8_does_not_spoil_the_request() {
    use crate::wire::Writer;
    let aggregator = aggregator(&bare(&["a"]));
    let mut request = Writer::new();
    request.message(1, |entry| {
        entry.message(1, |resource| {
            resource.string_attribute(1, b"service.name", b"s\xff");
            resource.string_attribute(1, b"\xfe", b"v");
        });
        entry.message(2, |scope| {
            scope.message(2, |span| {
                span.bytes(5, b"n\xff");
                span.string_attribute(9, b"a", b"\xff");
            });
        });
    });
    let spans = Batch::parse(Signal::Traces, request.into_vec().into()).unwrap();
    aggregator.observe(&spans, BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    assert_eq!(
        counts(&points)[0],
        ("calls{service.name=s\u{fffd},span.name=n\u{fffd},a=\u{fffd}}", 1)
    );
}
