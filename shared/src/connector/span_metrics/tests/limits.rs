//! Bounds, overflow, expiry and the size of what is handed on.

use std::time::Duration;

use super::*;

fn names(names: std::ops::Range<usize>) -> Vec<trace_v1::Span> {
    names.map(|name| span(&name.to_string(), 1)).collect()
}

#[test]
fn a_resource_over_its_limit_counts_in_one_overflow_series() {
    let mut config = bare(&[]);
    config.aggregation_cardinality_limit = 2;
    config.histogram.disable = true;
    let aggregator = aggregator(&config);
    let spans = batch(vec![service("a", names(0..5)), service("b", names(0..1))]);
    let observed = aggregator.observe(&spans, BEGIN);
    assert_eq!((observed.counted, observed.tally.overflowed), (6, [3, 0, 0, 0, 0]));
    aggregator.observe(&batch(vec![service("a", names(0..1))]), BEGIN);
    let points = collect(&aggregator, BEGIN + SECOND);
    assert_eq!(
        counts(&points),
        [
            ("calls{otel.metric.overflow=bool true}", 3),
            ("calls{service.name=a,span.name=0}", 2),
            ("calls{service.name=a,span.name=1}", 1),
            ("calls{service.name=b,span.name=0}", 1),
        ]
    );
    assert_eq!(aggregator.series(), 3);
}

#[test]
fn the_limit_over_all_resources_holds_too() {
    let mut config = bare(&[]);
    config.max_series = 3;
    let aggregator = aggregator(&config);
    let one = batch(vec![service("a", names(0..5))]);
    let other = batch(vec![service("b", names(0..5))]);
    assert_eq!(aggregator.observe(&one, BEGIN).tally.overflowed, [0, 0, 2, 0, 0]);
    assert_eq!(aggregator.observe(&other, BEGIN).tally.overflowed, [0, 0, 5, 0, 0]);
    assert_eq!(aggregator.series(), 3);
    let batches = aggregator.collect(BEGIN + SECOND).batches;
    let items: usize = batches.iter().map(Batch::items).sum();
    assert_eq!(items, 2 * (3 + 2), "three series and two overflow series, with two metrics each");
}

#[test]
fn a_zero_is_no_limit() {
    let mut config = bare(&[]);
    (config.max_series, config.aggregation_cardinality_limit) = (0, 0);
    let aggregator = aggregator(&config);
    let observed = aggregator.observe(&batch(vec![service("a", names(0..12_000))]), BEGIN);
    assert_eq!((observed.tally.overflowed, aggregator.series()), ([0; 5], 12_000));
}

#[test]
fn resources_over_the_limit_share_a_series_until_idle_ones_make_room() {
    let mut config = bare(&[]);
    config.resource_metrics_cache_size = 2;
    config.histogram.disable = true;
    let aggregator = aggregator(&config);
    let one = |name| batch(vec![service(name, names(0..1))]);
    for (name, now_ns) in [("a", BEGIN), ("b", BEGIN + 1), ("c", BEGIN + 2)] {
        aggregator.observe(&one(name), now_ns);
    }
    let first = collect(&aggregator, BEGIN + SECOND);
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("calls{{service.name={name},span.name=0}}"));
    let overflow = "calls{otel.metric.overflow=bool true}";
    assert_eq!(counts(&first), [(overflow, 1), (a.as_str(), 1), (b.as_str(), 1)]);

    // Once written, the one that is longest without spans makes room.
    aggregator.observe(&one("c"), BEGIN + 2 * SECOND);
    let second = collect(&aggregator, BEGIN + 3 * SECOND);
    let a_ended = format!("{a} ended");
    assert_eq!(counts(&second), [(overflow, 2), (a_ended.as_str(), 0), (b.as_str(), 1)]);
    aggregator.observe(&one("c"), BEGIN + 4 * SECOND);
    let third = collect(&aggregator, BEGIN + 5 * SECOND);
    assert_eq!(counts(&third), [(overflow, 2), (b.as_str(), 1), (c.as_str(), 1)]);
    assert_eq!((aggregator.resources(), aggregator.series()), (2, 2));
}

