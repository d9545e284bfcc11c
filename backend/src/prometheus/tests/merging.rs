//! What happens to values over time, and to those that share their labels.

use proptest::prelude::*;

use super::*;

fn one(pod: &str, data: Data) -> Vec<ResourceMetrics> {
    vec![entry(&[("service.name", "a"), ("pod", pod)], vec![metric("calls", "", data)])]
}

const SECOND: u64 = 1_000_000_000;

/// The Collector lets them overwrite each other.
#[test]
fn counters_of_several_writers_are_added_up() {
    let exposed = Exposed::new(&short());
    let observed = exposed.observe(one("p1", counter(100.0, TIME)));
    assert_eq!(observed.merged, 0);
    let observed = exposed.observe(one("p2", counter(7.0, TIME)));
    assert_eq!(observed.merged, 1);
    assert_eq!(exposed.samples(), ["calls_total{job=\"a\"} 107"]);
    exposed.observe(one("p1", counter(101.0, TIME + SECOND)));
    assert_eq!(exposed.samples(), ["calls_total{job=\"a\"} 108"]);
}

#[test]
fn with_their_resource_as_labels_writers_stay_apart() {
    let mut config = short();
    config.resource_to_telemetry_conversion.enabled = true;
    let exposed = Exposed::new(&config);
    exposed.observe(one("p1", counter(100.0, TIME)));
    exposed.observe(one("p2", counter(7.0, TIME)));
    assert_eq!(
        exposed.samples(),
        [
            "calls_total{job=\"a\",pod=\"p1\",service_name=\"a\"} 100",
            "calls_total{job=\"a\",pod=\"p2\",service_name=\"a\"} 7",
        ]
    );
}

#[test]
fn a_sum_does_not_fall_when_one_of_its_writers_ends_or_restarts() {
    let mut exposed = Exposed::new(&short());
    exposed.observe(one("p1", counter(100.0, TIME)));
    exposed.pass(200);
    exposed.observe(one("p2", counter(7.0, TIME)));
    exposed.pass(200);
    assert_eq!(
        (exposed.samples().as_slice(), exposed.streams()),
        (&["calls_total{job=\"a\"} 107".to_owned()][..], 1)
    );

    let restarted = NumberDataPoint { start_time_unix_nano: TIME, ..point(2.0, TIME + SECOND) };
    exposed.observe(one("p2", sum(CUMULATIVE, true, vec![restarted])));
    assert_eq!(exposed.samples(), ["calls_total{job=\"a\"} 109"]);

    exposed.pass(300);
    assert_eq!(exposed.text(), "", "with its last writer the series goes");
    exposed.observe(one("p3", counter(1.0, TIME)));
    assert_eq!(exposed.samples(), ["calls_total{job=\"a\"} 1"]);
}

#[test]
fn a_writer_that_is_alone_shows_its_restart() {
    let exposed = Exposed::new(&short());
    exposed.observe(one("p1", counter(100.0, TIME)));
    let restarted = NumberDataPoint { start_time_unix_nano: TIME, ..point(2.0, TIME + SECOND) };
    exposed.observe(one("p1", sum(CUMULATIVE, true, vec![restarted])));
    assert_eq!(exposed.samples(), ["calls_total{job=\"a\"} 2"]);
}

#[test]
fn histograms_are_added_up_at_the_bounds_they_share() {
    let exposed = Exposed::new(&short());
    exposed.observe(one("p1", histogram(CUMULATIVE, &[1.0, 2.0, 5.0], &[1, 2, 3, 4], 10.5).into()));
    exposed
        .observe(one("p2", histogram(CUMULATIVE, &[2.0, 4.0, 5.0], &[10, 20, 30, 40], 2.0).into()));
    assert_eq!(
        exposed.samples(),
        [
            "calls_bucket{job=\"a\",le=\"2\"} 13",
            "calls_bucket{job=\"a\",le=\"5\"} 66",
            "calls_bucket{job=\"a\",le=\"+Inf\"} 110",
            "calls_sum{job=\"a\"} 12.5",
            "calls_count{job=\"a\"} 110",
        ]
    );
}

#[test]
fn of_gauges_the_latest_counts() {
    let exposed = Exposed::new(&short());
    let at = |value, time_ns| Data::Gauge(Gauge { data_points: vec![point(value, time_ns)] });
    exposed.observe(one("p1", at(1.0, TIME + 1)));
    exposed.observe(one("p2", at(2.0, TIME)));
    assert_eq!(exposed.samples(), ["calls{job=\"a\"} 1"]);
}

#[test]
fn an_older_point_does_not_replace_a_newer_one() {
    let exposed = Exposed::new(&short());
    exposed.observe(one("p1", counter(5.0, TIME)));
    let observed = exposed.observe(one("p1", counter(4.0, TIME - 1)));
    assert_eq!(dropped(&observed, Reason::OutOfOrder), 1);
    exposed.observe(one("p1", counter(6.0, TIME)));
    assert_eq!(exposed.samples(), ["calls_total{job=\"a\"} 6"]);
}

fn delta(value: f64, start_ns: u64, time_ns: u64) -> Data {
    let point = NumberDataPoint { start_time_unix_nano: start_ns, ..point(value, time_ns) };
    sum(DELTA, true, vec![point])
}

