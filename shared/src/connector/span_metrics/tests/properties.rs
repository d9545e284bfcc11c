//! Whatever the spans, however they are split and whenever is flushed, merged metrics are those of
//! a naive computation over all spans.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Section;
use crate::connector::span_metrics::config::{
    AggregationTemporality, EventsConfig, ExplicitConfig,
};

/// A span as the naive computation sees it.
#[derive(Debug, Clone)]
struct Row {
    /// Which aggregator it goes to.
    backend: usize,
    /// 3 stands for none.
    service: u8,
    name: u8,
    a: Option<u8>,
    nanos: u64,
    /// The bits of the share that was kept: it stands for 2 to the power of these.
    kept_bits: u32,
    events: usize,
}

/// Aggregators, the rows of batches, and after which of them which aggregators flush.
#[derive(Debug)]
struct Course {
    backends: usize,
    batches: Vec<(Vec<Row>, Vec<bool>)>,
}

fn row() -> impl Strategy<Value = Row> {
    let nanos = prop_oneof![0..20_u64, 0..30_000_000_000_u64];
    let parts =
        (0..5_usize, 0..4_u8, 0..3_u8, proptest::option::of(0..3_u8), nanos, 0..3_u32, 0..3_usize);
    parts.prop_map(|(backend, service, name, a, nanos, kept_bits, events)| Row {
        backend,
        service,
        name,
        a,
        nanos,
        kept_bits,
        events,
    })
}

fn course() -> impl Strategy<Value = Course> {
    let rows = proptest::collection::vec(row(), 0..20);
    let flushes = proptest::collection::vec(any::<bool>(), 5);
    (1..=5_usize, proptest::collection::vec((rows, flushes), 1..10))
        .prop_map(|(backends, batches)| Course { backends, batches })
}

/// One row in each resource entry.
fn entries<'r>(rows: impl Iterator<Item = &'r Row>) -> Vec<trace_v1::ResourceSpans> {
    rows.map(|row| {
        let span = trace_v1::Span {
            end_time_unix_nano: SECOND + row.nanos,
            attributes: row.a.iter().map(|a| text("a", &a.to_string())).collect(),
            trace_state: ["", "ot=th:8", "ot=th:c"][row.kept_bits as usize].to_owned(),
            events: vec![trace_v1::span::Event::default(); row.events],
            ..span(&row.name.to_string(), 0)
        };
        match row.service {
            3 => entry(Vec::new(), vec![span]),
            name => service(&name.to_string(), vec![span]),
        }
    })
    .collect()
}

/// Upper bounds, in milliseconds.
const BOUNDS: [u64; 3] = [2, 100, 15_000];

fn config(temporality: AggregationTemporality) -> SpanMetricsConfig {
    let mut config = bare(&["a"]);
    config.aggregation_temporality = temporality;
    let buckets = BOUNDS.map(Duration::from_millis).to_vec();
    config.histogram.explicit = Section::on(ExplicitConfig { buckets });
    config.events = EventsConfig { enabled: true, dimensions: vec![dimension("b", Some("-"))] };
    config
}

/// What a series came to.
#[derive(Debug, Clone, Default, PartialEq)]
struct Total {
    count: u64,
    nanos: f64,
    buckets: Vec<u64>,
}

impl Total {
    fn add(&mut self, point: &Point) {
        self.count += point.count;
        self.nanos += point.sum;
        self.buckets.resize(point.buckets.len(), 0);
        self.buckets.iter_mut().zip(&point.buckets).for_each(|(all, more)| *all += more);
    }
}

type Totals = BTreeMap<String, Total>;

fn naive(course: &Course) -> Totals {
    let mut totals = Totals::new();
    let rows = course.batches.iter().flat_map(|(rows, _)| rows).filter(|row| row.service < 3);
    for row in rows {
        let a = row.a.map_or_else(String::new, |a| format!(",a={a}"));
        let labels = format!("service.name={},span.name={}{a}", row.service, row.name);
        let weight = 1 << row.kept_bits;
        let calls = totals.entry(format!("calls{{{labels}}}")).or_default();
        calls.count += weight;
        let duration = totals.entry(format!("duration{{{labels}}}")).or_default();
        duration.count += weight;
        #[allow(clippy::cast_precision_loss, reason = "as the metric has it")]
        let millis = (row.nanos * weight) as f64 / 1e6;
        duration.nanos += millis;
        duration.buckets.resize(4, 0);
        let bucket = BOUNDS.iter().position(|bound| row.nanos <= bound * 1_000_000).unwrap_or(3);
        duration.buckets[bucket] += weight;
        if row.events > 0 {
            let events = totals.entry(format!("events{{{labels},b=-}}")).or_default();
            events.count += weight * row.events as u64;
        }
    }
    totals
}

#[track_caller]
fn assert_same(merged: &Totals, naive: &Totals) {
    assert_eq!(merged.keys().collect::<Vec<_>>(), naive.keys().collect::<Vec<_>>());
    for (series, naive) in naive {
        let merged = &merged[series];
        let difference = (merged.nanos - naive.nanos).abs();
        assert!(difference <= naive.nanos * 1e-12, "{series}: {merged:?}, {naive:?}");
        assert_eq!((merged.count, &merged.buckets), (naive.count, &naive.buckets), "{series}");
    }
}

/// Lets everything happen, and hands `merge` every flush with the number of its aggregator.
fn run(course: &Course, temporality: AggregationTemporality, mut merge: impl FnMut(usize, Points)) {
    let config = config(temporality);
    let aggregators: Vec<_> = (0..course.backends).map(|_| aggregator(&config)).collect();
    let (mut now_ns, mut seen, mut noted) = (BEGIN, 0, 0);
    for (rows, flushes) in &course.batches {
        seen += rows.len() as u64;
        now_ns += SECOND;
        for (index, aggregator) in aggregators.iter().enumerate() {
            let own = rows.iter().filter(|row| row.backend % course.backends == index);
            let observed = aggregator.observe(&batch(entries(own)), now_ns);
            noted += observed.counted + observed.no_service;
            if flushes[index] {
                merge(index, collect(aggregator, now_ns + 1));
            }
        }
    }
    for (index, aggregator) in aggregators.iter().enumerate() {
        merge(index, collect(aggregator, now_ns + SECOND));
    }
    assert_eq!(seen, noted, "every span is counted or skipped");
}

proptest! {
    #[test]
    fn the_last_values_of_all_backends_add_up(course in course()) {
        let mut last: BTreeMap<(usize, String), Point> = BTreeMap::new();
        run(&course, AggregationTemporality::Cumulative, |backend, points| {
            last.extend(points.into_iter().map(|(series, point)| ((backend, series), point)));
        });
        let mut merged = Totals::new();
        for ((_, series), point) in &last {
            merged.entry(series.clone()).or_default().add(point);
        }
        assert_same(&merged, &naive(&course));
    }

    #[test]
    fn all_deltas_of_all_backends_add_up(course in course()) {
        let mut merged = Totals::new();
        run(&course, AggregationTemporality::Delta, |_, points| {
            for (series, point) in &points {
                merged.entry(series.clone()).or_default().add(point);
            }
        });
        assert_same(&merged, &naive(&course));
    }
}
