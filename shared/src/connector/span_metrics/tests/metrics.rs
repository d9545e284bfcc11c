//! The metrics beside calls and durations, and exemplars.

use super::*;
use crate::config::Section;
use crate::connector::span_metrics::config::{
    EventsConfig, ExemplarsConfig, ExponentialConfig, SwitchConfig, Unit,
};

fn child(id: u8, parent: u8, start: u64, end: u64) -> trace_v1::Span {
    trace_v1::Span {
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        start_time_unix_nano: start * 1_000_000,
        end_time_unix_nano: end * 1_000_000,
        ..span(&id.to_string(), 0)
    }
}

#[test]
fn self_times_are_measured_where_a_batch_has_the_whole_trace() {
    let mut config = bare(&[]);
    config.self_time = SwitchConfig { enabled: true };
    config.histogram.disable = true;
    let aggregator = aggregator(&config);
    let nameless = entry(Vec::new(), vec![child(9, 1, 20, 30)]);
    let server = service("a", vec![child(1, 0, 0, 100), child(2, 1, 10, 40)]);
    let observed = aggregator
        .observe(&batch(vec![server, nameless, service("b", vec![child(3, 2, 10, 15)])]), BEGIN);
    assert_eq!((observed.counted, observed.tally.incomplete), (3, 0));
    let points = collect(&aggregator, BEGIN + SECOND);
    for (service, name, sum) in [("a", 1, 70.0), ("a", 2, 25.0), ("b", 3, 5.0)] {
        let point = &points[&format!("self_time{{service.name={service},span.name={name}}}")];
        assert_eq!((point.count, point.sum), (1, sum));
    }
    assert_eq!(points.len(), 6, "calls, but no durations");

    let part = vec![child(1, 0, 0, 100), child(5, 4, 10, 40)];
    let backwards = trace_v1::Span { trace_id: vec![2; 16], ..child(1, 0, 9, 8) };
    let entries = vec![service("a", part), service("a", vec![backwards])];
    let tally = aggregator.observe(&batch(entries), BEGIN).tally;
    assert_eq!((tally.incomplete, tally.unusable), (2, 1));
}

#[test]
fn metrics_have_the_collectors_names_units_and_order() {
    let mut config = SpanMetricsConfig { initial_zero: false, ..SpanMetricsConfig::default() };
    config.self_time = SwitchConfig { enabled: true };
    config.events = EventsConfig { enabled: true, dimensions: vec![dimension("a", None)] };
    let aggregator = aggregator(&config);
    let event = trace_v1::span::Event::default();
    let span = trace_v1::Span { events: vec![event], ..span("x", 1) };
    aggregator.observe(&batch(vec![service("s", vec![span])]), BEGIN);
    let batches = flush(&aggregator, BEGIN + SECOND).batches;
    let request = ExportMetricsServiceRequest::decode(batches[0].bytes().clone()).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let names: Vec<_> =
        metrics.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
    assert_eq!(
        names,
        [
            ("traces.span.metrics.calls", ""),
            ("traces.span.metrics.duration", "ms"),
            ("traces.span.metrics.events", ""),
            ("traces.span.metrics.self_time", "ms"),
        ]
    );
}

