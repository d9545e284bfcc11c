//! What statements make of metrics and data points.

use super::statements::{After, check_in, run, run_on};
use super::*;
use crate::wire::metric::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Number, NumberDataPoint, SummaryDataPoint,
};
use crate::wire::{AnyValue, DataKind, Metric, Temporality};

#[test]
fn metrics_are_changed() {
    let check = |statement, conditions| check_in(Context::Metric, statement, conditions);
    check(r#"set(name, "n")"#, &[r#"name == "n" and Len(data_points) == 1"#]);
    check(r#"set(unit, "s")"#, &[r#"unit == "s""#]);
    check(r#"set(description, "d")"#, &[r#"description == "d""#]);
    check(
        "set(aggregation_temporality, 2)",
        &["aggregation_temporality == 2 and is_monotonic == true"],
    );
    check("set(is_monotonic, false)", &["is_monotonic == false and Len(data_points) == 1"]);
    check(r#"set(metadata["a"], "b")"#, &[r#"metadata["a"] == "b""#]);
    check("convert_sum_to_gauge()", &["type == METRIC_DATA_TYPE_GAUGE and Len(data_points) == 1"]);
    check(r#"convert_gauge_to_sum("delta", true)"#, &["type == METRIC_DATA_TYPE_SUM"]);
    let after = run(
        Context::Metric,
        &["convert_sum_to_gauge()", r#"convert_gauge_to_sum("cumulative", false)"#],
    );
    after.unwrap().check("both", &[
        "type == METRIC_DATA_TYPE_SUM and is_monotonic == false and aggregation_temporality == 2",
    ]);
}

#[test]
fn data_points_are_changed() {
    let check = |statement, conditions| check_in(Context::DataPoint, statement, conditions);
    check("set(value_double, 1.5)", &["value_double == 1.5 and value_int == 0"]);
    check("set(value_int, value_int * 2)", &["value_int == 10"]);
    check("set(start_time_unix_nano, 4)", &["start_time_unix_nano == 4"]);
    check("set(time, Now())", &["time_unix_nano > 10"]);
    check("set(flags, FLAG_NO_RECORDED_VALUE)", &["flags == 1"]);
    check(r#"set(attributes["method"], "PUT")"#, &[r#"attributes["method"] == "PUT""#]);
    check(r#"set(metric.name, "n")"#, &[r#"metric.name == "n" and value_int == 5"#]);
    let error = run(Context::DataPoint, &["set(count, 1)"]).err().unwrap();
    assert_eq!(error, "set: the data point has no such field");
}

#[test]
fn buckets_are_changed() {
    let run = |field, fill: fn(&mut Writer), statement: &str, conditions: &[&str]| {
        let mut metric = Writer::new();
        metric.message(field, |data| data.message(1, fill));
        let after = run_on(Context::DataPoint, metric.into_vec(), &[statement]).unwrap();
        after.check(statement, conditions);
    };
    let histogram = |point: &mut Writer| {
        point.fixed64(6, 1); // not packed
        point.fixed64(6, 2);
        point.packed_fixed64(7, [1.0_f64.to_bits()].into_iter());
    };
    run(9, histogram, "set(bucket_counts, [3, 4])", &["bucket_counts == [3, 4]"]);
    run(9, histogram, "set(explicit_bounds, [2.5])", &["explicit_bounds == [2.5]"]);
    run(9, histogram, "set(count, 9)", &["count == 9 and bucket_counts == [1, 2]"]);
    run(9, histogram, "set(sum, 1.5)", &["sum == 1.5"]);
    let exponential = |point: &mut Writer| {
        point.message(8, |buckets| buckets.packed_varint(2, [1, 300].into_iter()));
    };
    run(10, exponential, "set(scale, -2)", &["scale == -2 and positive.bucket_counts == [1, 300]"]);
    run(10, exponential, "set(zero_count, 2)", &["zero_count == 2"]);
    run(10, exponential, "set(positive.offset, -7)", &["positive.offset == -7"]);
    run(
        10,
        exponential,
        "set(positive.bucket_counts, [400])",
        &["positive.bucket_counts == [400]"],
    );
    run(10, exponential, "set(negative.offset, 7)", &["negative.offset == 7"]);
    run(10, exponential, "set(negative.bucket_counts, [4])", &["negative.bucket_counts == [4]"]);
    run(11, |_| {}, "set(sum, 2.5)", &["sum == 2.5"]);
}

#[test]
fn sums_are_taken_out_of_histograms() {
    let mut metric = Writer::new();
    metric.bytes(1, b"latency");
    metric.bytes(3, b"ms");
    metric.message(9, |histogram| {
        histogram.message(1, |point| {
            point.fixed64(3, 10);
            point.fixed64(4, 6);
            point.double(5, 7.5);
            point.string_attribute(9, b"method", b"GET");
        });
        histogram.message(1, |point| point.fixed64(4, 2));
        histogram.varint(2, 1);
    });
    let statements = ["extract_sum_metric(true)", "extract_count_metric(false, \".n\")"];
    let mut after = run_on(Context::Metric, metric.into_vec(), &statements).unwrap();
    assert!(!after.is_changed());
    let metrics = after.draft.take_metrics();
    let [sum, count] = &metrics[..] else { panic!("two metrics") };
    let read = |metric: &[u8]| {
        let read = Metric::read(metric);
        let points = read.points().map(NumberDataPoint::read);
        let values: Vec<_> = points.map(|point| (point.time_ns, point.value)).collect();
        (read.name.to_vec(), read.unit.to_vec(), read.monotonic, values)
    };
    let double = Some(Number::Double(7.5));
    assert_eq!(read(sum), (b"latency_sum".to_vec(), b"ms".to_vec(), true, vec![(10, double)]));
    let counts = vec![(10, Some(Number::Int(6))), (0, Some(Number::Int(2)))];
    assert_eq!(read(count), (b"latency.n".to_vec(), b"1".to_vec(), false, counts));
    let error = run(Context::Metric, &["extract_sum_metric(true)"]).err().unwrap();
    assert_eq!(
        error,
        "extract_sum_metric: takes a histogram with a temporality, an exponential one, or a summary"
    );
}

/// A metric called `name` of this kind, with points that `fill` writes.
pub(super) fn metric(kind: DataKind, name: &str, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut metric = Writer::new();
    metric.bytes(1, name.as_bytes());
    metric.bytes(2, b"For people.");
    metric.bytes(3, b"ms");
    metric.message(kind.field(), fill);
    metric.into_vec()
}

/// Writes a data point of a number: its start, its value and its attributes.
fn number(data: &mut Writer, start_ns: u64, value: Number, attributes: &[(&str, &str)]) {
    data.message(1, |point| {
        for (key, text) in attributes {
            point.string_attribute(7, key.as_bytes(), text.as_bytes());
        }
        point.fixed64(2, start_ns);
        point.fixed64(3, 100);
        match value {
            Number::Int(value) => point.fixed64(6, value.cast_unsigned()),
            Number::Double(value) => point.double(4, value),
        }
    });
}

/// A gauge of these values, each with a `host` and a `state`.
fn hosts(values: &[(i64, &str, &str)]) -> Vec<u8> {
    metric(DataKind::Gauge, "memory", |gauge| {
        for (value, host, state) in values {
            number(gauge, 0, Number::Int(*value), &[("host", *host), ("state", *state)]);
        }
    })
}

/// The points of a metric of numbers: their attributes and values.
fn numbers(metric: &[u8]) -> Vec<(String, Number)> {
    let metric = Metric::read(metric);
    let points = metric.points().map(NumberDataPoint::read);
    let text =
        |value: AnyValue<'_>| String::from_utf8_lossy(value.as_string().unwrap()).into_owned();
    let attributes = |point: &NumberDataPoint<'_>| {
        let pairs = point.attributes();
        let pairs =
            pairs.map(|(key, value)| format!("{}={}", str::from_utf8(key).unwrap(), text(value)));
        pairs.collect::<Vec<_>>().join(" ")
    };
    points.map(|point| (attributes(&point), point.value.unwrap())).collect()
}

/// What a statement makes of a metric.
#[track_caller]
pub(super) fn after(metric: Vec<u8>, statement: &str) -> After {
    run_on(Context::Metric, metric, &[statement])
        .unwrap_or_else(|error| panic!("{statement}: {error}"))
}

/// Checks what a statement makes of a metric of integers.
#[track_caller]
fn check_numbers(metric: Vec<u8>, statement: &str, expected: &[(&str, i64)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(attributes, value)| ((*attributes).to_owned(), Number::Int(*value)))
        .collect();
    assert_eq!(numbers(after(metric, statement).draft.record()), expected, "{statement}");
}

#[test]
fn points_are_aggregated_on_the_attributes_that_are_kept() {
    let points =
        || hosts(&[(1, "a", "used"), (2, "a", "free"), (4, "b", "used"), (8, "a", "used")]);
    // All are kept: what has the same becomes one.
    check_numbers(
        points(),
        r#"aggregate_on_attributes("sum")"#,
        &[("host=a state=used", 9), ("host=a state=free", 2), ("host=b state=used", 4)],
    );
    check_numbers(
        points(),
        r#"aggregate_on_attributes("sum", ["host"])"#,
        &[("host=a", 11), ("host=b", 4)],
    );
    check_numbers(points(), r#"aggregate_on_attributes("max", [])"#, &[("", 8)]);
    let record = after(points(), r#"aggregate_on_attributes("sum", ["host"])"#);
    record.check("it", &[r#"name == "memory" and unit == "ms" and description == "For people.""#]);
    // Nothing to do is no change.
    let single = || hosts(&[(1, "a", "used"), (2, "a", "free")]);
    assert!(!after(single(), r#"aggregate_on_attributes("sum")"#).is_changed());
}

#[test]
fn each_function_gives_what_its_name_says() {
    let integers = || {
        let values = [4, 1, 7, 5].map(|value| (value, "a", "used"));
        hosts(&values)
    };
    let doubles = || {
        metric(DataKind::Gauge, "load", |gauge| {
            for value in [4.0, 1.5, 8.0, 2.5] {
                number(gauge, 0, Number::Double(value), &[]);
            }
        })
    };
    for (function, integer, double) in [
        ("sum", 17, 16.0),
        ("mean", 4, 4.0),
        ("min", 1, 1.5),
        ("max", 7, 8.0),
        ("median", 4, 3.25),
        ("count", 4, 4.0),
    ] {
        let statement = format!("aggregate_on_attributes(\"{function}\", [])");
        check_numbers(integers(), &statement, &[("", integer)]);
        let found = numbers(after(doubles(), &statement).draft.record());
        assert_eq!(found, [(String::new(), Number::Double(double))], "{function}");
    }
    let odd = hosts(&[(9, "a", "x"), (1, "a", "x"), (4, "a", "x")]);
    check_numbers(odd, r#"aggregate_on_attributes("median")"#, &[("host=a state=x", 4)]);
    check_numbers(hosts(&[(9, "a", "x")]), r#"aggregate_on_attributes("count", [])"#, &[("", 1)]);
    let faults = Statement::parse(r#"aggregate_on_attributes("average")"#, Context::Metric);
    let message = r#"must be one of "sum", "mean", "min", "max", "median", "count""#;
    assert_eq!(faults.unwrap_err().to_string(), message);
}

#[test]
fn several_values_of_an_attribute_become_one() {
    let points =
        hosts(&[(1, "a", "used"), (2, "a", "cached"), (4, "a", "free"), (8, "b", "cached")]);
    check_numbers(
        points,
        r#"aggregate_on_attribute_value("sum", "state", ["used", "cached"], "taken")"#,
        &[("host=a state=taken", 3), ("host=a state=free", 4), ("host=b state=taken", 8)],
    );
}

#[test]
fn deltas_of_other_intervals_stay_apart_and_totals_begin_with_the_first() {
    let sum = |temporality: u64| {
        metric(DataKind::Sum, "calls", |sum| {
            for (start_ns, value) in [(20, 1), (10, 2), (20, 4)] {
                number(sum, start_ns, Number::Int(value), &[]);
            }
            sum.varint(2, temporality);
            sum.varint(3, 1);
        })
    };
    let statement = r#"aggregate_on_attributes("sum")"#;
    check_numbers(sum(1), statement, &[("", 5), ("", 2)]);
    check_numbers(sum(2), statement, &[("", 7)]);
    let totals = after(sum(2), statement);
    let totals = Metric::read(totals.draft.record());
    assert!(totals.monotonic);
    let starts: Vec<_> = totals.points().map(|raw| NumberDataPoint::read(raw).start_ns).collect();
    assert_eq!(starts, [10]);
}

#[test]
fn histograms_are_added_up() {
    let histograms = || {
        metric(DataKind::Histogram, "latency", |data| {
            for (bound, counts, sum, min) in
                [(5.0_f64, [1, 2], 9.0, 2.0), (5.0, [3, 0], 6.0, 1.0), (7.0, [1, 1], 10.0, 3.0)]
            {
                data.message(1, |point| {
                    point.string_attribute(9, b"method", b"GET");
                    point.fixed64(4, counts.iter().sum());
                    point.double(5, sum);
                    point.packed_fixed64(6, counts.into_iter());
                    point.packed_fixed64(7, [bound.to_bits()].into_iter());
                    point.message(8, |exemplar| exemplar.double(3, min));
                    point.double(11, min);
                });
            }
            data.varint(2, 2);
        })
    };
    let found = after(histograms(), r#"aggregate_on_attributes("sum", [])"#);
    let found = Metric::read(found.draft.record());
    let points: Vec<_> = found.points().map(HistogramDataPoint::read).collect();
    let [both, other] = &points[..] else { panic!("those of other bounds stay apart") };
    assert_eq!((both.count, both.sum, both.min, both.max), (6, Some(15.0), Some(1.0), None));
    assert_eq!(both.bucket_counts().collect::<Vec<_>>(), [4, 2]);
    assert_eq!((both.exemplars().count(), both.attributes().count()), (2, 0));
    assert_eq!((other.count, other.explicit_bounds().collect::<Vec<_>>()), (2, vec![7.0]));
    let error = run_on(Context::Metric, histograms(), &[r#"aggregate_on_attributes("mean")"#]);
    let message = "aggregate_on_attributes: of histograms there is only the sum";
    assert_eq!(error.err().as_deref(), Some(message));
}

#[test]
fn exponential_histograms_of_any_scale_are_added_up() {
    let histograms = metric(DataKind::ExponentialHistogram, "latency", |data| {
        // Values in (1, 2] and (2, 4]; once at a scale twice as fine.
        for (scale, counts) in [(0, vec![1, 2]), (1, vec![1, 1, 1, 1])] {
            data.message(1, |point| {
                point.fixed64(4, counts.iter().sum::<u64>() + 1);
                point.double(5, 6.0);
                point.zigzag(6, scale);
                point.fixed64(7, 1);
                point.message(8, |buckets| buckets.packed_varint(2, counts.into_iter()));
            });
        }
        data.varint(2, 2);
    });
    let found = after(histograms, r#"aggregate_on_attributes("sum")"#);
    let found = Metric::read(found.draft.record());
    let points: Vec<_> = found.points().map(ExponentialHistogramDataPoint::read).collect();
    let [point] = &points[..] else { panic!("one point") };
    assert_eq!((point.count, point.sum, point.scale, point.zero_count), (9, Some(12.0), 0, 2));
    assert_eq!(point.positive.counts().collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn a_metric_is_copied_with_what_is_given() {
    let statement = r#"copy_metric(name="copy", unit=Concat([unit, "2"], ""))"#;
    let mut done = after(hosts(&[(1, "a", "x")]), statement);
    assert!(!done.is_changed());
    let copies = done.draft.take_metrics();
    let [copy] = &copies[..] else { panic!("one copy") };
    let read = Metric::read(copy);
    assert_eq!(
        (read.name, read.unit, read.description),
        (&b"copy"[..], &b"ms2"[..], &b"For people."[..])
    );
    assert_eq!(numbers(copy).len(), 1);
}

#[test]
fn all_that_is_measured_is_scaled() {
    let mut scaled = after(hosts(&[(15, "a", "x")]), r#"scale_metric(0.1, "s")"#);
    scaled.check("it", &[r#"unit == "s""#]);
    assert_eq!(numbers(scaled.draft.record())[0].1, Number::Int(1));
    let histogram = metric(DataKind::Histogram, "latency", |data| {
        data.message(1, |point| {
            point.fixed64(4, 3);
            point.double(5, 9.0);
            point.packed_fixed64(6, [1, 2].into_iter());
            point.packed_fixed64(7, [5.0_f64.to_bits()].into_iter());
            point.message(8, |exemplar| exemplar.double(3, 4.0));
            point.double(11, 2.0);
            point.double(12, 4.0);
        });
    });
    scaled = after(histogram, "scale_metric(2)");
    let found = Metric::read(scaled.draft.record());
    let point = HistogramDataPoint::read(found.points().next().unwrap());
    assert_eq!(
        (point.count, point.sum, point.min, point.max),
        (3, Some(18.0), Some(4.0), Some(8.0))
    );
    assert_eq!(point.explicit_bounds().collect::<Vec<_>>(), [10.0]);
    assert_eq!(point.bucket_counts().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(point.exemplars().next().unwrap().value, Some(Number::Double(8.0)));
    scaled = after(summary(), "scale_metric(0.5)");
    let found = Metric::read(scaled.draft.record());
    let point = SummaryDataPoint::read(found.points().next().unwrap());
    assert_eq!((point.count, point.sum), (3, 6.0));
    assert_eq!(point.quantiles().collect::<Vec<_>>(), [(0.5, 1.0), (0.99, 4.0)]);
    let exponential = metric(DataKind::ExponentialHistogram, "e", |data| data.message(1, |_| {}));
    let error = run_on(Context::Metric, exponential, &["scale_metric(2.0)"]).err();
    let message = "scale_metric: exponential histograms cannot be scaled";
    assert_eq!(error.as_deref(), Some(message));
}

/// Two points, the first with a median of 2 and 99 % up to 8.
fn summary() -> Vec<u8> {
    metric(DataKind::Summary, "latency", |data| {
        data.message(1, |point| {
            point.string_attribute(7, b"method", b"GET");
            point.fixed64(3, 100);
            point.fixed64(4, 3);
            point.double(5, 12.0);
            for (quantile, value) in [(0.5, 2.0), (0.99, 8.0)] {
                point.message(6, |entry| {
                    entry.double(1, quantile);
                    entry.double(2, value);
                });
            }
        });
        data.message(1, |point| point.fixed64(4, 5));
    })
}

#[test]
fn parts_of_summaries_become_metrics() {
    let statements = [
        r#"convert_summary_count_val_to_sum("delta", true)"#,
        r#"convert_summary_sum_val_to_sum("cumulative", false, ".sum")"#,
        "convert_summary_quantile_val_to_gauge()",
    ];
    let mut after = run_on(Context::Metric, summary(), &statements).unwrap();
    assert!(!after.is_changed());
    let metrics = after.draft.take_metrics();
    let [counts, sums, quantiles] = &metrics[..] else { panic!("three metrics") };
    let read = |raw| {
        let metric = Metric::read(raw);
        let name = String::from_utf8_lossy(metric.name).into_owned();
        (name, metric.kind, metric.temporality, metric.monotonic)
    };
    let name = |name: &str| format!("latency{name}");
    let sum = Some(DataKind::Sum);
    assert_eq!(read(counts), (name("_count"), sum, Temporality::Delta, true));
    assert_eq!(read(sums), (name(".sum"), sum, Temporality::Cumulative, false));
    assert_eq!(read(quantiles).0, name(".quantiles"));
    let method = "method=GET".to_owned();
    assert_eq!(
        numbers(counts),
        [(method.clone(), Number::Int(3)), (String::new(), Number::Int(5))]
    );
    assert_eq!(numbers(sums)[0], (method, Number::Double(12.0)));
    assert_eq!(
        numbers(quantiles),
        [
            ("method=GET quantile=0.50".to_owned(), Number::Double(2.0)),
            ("method=GET quantile=0.99".to_owned(), Number::Double(8.0)),
        ]
    );
    // Of other metrics nothing is taken.
    for statement in statements {
        let mut other = run_on(Context::Metric, hosts(&[(1, "a", "x")]), &[statement]).unwrap();
        assert_eq!(other.draft.take_metrics().len(), 0, "{statement}");
    }
}

#[test]
fn a_statement_about_data_points_takes_its_part_of_a_summary() {
    let statement = r#"convert_summary_count_val_to_sum("delta", true)"#;
    let mut after = run_on(Context::DataPoint, summary(), &[statement]).unwrap();
    let metrics = after.draft.take_metrics();
    let [counts] = &metrics[..] else { panic!("one metric") };
    assert_eq!(numbers(counts), [("method=GET".to_owned(), Number::Int(3))]);
}
