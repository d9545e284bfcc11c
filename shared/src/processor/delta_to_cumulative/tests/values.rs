//! What is added to what, and what a stream is.

use super::*;
use crate::exponential_histogram::ExponentialHistogram;
use crate::wire::Writer;

#[test]
fn deltas_become_totals_since_the_first_one() {
    let accumulator = one_writer();
    let (first, tally) = totals(&accumulator, vec![number(10, 20, 5), number(20, 30, 2)]);
    assert_eq!(first, [(10, 20, 5), (10, 30, 7)]);
    assert_eq!(tally, Tally { added: 2, ..Tally::default() });
    // A gap is an interval without anything to tell.
    assert_eq!(totals(&accumulator, vec![number(50, 60, 1)]).0, [(10, 60, 8)]);
    // A start that is not known says nothing.
    assert_eq!(totals(&accumulator, vec![number(0, 70, 1)]).0, [(10, 70, 9)]);
    assert_eq!(accumulator.streams(), 1);
}

#[test]
fn with_one_writer_points_must_follow_each_other() {
    let accumulator = one_writer();
    totals(&accumulator, vec![number(10, 20, 5)]);
    for (point, reason) in [
        (number(9, 30, 1), DropReason::OlderStart),
        (number(10, 20, 5), DropReason::OutOfOrder),
        (number(15, 19, 1), DropReason::OutOfOrder),
        (otlp::NumberDataPoint { value: None, ..number(20, 30, 0) }, DropReason::Malformed),
    ] {
        assert_eq!(totals(&accumulator, vec![point]), (Vec::new(), dropped(reason)), "{reason:?}");
    }
    let (left, tally) = totals(&accumulator, vec![number(9, 30, 1), number(20, 30, 1)]);
    assert_eq!((left, tally.added), (vec![(10, 30, 6)], 1));
}

#[test]
fn all_that_a_total_does_not_replace_is_kept() {
    let accumulator = one_writer();
    let exemplar = otlp::Exemplar { trace_id: vec![7; 16], ..otlp::Exemplar::default() };
    let point = otlp::NumberDataPoint { exemplars: vec![exemplar], ..number(10, 20, 5) };
    let metric = otlp::Metric {
        description: "what it is".to_owned(),
        unit: "{call}".to_owned(),
        metadata: vec![text("m", "d")],
        ..sum(vec![point])
    };
    let mut expected = metric.clone();
    let Some(Data::Sum(sum)) = &mut expected.data else { unreachable!() };
    sum.aggregation_temporality = CUMULATIVE;
    assert_eq!(decoded(accumulator.accumulate(metrics(vec![metric]), 0).0), [expected]);
}

#[test]
fn what_holds_no_deltas_passes_through() {
    let accumulator = one_writer();
    let mut total = sum(vec![number(10, 20, 5)]);
    let Some(Data::Sum(sum)) = &mut total.data else { unreachable!() };
    sum.aggregation_temporality = CUMULATIVE;
    let gauge = named("g", Data::Gauge(otlp::Gauge { data_points: vec![number(0, 5, 1)] }));
    let untouched = metrics(vec![total.clone(), gauge.clone()]);
    let (passed, tally) = accumulator.accumulate(untouched.clone(), 0);
    assert_eq!(passed.unwrap().bytes().as_ptr(), untouched.bytes().as_ptr());
    assert_eq!((tally, accumulator.streams()), (Tally::default(), 0));

    // Beside deltas, too, even beside one that is dropped.
    totals(&accumulator, vec![number(10, 20, 5)]);
    let stray = super::sum(vec![number(10, 20, 5)]);
    let mixed = accumulator.accumulate(metrics(vec![gauge.clone(), stray, total.clone()]), 0).0;
    assert_eq!(decoded(mixed), [gauge, total]);
}

#[test]
fn a_double_makes_the_total_a_double() {
    let accumulator = one_writer();
    totals(&accumulator, vec![number(10, 20, 5)]);
    let half = otlp::NumberDataPoint {
        value: Some(number_data_point::Value::AsDouble(0.5)),
        ..number(20, 30, 0)
    };
    let (batch, _) = accumulator.accumulate(metrics(vec![sum(vec![half])]), 0);
    let value = sum_points(decoded(batch))[0].value;
    assert_eq!(value, Some(number_data_point::Value::AsDouble(5.5)));
}