#[test]
fn exemplars_are_real_spans_at_most_so_many_for_each_flush() {
    let mut config = bare(&[]);
    config.exemplars =
        ExemplarsConfig { enabled: true, max_per_data_point: 3, ..ExemplarsConfig::default() };
    config.aggregation_cardinality_limit = 1;
    let aggregator = aggregator(&config);
    let traced = |name: &str, trace: u8| trace_v1::Span {
        trace_id: vec![trace; 16],
        ..span(name, u64::from(trace))
    };
    let spans = (1..=50).map(|trace| traced("x", trace)).chain([traced("over", 60)]).collect();
    aggregator.observe(&batch(vec![service("s", spans)]), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    for metric in ["calls", "duration"] {
        let point = &points[&format!("{metric}{{service.name=s,span.name=x}}")];
        assert_eq!((point.count, point.exemplars.len()), (50, 3));
        for (trace, value, time_ns) in &point.exemplars {
            let ended_ns = SECOND + u64::from(*trace) * 1_000_000;
            assert_eq!((*value, *time_ns), (f64::from(*trace), ended_ns));
        }
        let overflow = &points[&format!("{metric}{{otel.metric.overflow=bool true}}")];
        assert_eq!((overflow.count, overflow.exemplars.len()), (1, 0));
    }
    // They are of one flush only.
    let points = collect(&aggregator, BEGIN + 2 * SECOND);
    assert!(points.values().all(|point| point.exemplars.is_empty()));
    // A span without a trace id is none.
    aggregator.observe(&batch(vec![service("s", vec![traced("x", 0)])]), BEGIN + 3 * SECOND);
    let points = collect(&aggregator, BEGIN + 4 * SECOND);
    assert_eq!(points["calls{service.name=s,span.name=x}"].exemplars.len(), 0);
}

#[test]
fn exemplars_count_as_bytes_until_the_flush() {
    let mut config = bare(&[]);
    config.exemplars =
        ExemplarsConfig { enabled: true, max_per_data_point: 100, ..ExemplarsConfig::default() };
    let aggregator = aggregator(&config);
    aggregator.observe(&batch(vec![service("s", vec![span("x", 1)])]), BEGIN);
    let before = aggregator.bytes();
    collect(&aggregator, BEGIN + SECOND);
    assert_eq!(aggregator.bytes(), before);
}

fn exponential(max_size: i32) -> SpanMetricsConfig {
    let mut config = bare(&[]);
    config.histogram.exponential = Section::on(ExponentialConfig { max_size });
    config
}

const DURATION: &str = "duration{service.name=s,span.name=x}";

#[test]
fn durations_may_be_counted_in_buckets_of_exponential_width() {
    let mut config = exponential(160);
    config.exemplars =
        ExemplarsConfig { enabled: true, max_per_data_point: 1, ..ExemplarsConfig::default() };
    let aggregator = aggregator(&config);
    let spans = vec![span("x", 1), span("x", 2), span("x", 0)];
    aggregator.observe(&batch(vec![service("s", spans)]), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    let point = &points[DURATION];
    assert_eq!((point.count, point.sum, point.exponential), (3, 3.0, Some((7, -1))));
    assert_eq!((point.buckets.len(), point.buckets[0], point.buckets[128]), (129, 1, 1));
    assert_eq!(point.exemplars.len(), 1);
    assert_eq!(points["calls{service.name=s,span.name=x}"].count, 3);
    // Counts stay, exemplars do not.
    let points = collect(&aggregator, BEGIN + 2 * SECOND);
    assert_eq!((points[DURATION].count, points[DURATION].exemplars.len()), (3, 0));
}

#[test]
fn exponential_buckets_begin_with_zero_weigh_spans_and_end() {
    let mut config = SpanMetricsConfig { initial_zero: true, ..exponential(4) };
    config.histogram.unit = Unit::Seconds;
    config.series_expiration = std::time::Duration::from_secs(5);
    let aggregator = aggregator(&config);
    let weighed =
        |millis| trace_v1::Span { trace_state: "ot=th:8".to_owned(), ..span("x", millis) };
    let spans = [1000, 2000, 4000, 8000, 16_000].map(weighed).into();
    aggregator.observe(&batch(vec![service("s", spans)]), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    let (begins, value) = (&points[&format!("{DURATION} begins")], &points[DURATION]);
    assert_eq!((begins.count, begins.exponential), (0, Some((0, 0))));
    assert_eq!((value.count, value.sum, value.exponential), (10, 62.0, Some((-1, -1))));
    assert_eq!(value.buckets, [2, 4, 4]);
    let points = collect(&aggregator, BEGIN + 10 * SECOND);
    assert!(points.contains_key(&format!("{DURATION} ended")), "{points:?}");
}

#[test]
fn a_series_of_its_own_buckets_overflows_like_any_other() {
    let mut config = exponential(160);
    config.max_series = 1;
    config.calls_dimensions = vec![dimension("a", None)];
    let aggregator = aggregator(&config);
    aggregator.observe(&batch(vec![service("s", vec![span("x", 1), span("y", 2)])]), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    let overflow = &points["duration{otel.metric.overflow=bool true}"];
    assert_eq!((overflow.count, overflow.sum), (2, 3.0));
}