#[test]
fn an_idle_resource_expires_but_never_before_it_was_written() {
    let mut config = bare(&[]);
    config.metrics_expiration = Duration::from_secs(5);
    let aggregator = aggregator(&config);
    aggregator.observe(&batch(vec![service("a", names(0..2))]), BEGIN);
    assert_eq!(collect(&aggregator, BEGIN + 60 * SECOND).len(), 4);
    let collected = flush(&aggregator, BEGIN + 120 * SECOND);
    assert_eq!(collected.expired, 2);
    let ended = points(&collected.batches);
    assert!(ended.len() == 4 && ended.keys().all(|series| series.ends_with(" ended")), "{ended:?}");
    assert_eq!((aggregator.resources(), aggregator.series()), (0, 0));

    aggregator.observe(&batch(vec![service("a", names(0..1))]), BEGIN + 130 * SECOND);
    let points = collect(&aggregator, BEGIN + 180 * SECOND);
    let point = &points["calls{service.name=a,span.name=0}"];
    assert_eq!((point.count, point.start_ns), (1, BEGIN + 130 * SECOND), "it starts anew");
}

#[test]
fn an_idle_series_expires_alone() {
    let mut config = bare(&[]);
    config.series_expiration = Duration::from_secs(5);
    config.histogram.disable = true;
    let aggregator = aggregator(&config);
    aggregator.observe(&batch(vec![service("a", names(0..2))]), BEGIN);
    collect(&aggregator, BEGIN + SECOND);
    aggregator.observe(&batch(vec![service("a", names(1..2))]), BEGIN + 2 * SECOND);
    let points = collect(&aggregator, BEGIN + 6 * SECOND);
    let [ended, lives] =
        ["calls{service.name=a,span.name=0} ended", "calls{service.name=a,span.name=1}"];
    assert_eq!(counts(&points), [(ended, 0), (lives, 2)]);
    assert_eq!(points[ended].start_ns, BEGIN);
    assert_eq!(aggregator.series(), 1);
}

#[test]
fn a_large_flush_is_cut_into_requests_of_about_a_mebibyte() {
    let aggregator = aggregator(&bare(&[]));
    aggregator.observe(&batch(vec![service("a", names(0..9_000))]), BEGIN);
    aggregator.observe(&batch(vec![service("b", names(0..10))]), BEGIN);
    let batches = aggregator.collect(BEGIN + SECOND).batches;
    assert!(batches.len() > 2);
    assert!(batches.iter().all(|batch| batch.bytes().len() < (1 << 20) + 4096));
    assert_eq!(points(&batches).len(), 2 * 9_010);
}

/// A request of a service with one span for each name.
fn flood(service_name: &str, names: std::ops::Range<usize>) -> Batch {
    let mut request = crate::wire::Writer::new();
    request.message(1, |entry| {
        entry.message(1, |resource| {
            resource.string_attribute(1, b"service.name", service_name.as_bytes());
        });
        entry.message(2, |scope| {
            for name in names {
                scope.message(2, |span| {
                    span.bytes(5, format!("GET /item/{name}").as_bytes());
                    span.fixed64(7, SECOND);
                    span.fixed64(8, SECOND + 5_000_000);
                });
            }
        });
    });
    Batch::parse(Signal::Traces, request.into_vec().into()).unwrap()
}

#[test]
fn a_million_names_stay_within_the_bounds_and_other_services_stay_exact() {
    const MILLION: usize = 1_000_000;
    let mut config = bare(&[]);
    // No limit but the bytes.
    (config.aggregation_cardinality_limit, config.max_series) = (0, 0);
    config.max_series_per_service = 0;
    config.max_series_bytes = 4 << 20;
    let aggregator = aggregator(&config);
    let mut overflowed = 0;
    for begin in (0..MILLION).step_by(20_000) {
        aggregator.observe(&flood("quiet", 0..3), BEGIN);
        let observed = aggregator.observe(&flood("noisy", begin..begin + 20_000), BEGIN);
        let [cardinality, service, series, bytes, resources] = observed.tally.overflowed;
        assert_eq!((cardinality, service, series, resources), (0, 0, 0, 0));
        overflowed += bytes;
        assert!(aggregator.bytes() <= config.max_series_bytes);
    }
    let collected = aggregator.collect(BEGIN + SECOND);
    assert_eq!(collected.overflowed, [(b"noisy"[..].into(), overflowed)]);
    let points = points(&collected.batches);
    let [calls, durations] = ["calls", "duration"].map(|metric| {
        let overflow = points[&format!("{metric}{{otel.metric.overflow=bool true}}")].count;
        assert_eq!(overflow, overflowed);
        for name in 0..3 {
            let series = format!("{metric}{{service.name=quiet,span.name=GET /item/{name}}}");
            assert_eq!(points[&series].count, 50);
        }
        let noisy = points
            .iter()
            .filter(|(series, _)| series.starts_with(&format!("{metric}{{service.name=noisy")));
        noisy.map(|(_, point)| point.count).sum::<u64>() + overflow
    });
    assert_eq!((calls, durations), (MILLION as u64, MILLION as u64));
    assert!(aggregator.series() > 10_000, "{}", aggregator.series());
}