#[test]
fn a_stream_is_told_by_all_that_names_it() {
    let accumulator = one_writer();
    let plain = || entry(vec![sum(vec![number(10, 20, 1)])]);
    let mut entries = vec![plain(); 8];
    entries[1].resource = None;
    entries[2].scope_metrics[0].scope.as_mut().unwrap().version = "2".to_owned();
    entries[3].scope_metrics[0].scope.as_mut().unwrap().attributes = vec![text("a", "b")];
    entries[4].scope_metrics[0].metrics[0].name = "other".to_owned();
    entries[5].scope_metrics[0].metrics[0].unit = "s".to_owned();
    for (index, change) in [
        (6, (|sum: &mut otlp::Sum| sum.is_monotonic = false) as fn(&mut otlp::Sum)),
        (7, |sum: &mut otlp::Sum| sum.data_points[0].attributes = vec![text("k", "w")]),
    ] {
        let Some(Data::Sum(sum)) = &mut entries[index].scope_metrics[0].metrics[0].data else {
            unreachable!()
        };
        change(sum);
    }
    accumulator.accumulate(batch(entries.clone()), 0);
    assert_eq!(accumulator.streams(), 8);
    // Schemas and descriptions are no part of it.
    for entry in &mut entries {
        entry.schema_url = "https://schema".to_owned();
        entry.scope_metrics[0].metrics[0].description = "for people".to_owned();
    }
    let (_, tally) = accumulator.accumulate(batch(entries), 0);
    assert_eq!((accumulator.streams(), tally.all_dropped()), (8, 8), "all were known");
}

fn histogram(start: u64, time: u64, counts: &[u64], bounds: &[f64]) -> otlp::HistogramDataPoint {
    let count = counts.iter().sum();
    otlp::HistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: time,
        count,
        sum: Some(2.0),
        min: (count > 0).then_some(0.5),
        max: (count > 0).then(|| f64::from(u32::try_from(time).unwrap())),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..otlp::HistogramDataPoint::default()
    }
}

fn histogram_totals(
    accumulator: &Accumulator,
    points: Vec<otlp::HistogramDataPoint>,
) -> (Vec<otlp::HistogramDataPoint>, Tally) {
    let data = otlp::Histogram { data_points: points, aggregation_temporality: DELTA };
    let metric = named("duration", Data::Histogram(data));
    let (batch, tally) = accumulator.accumulate(metrics(vec![metric]), 0);
    let mut points = Vec::new();
    for metric in decoded(batch) {
        let Some(Data::Histogram(data)) = metric.data else { panic!("only histograms were given") };
        assert_eq!(data.aggregation_temporality, CUMULATIVE);
        points.extend(data.data_points);
    }
    (points, tally)
}

#[test]
fn histograms_are_added_bucket_by_bucket() {
    let accumulator = one_writer();
    let point = |start, time, counts| histogram(start, time, counts, &[1.0, 2.0]);
    let deltas = vec![point(0, 0, &[0, 0, 0]), point(0, 10, &[1, 2, 3]), point(10, 20, &[0, 4, 0])];
    let (points, tally) = histogram_totals(&accumulator, deltas);
    assert_eq!((points.len(), tally.added), (3, 3));
    let expected = otlp::HistogramDataPoint {
        sum: Some(6.0),
        min: Some(0.5),
        max: Some(20.0),
        ..point(0, 20, &[1, 6, 3])
    };
    assert_eq!(points[2], expected);
    // Without buckets, and with a sum that is not known any more.
    let bare = otlp::HistogramDataPoint { count: 3, sum: None, ..histogram(0, 5, &[], &[]) };
    let other = one_writer();
    histogram_totals(&other, vec![bare.clone()]);
    let next = otlp::HistogramDataPoint { count: 4, sum: Some(1.0), ..histogram(5, 6, &[], &[]) };
    let (points, _) = histogram_totals(&other, vec![next]);
    assert_eq!((points[0].count, points[0].sum), (7, None));
    assert!(points[0].bucket_counts.is_empty());
}

