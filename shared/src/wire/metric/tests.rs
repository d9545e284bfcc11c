use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::wire::{Attributes, Writer};

fn attributes() -> Vec<KeyValue> {
    let text = any_value::Value::StringValue("v".to_owned());
    let value = Some(AnyValue { value: Some(text) });
    vec![KeyValue { key: "k".to_owned(), value, ..KeyValue::default() }]
}

fn metric(data: otlp::metric::Data) -> Vec<u8> {
    let metric = otlp::Metric {
        name: "m".to_owned(),
        description: "what it is".to_owned(),
        unit: "ms".to_owned(),
        data: Some(data),
        ..otlp::Metric::default()
    };
    metric.encode_to_vec()
}

fn keys(attributes: Attributes<'_>) -> Vec<&[u8]> {
    attributes.map(|(key, _)| key).collect()
}

#[test]
fn a_sum_is_read_with_its_points() {
    let point = |value| otlp::NumberDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 5,
        time_unix_nano: 9,
        value: Some(value),
        ..otlp::NumberDataPoint::default()
    };
    let raw = metric(otlp::metric::Data::Sum(otlp::Sum {
        data_points: vec![
            point(otlp::number_data_point::Value::AsInt(-3)),
            point(otlp::number_data_point::Value::AsDouble(0.5)),
        ],
        aggregation_temporality: 2,
        is_monotonic: true,
    }));
    let metric = Metric::read(&raw);
    assert_eq!((metric.name, metric.unit), (&b"m"[..], &b"ms"[..]));
    assert_eq!(metric.description, b"what it is");
    assert_eq!(metric.kind, Some(DataKind::Sum));
    assert_eq!((metric.temporality, metric.monotonic), (Temporality::Cumulative, true));
    let points: Vec<_> = metric.points().map(NumberDataPoint::read).collect();
    let values: Vec<_> = points.iter().filter_map(|point| point.value).collect();
    assert_eq!(values, [Number::Int(-3), Number::Double(0.5)]);
    assert_eq!((points[0].start_ns, points[0].time_ns), (5, 9));
    assert_eq!(keys(points[0].attributes()), [b"k"]);
}

#[test]
fn a_histogram_is_read_packed_and_unpacked() {
    let raw = metric(otlp::metric::Data::Histogram(otlp::Histogram {
        data_points: vec![otlp::HistogramDataPoint {
            attributes: attributes(),
            count: 6,
            sum: Some(2.5),
            bucket_counts: vec![1, 2, 3],
            explicit_bounds: vec![0.5, 10.0],
            min: Some(0.25),
            max: Some(12.0),
            flags: 1,
            ..otlp::HistogramDataPoint::default()
        }],
        aggregation_temporality: 1,
    }));
    let metric = Metric::read(&raw);
    assert_eq!(metric.kind, Some(DataKind::Histogram));
    assert_eq!(metric.temporality, Temporality::Delta);
    let point = HistogramDataPoint::read(metric.points().next().unwrap());
    assert_eq!((point.count, point.sum, point.no_recorded_value), (6, Some(2.5), true));
    assert_eq!((point.min, point.max), (Some(0.25), Some(12.0)));
    assert!(point.bucket_counts().eq([1, 2, 3]));
    assert!(point.explicit_bounds().eq([0.5, 10.0]));
    assert_eq!(keys(point.attributes()), [b"k"]);

    let mut writer = Writer::new();
    writer.fixed64(6, 1);
    writer.packed_fixed64(6, [2, 3].into_iter());
    writer.double(7, 0.5);
    let unpacked = writer.into_vec();
    let point = HistogramDataPoint::read(&unpacked);
    assert!(point.bucket_counts().eq([1, 2, 3]));
    assert!(point.explicit_bounds().eq([0.5]));
    assert_eq!(point.sum, None);
}

