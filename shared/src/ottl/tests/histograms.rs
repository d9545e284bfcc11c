//! What statements make of histograms' buckets.

use super::metrics::{after, metric};
use super::statements::run_on;
use super::*;
use crate::wire::metric::{HistogramDataPoint, Number, NumberDataPoint};
use crate::wire::{DataKind, Metric, Temporality};

/// Writes a data point of a histogram.
fn point(data: &mut Writer, counts: &[u64], bounds: &[f64], more: impl FnOnce(&mut Writer)) {
    data.message(1, |point| {
        point.string_attribute(9, b"method", b"GET");
        point.fixed64(2, 10);
        point.fixed64(3, 20);
        point.packed_fixed64(6, counts.iter().copied());
        point.packed_fixed64(7, bounds.iter().map(|bound| bound.to_bits()));
        more(point);
    });
}

fn histogram(counts: &[u64], bounds: &[f64], more: impl FnOnce(&mut Writer)) -> Vec<u8> {
    metric(DataKind::Histogram, "latency", |data| point(data, counts, bounds, more))
}

#[test]
fn a_bound_that_is_left_out_joins_two_buckets() {
    #[track_caller]
    fn check(bounds: &[f64], counts: &[u64], bound: &str, expected: Option<(&[f64], &[u64])>) {
        let statement = format!("merge_histogram_buckets({bound})");
        let before = histogram(counts, bounds, |point| point.double(5, 25.5));
        let after = run_on(Context::DataPoint, before, &[&statement]).unwrap();
        let Some((bounds, counts)) = expected else {
            return assert!(!after.is_changed(), "{statement}");
        };
        let found = HistogramDataPoint::read(after.draft.changed(Part::Inner).unwrap());
        assert_eq!(found.explicit_bounds().collect::<Vec<_>>(), bounds, "{statement}");
        assert_eq!(found.bucket_counts().collect::<Vec<_>>(), counts, "{statement}");
        assert_eq!((found.sum, found.attributes().count()), (Some(25.5), 1));
    }
    let (bounds, counts) = ([0.1, 0.5, 1.0], [5, 8, 3, 1]);
    check(&bounds, &counts, "0.5", Some((&[0.1, 1.0], &[5, 11, 1])));
    check(&bounds, &counts, "0.1", Some((&[0.5, 1.0], &[13, 3, 1])));
    check(&bounds, &counts, "1", Some((&[0.1, 0.5], &[5, 8, 4])));
    check(&[0.5], &[10, 5], "0.5", Some((&[], &[15])));
    check(&[-1.5, 2.0], &[1, 2, 4], "-1.5", Some((&[2.0], &[3, 4])));
    check(&[0.1, 0.500_000_000_000_1, 1.0], &counts, "0.5", Some((&[0.1, 1.0], &[5, 11, 1])));
    check(&bounds, &counts, "2.0", None);
    check(&[0.1, 0.5], &[5, 8, 3, 1, 2], "0.5", None);
    check(&[], &[0], "0.5", None);
    // A point of another kind stays as it is.
    let gauge = metric(DataKind::Gauge, "load", |data| data.message(1, |p| p.double(4, 1.0)));
    let after = run_on(Context::DataPoint, gauge, &["merge_histogram_buckets(0.5)"]).unwrap();
    assert!(!after.is_changed());
}

#[test]
fn exponential_buckets_become_explicit_ones() {
    let exponential = metric(DataKind::ExponentialHistogram, "latency", |data| {
        data.message(1, |point| {
            point.string_attribute(1, b"method", b"GET");
            point.fixed64(2, 10);
            point.fixed64(3, 20);
            point.fixed64(4, 49);
            point.double(5, 999.0);
            point.fixed64(7, 5);
            point.message(8, |buckets| {
                buckets.zigzag(1, 5);
                buckets.packed_varint(2, [10, 22, 12].into_iter());
            });
            point.message(11, |exemplar| exemplar.double(3, 40.0));
            point.double(12, 0.0);
            point.double(13, 245.0);
        });
        data.varint(2, 1);
    });
    let statement =
        r#"convert_exponential_histogram_to_histogram("midpoint", [0, 50, 100.5, 200.0])"#;
    let after = after(exponential, statement);
    let found = Metric::read(after.draft.record());
    assert_eq!((found.kind, found.temporality), (Some(DataKind::Histogram), Temporality::Delta));
    assert_eq!((found.name, found.unit), (&b"latency"[..], &b"ms"[..]));
    let point = HistogramDataPoint::read(found.points().next().unwrap());
    assert_eq!(point.bucket_counts().collect::<Vec<_>>(), [5, 10, 22, 12, 0]);
    assert_eq!(point.explicit_bounds().collect::<Vec<_>>(), [0.0, 50.0, 100.5, 200.0]);
    assert_eq!((point.start_ns, point.time_ns, point.count), (10, 20, 49));
    assert_eq!((point.sum, point.min, point.max), (Some(999.0), Some(0.0), Some(245.0)));
    assert_eq!(point.exemplars().next().unwrap().value, Some(Number::Double(40.0)));
    assert_eq!(point.attributes().count(), 1);
    let other = histogram(&[1, 2], &[1.0], |_| {});
    assert!(!run_on(Context::Metric, other, &[statement]).unwrap().is_changed());
}