#[test]
fn a_histogram_with_other_bounds_begins_anew() {
    let accumulator = one_writer();
    histogram_totals(&accumulator, vec![histogram(5, 10, &[1, 2], &[1.0])]);
    let other = histogram(10, 20, &[3, 4], &[2.0]);
    let (points, tally) = histogram_totals(&accumulator, vec![other.clone()]);
    assert_eq!((points, tally.resets, tally.added), (vec![other], 1, 1));
    let broken = histogram(20, 30, &[3, 4], &[2.0, 3.0]);
    assert_eq!(
        histogram_totals(&accumulator, vec![broken]),
        (Vec::new(), dropped(DropReason::Malformed))
    );
}

#[test]
fn exponential_histograms_are_merged_as_if_one_had_seen_all() {
    let accumulator = one_writer();
    let all = [0.0, 0.3, 1.0, 7.5, 900.0, -4.0, 1e-7];
    let mut expected = ExponentialHistogram::new(160);
    for (time, value) in (1..).zip(all) {
        let mut delta = ExponentialHistogram::new(160);
        delta.observe(value, 1);
        expected.observe(value, 1);
        let mut point = Writer::new();
        point.fixed64(2, time - 1);
        point.fixed64(3, time);
        delta.write(&mut point);
        let point = otlp::ExponentialHistogramDataPoint::decode(point.as_slice()).unwrap();
        let data_points = vec![point];
        let data = otlp::ExponentialHistogram { data_points, aggregation_temporality: DELTA };
        let metric = named("duration", Data::ExponentialHistogram(data));
        let (batch, _) = accumulator.accumulate(metrics(vec![metric]), 0);
        let metric = decoded(batch).pop().unwrap();
        let Some(Data::ExponentialHistogram(data)) = metric.data else { unreachable!() };
        let mut written = Writer::new();
        written.fixed64(3, time);
        expected.write(&mut written);
        let expected = otlp::ExponentialHistogramDataPoint::decode(written.as_slice()).unwrap();
        assert_eq!(data.data_points, [expected]);
    }
}

#[test]
fn a_point_that_ends_its_stream_does() {
    let accumulator = one_writer();
    totals(&accumulator, vec![number(10, 20, 5)]);
    let end = otlp::NumberDataPoint { flags: 1, value: None, ..number(20, 30, 0) };
    let (batch, tally) = accumulator.accumulate(metrics(vec![sum(vec![end.clone()])]), 0);
    assert_eq!(sum_points(decoded(batch)), [end]);
    assert_eq!((tally.added, accumulator.streams(), accumulator.bytes()), (1, 0, 0));
    assert_eq!(totals(&accumulator, vec![number(5, 6, 1)]).0, [(5, 6, 1)]);
}

#[test]
fn above_the_limit_known_streams_go_on_and_new_ones_are_dropped() {
    let known = || number(10, 20, 5);
    let other = || otlp::NumberDataPoint { attributes: Vec::new(), ..number(10, 20, 5) };
    let one = one_writer();
    totals(&one, vec![known()]);
    for limits in [
        Limits { streams: 1, bytes: usize::MAX, order: Order::OneWriter },
        Limits { streams: usize::MAX, bytes: one.bytes(), order: Order::OneWriter },
    ] {
        let accumulator = Accumulator::new(limits);
        let (points, tally) = totals(&accumulator, vec![known(), other()]);
        assert_eq!((points.len(), tally), (1, Tally { added: 1, ..dropped(DropReason::Limit) }));
        assert_eq!(totals(&accumulator, vec![number(20, 30, 1)]).0, [(10, 30, 6)]);
        assert_eq!((accumulator.streams(), accumulator.bytes()), (1, one.bytes()));
    }
}

#[test]
fn a_stream_without_points_is_forgotten_and_begins_anew() {
    let accumulator = one_writer();
    let point = |start, time| metrics(vec![sum(vec![number(start, time, 1)])]);
    accumulator.accumulate(point(10, 20), 100);
    // A point that is dropped is a sign of life.
    accumulator.accumulate(point(1, 2), 150);
    assert_eq!(accumulator.expire(199, 50), 0);
    assert_eq!(accumulator.expire(200, 50), 1);
    assert_eq!((accumulator.streams(), accumulator.bytes()), (0, 0));
    assert_eq!(totals(&accumulator, vec![number(1, 2, 1)]).0, [(1, 2, 1)]);
}