#[test]
fn bytes_are_given_back_when_series_end() {
    let mut config = bare(&[]);
    config.metrics_expiration = Duration::from_secs(5);
    let aggregator = aggregator(&config);
    aggregator.observe(&flood("a", 0..100), BEGIN);
    assert!(aggregator.bytes() > 100 * 128);
    flush(&aggregator, BEGIN + SECOND);
    flush(&aggregator, BEGIN + 10 * SECOND);
    assert_eq!(aggregator.bytes(), 0);

    config.metrics_expiration = Duration::ZERO;
    config.aggregation_temporality =
        crate::connector::span_metrics::config::AggregationTemporality::Delta;
    let aggregator = super::aggregator(&config);
    aggregator.observe(&flood("a", 0..100), BEGIN);
    flush(&aggregator, BEGIN + SECOND);
    assert_eq!(aggregator.bytes(), 0);
}

#[test]
fn a_resource_that_has_no_room_in_bytes_counts_in_the_common_overflow() {
    let mut config = bare(&[]);
    config.max_series_bytes = 100;
    let aggregator = aggregator(&config);
    let services: Vec<_> = (0..10).map(|name| name.to_string()).collect();
    let entries = services.iter().map(|name| service(name, vec![span("x", 1)])).collect();
    let observed = aggregator.observe(&batch(entries), BEGIN);
    assert_eq!((observed.counted, observed.tally.overflowed), (10, [0, 0, 0, 10, 0]));
    assert_eq!((aggregator.resources(), aggregator.series(), aggregator.bytes()), (0, 0, 0));
    let points = collect(&aggregator, BEGIN + SECOND);
    let overflow = "{otel.metric.overflow=bool true}";
    let [calls, duration] = ["calls", "duration"].map(|metric| format!("{metric}{overflow}"));
    assert_eq!(counts(&points), [(calls.as_str(), 10), (duration.as_str(), 10)]);
}

#[test]
fn a_service_of_many_resources_leaves_room_for_others() {
    let mut config = bare(&[]);
    config.histogram.disable = true;
    (config.max_series, config.max_series_per_service) = (6, 4);
    config.metrics_expiration = Duration::from_secs(5);
    let aggregator = aggregator(&config);
    let pod = |service: &str, pod: &str| {
        entry(vec![text("service.name", service), text("k8s.pod.name", pod)], names(0..2))
    };
    let noisy = batch(vec![pod("a", "1"), pod("a", "2"), pod("a", "3")]);
    assert_eq!(aggregator.observe(&noisy, BEGIN).tally.overflowed, [0, 2, 0, 0, 0]);
    let quiet = batch(vec![pod("b", "1")]);
    assert_eq!(aggregator.observe(&quiet, BEGIN).tally.overflowed, [0; 5]);
    let other = batch(vec![pod("c", "1")]);
    assert_eq!(aggregator.observe(&other, BEGIN).tally.overflowed, [0, 0, 2, 0, 0]);
    assert_eq!(aggregator.series(), 6);
    // What ends makes room.
    flush(&aggregator, BEGIN + SECOND);
    flush(&aggregator, BEGIN + 10 * SECOND);
    assert_eq!((aggregator.series(), aggregator.services.lock().unwrap().len()), (0, 0));
    assert_eq!(aggregator.observe(&noisy, BEGIN).tally.overflowed, [0, 2, 0, 0, 0]);
}