#[test]
fn an_exponential_histogram_is_read() {
    let buckets = |offset, counts| {
        Some(otlp::exponential_histogram_data_point::Buckets { offset, bucket_counts: counts })
    };
    let raw = metric(otlp::metric::Data::ExponentialHistogram(otlp::ExponentialHistogram {
        data_points: vec![otlp::ExponentialHistogramDataPoint {
            attributes: attributes(),
            count: 400,
            scale: -4,
            zero_count: 1,
            positive: buckets(-64, vec![1, 0, 300]),
            negative: buckets(7, vec![98]),
            min: Some(-3.0),
            max: Some(8.0),
            zero_threshold: 0.5,
            ..otlp::ExponentialHistogramDataPoint::default()
        }],
        aggregation_temporality: 2,
    }));
    let metric = Metric::read(&raw);
    let point = ExponentialHistogramDataPoint::read(metric.points().next().unwrap());
    assert_eq!((point.count, point.scale, point.zero_count), (400, -4, 1));
    assert_eq!((point.positive.offset, point.negative.offset), (-64, 7));
    assert_eq!((point.min, point.max), (Some(-3.0), Some(8.0)));
    assert_eq!(point.zero_threshold.to_bits(), 0.5_f64.to_bits());
    assert!(point.positive.counts().eq([1, 0, 300]));
    assert!(point.negative.counts().eq([98]));
    assert_eq!(keys(point.attributes()), [b"k"]);
}

#[test]
fn a_summary_is_read() {
    let quantile = |quantile, value| otlp::summary_data_point::ValueAtQuantile { quantile, value };
    let raw = metric(otlp::metric::Data::Summary(otlp::Summary {
        data_points: vec![otlp::SummaryDataPoint {
            attributes: attributes(),
            count: 3,
            sum: 1.5,
            quantile_values: vec![quantile(0.5, 0.4), quantile(0.99, 0.9)],
            ..otlp::SummaryDataPoint::default()
        }],
    }));
    let metric = Metric::read(&raw);
    assert_eq!(metric.kind, Some(DataKind::Summary));
    let point = SummaryDataPoint::read(metric.points().next().unwrap());
    assert_eq!((point.count, point.sum.to_bits()), (3, 1.5_f64.to_bits()));
    assert!(point.quantiles().eq([(0.5, 0.4), (0.99, 0.9)]));
    assert_eq!(keys(point.attributes()), [b"k"]);
}

#[test]
fn exemplars_are_read_of_all_that_have_them() {
    let exemplar = |value| otlp::Exemplar {
        filtered_attributes: attributes(),
        time_unix_nano: 7,
        span_id: vec![1; 8],
        trace_id: vec![2; 16],
        value: Some(value),
    };
    let exemplars = vec![
        exemplar(otlp::exemplar::Value::AsDouble(12.5)),
        exemplar(otlp::exemplar::Value::AsInt(-3)),
    ];
    let number =
        otlp::NumberDataPoint { exemplars: exemplars.clone(), ..otlp::NumberDataPoint::default() };
    let histogram = otlp::HistogramDataPoint {
        exemplars: exemplars.clone(),
        ..otlp::HistogramDataPoint::default()
    };
    let exponential = otlp::ExponentialHistogramDataPoint {
        exemplars,
        ..otlp::ExponentialHistogramDataPoint::default()
    };
    let number = number.encode_to_vec();
    let (histogram, exponential) = (histogram.encode_to_vec(), exponential.encode_to_vec());
    for read in [
        NumberDataPoint::read(&number).exemplars().collect::<Vec<_>>(),
        HistogramDataPoint::read(&histogram).exemplars().collect(),
        ExponentialHistogramDataPoint::read(&exponential).exemplars().collect(),
    ] {
        let values: Vec<_> = read.iter().filter_map(|exemplar| exemplar.value).collect();
        assert_eq!(values, [Number::Double(12.5), Number::Int(-3)]);
        assert_eq!((read[0].time_ns, read[0].span_id), (7, &[1; 8][..]));
        assert_eq!(read[1].trace_id, [2; 16]);
        assert_eq!(keys(read[1].filtered_attributes()), [b"k"]);
    }
}

proptest! {
    #[test]
    fn no_input_panics(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        let metric = Metric::read(&raw);
        let points = metric.points().count();
        prop_assert!(points <= raw.len());
        HistogramDataPoint::read(&raw).bucket_counts().count();
        ExponentialHistogramDataPoint::read(&raw).positive.counts().count();
        Buckets::read(&raw).counts().count();
        SummaryDataPoint::read(&raw).quantiles().count();
        NumberDataPoint::read(&raw).attributes().count();
        HistogramDataPoint::read(&raw).exemplars().count();
    }

    #[test]
    fn zigzag_is_undone(value in any::<i32>()) {
        let mut writer = Writer::new();
        writer.zigzag(6, i64::from(value));
        prop_assert_eq!(ExponentialHistogramDataPoint::read(writer.as_slice()).scale, value);
    }
}