#[test]
fn bounds_and_percentiles_are_checked_when_a_statement_is_read() {
    let error = |text: &str| Statement::parse(text, Context::Metric).unwrap_err().to_string();
    let convert = |arguments: &str| {
        error(&format!("convert_exponential_histogram_to_histogram({arguments})"))
    };
    assert_eq!(convert(r#""upper", []"#), "must not be empty");
    assert_eq!(convert(r#""upper", [1, 1.0]"#), "must rise from each bound to the next");
    let spreads = r#"must be one of "upper", "midpoint", "uniform", "random""#;
    assert_eq!(convert(r#""lower", [1]"#), spreads);
    for percentile in ["0", "100.0", "-5"] {
        let text = format!("extract_percentile_metric({percentile})");
        assert_eq!(error(&text), "must be between 0 and 100", "{text}");
    }
}

/// The percentile that a statement takes out of a metric; nothing if it makes no metric.
#[track_caller]
fn percentile(before: Vec<u8>, arguments: &str) -> Result<Option<f64>, String> {
    let statement = format!("extract_percentile_metric({arguments})");
    let mut after = run_on(Context::Metric, before, &[&statement])?;
    let metrics = after.draft.take_metrics();
    let Some(metric) = metrics.first() else { return Ok(None) };
    let metric = Metric::read(metric);
    assert_eq!((metric.kind, metric.unit), (Some(DataKind::Gauge), &b"ms"[..]));
    let [point] = &metric.points().map(NumberDataPoint::read).collect::<Vec<_>>()[..] else {
        panic!("one point")
    };
    assert_eq!((point.start_ns, point.time_ns, point.attributes().count()), (10, 20, 1));
    Ok(Some(point.value.unwrap().as_f64()))
}

#[track_caller]
fn check_percentile(before: Vec<u8>, arguments: &str, expected: f64) {
    let found = percentile(before, arguments).unwrap().unwrap();
    assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
}

/// A histogram of so many values, its least and its greatest value.
fn values(count: u64, extremes: [Option<f64>; 2], counts: &[u64], bounds: &[f64]) -> Vec<u8> {
    histogram(counts, bounds, |point| {
        point.fixed64(4, count);
        for (field, extreme) in (11..).zip(extremes) {
            extreme.inspect(|extreme| point.double(field, *extreme));
        }
    })
}

#[test]
fn a_percentile_lies_within_its_bucket() {
    let no = [None, None];
    check_percentile(values(100, no, &[60, 40], &[1.0]), "50", 0.833_333);
    check_percentile(values(115, no, &[50, 35, 50], &[1.0, 5.0]), "99", 5.0);
    check_percentile(values(115, no, &[50, 35, 50, 15], &[1.0, 3.0, 5.0]), "95", 4.0);
    let many = [50, 100, 200, 300, 200, 100, 50];
    let bounds = [10.0, 25.0, 50.0, 100.0, 250.0, 500.0];
    check_percentile(values(1000, no, &many, &bounds), "90.0", 375.0);
    let max = [None, Some(750.0)];
    check_percentile(values(100, max, &[25, 50, 25], &[100.0, 500.0]), "99", 740.0);
    // Of values below zero the least is not known, or is.
    check_percentile(values(100, no, &[100, 0], &[-5.0]), "50", -5.0);
    check_percentile(values(100, [Some(-10.0), None], &[100, 0], &[-5.0]), "50", -7.5);
    check_percentile(values(100, [Some(5.0), Some(25.0)], &[100], &[]), "50", 15.0);
    for nothing in [
        values(0, no, &[0, 0], &[1.0]),
        values(10, no, &[], &[]),
        values(100, no, &[100], &[]),
        metric(DataKind::Gauge, "load", |data| data.message(1, |point| point.double(4, 1.0))),
    ] {
        assert_eq!(percentile(nothing, "50"), Ok(None));
    }
    let error = |before| percentile(before, "50").unwrap_err();
    assert_eq!(
        error(values(10, no, &[5, 5], &[1.0, 2.0])),
        "extract_percentile_metric: buckets and bounds do not belong together"
    );
    assert_eq!(
        error(values(100, no, &[5, 5], &[1.0])),
        "extract_percentile_metric: the buckets hold fewer values than the count says"
    );
}

/// An exponential histogram: its scale, its count, zeros and how far they reach, and its buckets
/// above and below zero.
fn exponential(
    scale: i64,
    count: u64,
    (zeros, threshold): (u64, f64),
    positive: &[u64],
    negative: &[u64],
) -> Vec<u8> {
    metric(DataKind::ExponentialHistogram, "latency", |data| {
        data.message(1, |point| {
            point.string_attribute(1, b"method", b"GET");
            point.fixed64(2, 10);
            point.fixed64(3, 20);
            point.fixed64(4, count);
            point.zigzag(6, scale);
            point.fixed64(7, zeros);
            for (field, counts) in [(8, positive), (9, negative)] {
                if !counts.is_empty() {
                    point.message(field, |side| side.packed_varint(2, counts.iter().copied()));
                }
            }
            point.double(14, threshold);
        });
    })
}

#[test]
fn a_percentile_lies_within_its_exponential_bucket() {
    let none = (0, 0.0);
    check_percentile(exponential(0, 100, none, &[30, 40, 30], &[]), "50", 2.828_427);
    let fine = [20, 30, 40, 50, 30, 35, 5];
    check_percentile(exponential(2, 210, none, &fine, &[]), "95", 2.759_268);
    check_percentile(exponential(-1, 500, none, &[100, 200, 150, 40, 10], &[]), "99", 512.0);
    check_percentile(exponential(1, 120, (20, 0.0), &[40, 60], &[]), "75", 1.681_792);
    check_percentile(exponential(2, 95, (10, 0.0), &[15], &[20, 30, 20]), "50", -1.203_025);
    check_percentile(exponential(0, 100, (5, 0.0), &[15], &[15, 35, 20, 10]), "25", -4.756_828);
    check_percentile(exponential(0, 100, (80, 1.0), &[10], &[10]), "50", 0.0);
    check_percentile(exponential(0, 100, (80, 1.0), &[20], &[]), "60", 0.75);
    check_percentile(exponential(0, 100, (80, 1.0), &[], &[20]), "30", -0.875);
    for nothing in [exponential(0, 0, none, &[], &[]), exponential(0, 10, none, &[], &[])] {
        assert_eq!(percentile(nothing, "50"), Ok(None));
    }
    assert_eq!(
        percentile(exponential(0, 100, none, &[5, 5], &[]), "50").unwrap_err(),
        "extract_percentile_metric: the buckets hold fewer values than the count says"
    );
    assert_eq!(
        percentile(exponential(-20, 10, none, &[0, 10], &[]), "50").unwrap_err(),
        "extract_percentile_metric: the bucket's bounds are beyond those of doubles"
    );
}

#[test]
fn a_percentile_says_in_its_name_which_it_is() {
    let names = |arguments: &str| {
        let statement = format!("extract_percentile_metric({arguments})");
        let mut after = after(values(2, [None, None], &[2, 0], &[1.0]), &statement);
        let metrics = after.draft.take_metrics();
        let metric = Metric::read(&metrics[0]);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (text(metric.name), text(metric.description))
    };
    let pair = |name: &str, description: &str| (name.to_owned(), description.to_owned());
    assert_eq!(names("95"), pair("latency_p95", "For people. (p95)"));
    assert_eq!(names("99.9"), pair("latency_p99.9", "For people. (p99.9)"));
    assert_eq!(names(r#"50.0, ".median""#), pair("latency.median", "For people. (p50)"));
}
