//! What is handed on when: beginnings, ends, unchanged series, and flushes that failed.

use std::time::Duration;

use super::*;

const A: &str = "calls{service.name=s,span.name=a}";
const B: &str = "calls{service.name=s,span.name=b}";

fn calls_only() -> SpanMetricsConfig {
    let mut config = bare(&[]);
    config.histogram.disable = true;
    config
}

fn spans(name: &str) -> Batch {
    batch(vec![service("s", vec![span(name, 3)])])
}

/// What a flush at this second hands on: series and counts.
#[track_caller]
fn check(aggregator: &Aggregator, second: u64, expected: &[(&str, u64)]) {
    let points = collect(aggregator, BEGIN + second * SECOND);
    let found: Vec<_> = counts(&points);
    assert_eq!(found, expected, "after {second} s");
}

#[test]
fn a_new_series_begins_with_zero_and_has_its_value_in_the_same_flush() {
    let config = SpanMetricsConfig { initial_zero: true, ..bare(&[]) };
    let aggregator = aggregator(&config);
    aggregator.observe(&spans("a"), BEGIN + SECOND);
    let points = collect(&aggregator, BEGIN + 10 * SECOND);
    for metric in ["calls", "duration"] {
        let series = format!("{metric}{{service.name=s,span.name=a}}");
        let (zero, value) = (&points[&format!("{series} begins")], &points[&series]);
        assert_eq!((zero.count, zero.start_ns, zero.time_ns), (0, BEGIN + SECOND, BEGIN + SECOND));
        assert_eq!((value.count, value.start_ns), (1, BEGIN + SECOND));
        assert_eq!(value.time_ns, BEGIN + 10 * SECOND);
        assert_eq!(zero.buckets.len(), value.buckets.len());
    }
    aggregator.observe(&spans("a"), BEGIN + 11 * SECOND);
    let points = collect(&aggregator, BEGIN + 20 * SECOND);
    assert_eq!(points.len(), 2, "only the values: {points:?}");
}

#[test]
fn a_zero_is_left_out_where_it_would_stand_at_the_time_of_the_value() {
    let config = SpanMetricsConfig { initial_zero: true, ..calls_only() };
    let aggregator = aggregator(&config);
    aggregator.observe(&spans("a"), BEGIN);
    let points = collect(&aggregator, BEGIN + 400_000);
    assert_eq!(counts(&points), [(A, 1)]);
}

#[test]
fn a_zero_comes_again_with_the_value_until_they_were_delivered() {
    let config = SpanMetricsConfig { initial_zero: true, ..calls_only() };
    let aggregator = aggregator(&config);
    aggregator.observe(&spans("a"), BEGIN);
    let begins = format!("{A} begins");
    for second in [10, 20] {
        let failed = points(&aggregator.collect(BEGIN + second * SECOND).batches);
        assert_eq!(counts(&failed), [(A, 1), (begins.as_str(), 0)]);
    }
    check(&aggregator, 30, &[(A, 1), (&begins, 0)]);
    check(&aggregator, 40, &[(A, 1)]);
}

#[test]
fn deltas_need_no_zeros() {
    let mut config = SpanMetricsConfig { initial_zero: true, ..calls_only() };
    config.aggregation_temporality =
        crate::connector::span_metrics::config::AggregationTemporality::Delta;
    let aggregator = aggregator(&config);
    aggregator.observe(&spans("a"), BEGIN);
    check(&aggregator, 10, &[(A, 1)]);
}

#[test]
fn what_expired_ends_with_a_point_that_says_so_and_not_with_one_more_value() {
    let mut config = calls_only();
    config.series_expiration = Duration::from_secs(30);
    let aggregator = aggregator(&config);
    aggregator.observe(&spans("a"), BEGIN);
    aggregator.observe(&spans("b"), BEGIN);
    check(&aggregator, 15, &[(A, 1), (B, 1)]);
    aggregator.observe(&spans("b"), BEGIN + 20 * SECOND);
    check(&aggregator, 29, &[(A, 1), (B, 2)]);
    check(&aggregator, 30, &[(&format!("{A} ended"), 0), (B, 2)]);
    check(&aggregator, 45, &[(B, 2)]);
    // It begins anew.
    aggregator.observe(&spans("a"), BEGIN + 46 * SECOND);
    let points = collect(&aggregator, BEGIN + 47 * SECOND);
    assert_eq!((points[A].count, points[A].start_ns), (1, BEGIN + 46 * SECOND));
}

#[test]
fn nothing_expires_before_its_last_value_was_delivered() {
    let mut config = calls_only();
    config.series_expiration = Duration::from_secs(5);
    let aggregator = aggregator(&config);
    aggregator.observe(&spans("a"), BEGIN);
    for second in [10, 20, 30] {
        let failed = points(&aggregator.collect(BEGIN + second * SECOND).batches);
        assert_eq!(counts(&failed), [(A, 1)]);
    }
    check(&aggregator, 40, &[(A, 1)]);
    check(&aggregator, 50, &[(&format!("{A} ended"), 0)]);
    assert_eq!(aggregator.series(), 0);
}

#[test]
fn an_overflow_series_expires_like_any_other() {
    let mut config = calls_only();
    config.series_expiration = Duration::from_secs(5);
    config.aggregation_cardinality_limit = 1;
    let aggregator = aggregator(&config);
    aggregator.observe(&spans("a"), BEGIN);
    aggregator.observe(&spans("b"), BEGIN);
    let overflow = "calls{otel.metric.overflow=bool true}";
    check(&aggregator, 1, &[(overflow, 1), (A, 1)]);
    check(&aggregator, 10, &[(&format!("{overflow} ended"), 0), (&format!("{A} ended"), 0)]);
    check(&aggregator, 20, &[]);
}

#[test]
fn unchanged_series_may_be_handed_on_less_often() {
    let mut config = calls_only();
    config.metrics_flush_interval = Duration::from_secs(10);
    config.unchanged_interval = Duration::from_secs(30);
    let aggregator = aggregator(&config);
    aggregator.observe(&spans("a"), BEGIN);
    aggregator.observe(&spans("b"), BEGIN);
    check(&aggregator, 10, &[(A, 1), (B, 1)]);
    aggregator.observe(&spans("b"), BEGIN + 11 * SECOND);
    check(&aggregator, 20, &[(B, 2)]);
    check(&aggregator, 30, &[]);
    check(&aggregator, 40, &[(A, 1)]);
    check(&aggregator, 50, &[(B, 2)]);
}

#[test]
fn an_unchanged_series_is_handed_on_again_when_its_last_value_was_not_delivered() {
    let mut config = calls_only();
    config.unchanged_interval = Duration::from_secs(3600);
    let aggregator = aggregator(&config);
    aggregator.observe(&spans("a"), BEGIN);
    let failed = points(&aggregator.collect(BEGIN + 10 * SECOND).batches);
    assert_eq!(counts(&failed), [(A, 1)]);
    check(&aggregator, 20, &[(A, 1)]);
    check(&aggregator, 30, &[]);
}