/// The Collector starts anew behind a gap.
#[test]
fn deltas_are_added_up_over_gaps_too() {
    let exposed = Exposed::new(&short());
    exposed.observe(one("p1", delta(5.0, START, TIME)));
    exposed.observe(one("p1", delta(3.0, TIME, TIME + SECOND)));
    assert_eq!(exposed.samples(), ["calls_total{job=\"a\"} 8"]);
    exposed.observe(one("p1", delta(2.0, TIME + 5 * SECOND, TIME + 6 * SECOND)));
    assert_eq!(exposed.samples(), ["calls_total{job=\"a\"} 10"]);
    let again = exposed.observe(one("p1", delta(2.0, TIME + 5 * SECOND, TIME + 6 * SECOND)));
    assert_eq!(dropped(&again, Reason::OverlappingDelta), 1);
    exposed.observe(one("p1", delta(1.0, 0, TIME + 7 * SECOND)));
    assert_eq!(exposed.samples(), ["calls_total{job=\"a\"} 11"]);
}

#[test]
fn a_histogram_of_deltas_is_added_up() {
    let exposed = Exposed::new(&short());
    let mut next = histogram(DELTA, &[1.0], &[1, 1], 3.0);
    exposed.observe(one("p1", histogram(DELTA, &[1.0], &[2, 3], 4.0).into()));
    (next.point.start_time_unix_nano, next.point.time_unix_nano) = (TIME, TIME + SECOND);
    exposed.observe(one("p1", next.into()));
    assert_eq!(
        exposed.samples(),
        [
            "calls_bucket{job=\"a\",le=\"1\"} 3",
            "calls_bucket{job=\"a\",le=\"+Inf\"} 7",
            "calls_sum{job=\"a\"} 7",
            "calls_count{job=\"a\"} 7",
        ]
    );
}

#[test]
fn what_cannot_be_exposed_is_counted_by_reason() {
    let exposed = Exposed::new(&PrometheusConfig { max_series: 2, ..short() });
    let check = |name, data, reason| {
        let observed = exposed.observe(vec![entry(&[], vec![metric(name, "", data)])]);
        let all: u64 = observed.dropped.iter().sum();
        assert_eq!((dropped(&observed, reason), all), (1, 1), "{name} {reason:?}");
    };
    check("x", sum(DELTA, false, vec![point(1.0, TIME)]), Reason::Temporality);
    check("x", sum(0, true, vec![point(1.0, TIME)]), Reason::Temporality);
    check("x", histogram(0, &[], &[1], 1.0).into(), Reason::Temporality);
    check("x", histogram(CUMULATIVE, &[2.0, 1.0], &[1, 1, 1], 1.0).into(), Reason::Invalid);
    check("", counter(1.0, TIME), Reason::Invalid);
    exposed.observe(vec![entry(&[], vec![metric("x", "", counter(1.0, TIME))])]);
    exposed.observe(vec![entry(&[], vec![metric("y", "", counter(1.0, TIME))])]);
    check("z", counter(1.0, TIME), Reason::MaxSeries);
    assert_eq!(exposed.samples(), ["x_total 1", "y_total 1"]);
}

#[test]
fn a_point_without_a_value_ends_its_series_and_no_other() {
    let exposed = Exposed::new(&short());
    let points = |flags| {
        let labelled = |label, flags| NumberDataPoint {
            attributes: attributes(&[("l", label)]),
            flags,
            ..point(1.0, TIME)
        };
        sum(CUMULATIVE, true, vec![labelled("one", flags), labelled("two", 0)])
    };
    exposed.observe(one("p1", points(0)));
    assert_eq!(exposed.streams(), 2);
    let observed = exposed.observe(one("p1", points(1)));
    assert_eq!(observed, Observed::default());
    assert_eq!(exposed.samples(), ["calls_total{job=\"a\",l=\"two\"} 1"]);
}

#[test]
fn series_expire_without_a_scrape() {
    let mut exposed = Exposed::new(&short());
    exposed.observe(one("p1", counter(1.0, TIME)));
    exposed.pass(299);
    exposed.sweep();
    assert_eq!(exposed.streams(), 1);
    exposed.pass(1);
    exposed.sweep();
    assert_eq!(exposed.streams(), 0);
}

proptest! {
    /// Whatever the writers do, the exposed sum never falls while one of them is left.
    #[test]
    fn a_merged_counter_never_falls(
        steps in proptest::collection::vec((0..3_usize, 1..50_u32, any::<bool>(), 0..200_u64), 1..60),
    ) {
        let mut exposed = Exposed::new(&short());
        let mut writers = [(0_u32, START); 3];
        let (mut time_ns, mut last) = (TIME, 0.0);
        // A writer that never ends, so that the series never does.
        for (index, (writer, grown, restarts, seconds)) in steps.into_iter().enumerate() {
            exposed.pass(seconds);
            time_ns += SECOND;
            exposed.observe(one("steady", counter(1.0, time_ns)));
            let (value, start_ns) = &mut writers[writer];
            if restarts && index > 0 {
                (*value, *start_ns) = (0, time_ns - 1);
            }
            *value += grown;
            let point = NumberDataPoint {
                start_time_unix_nano: *start_ns,
                ..point(f64::from(*value), time_ns)
            };
            let writer = writer.to_string();
            exposed.observe(one(&writer, sum(CUMULATIVE, true, vec![point])));
            let samples = exposed.samples();
            prop_assert_eq!(samples.len(), 1);
            let sum: f64 = samples[0].rsplit_once(' ').unwrap().1.parse().unwrap();
            prop_assert!(sum >= last, "{} after {}", sum, last);
            last = sum;
        }
    }
}
