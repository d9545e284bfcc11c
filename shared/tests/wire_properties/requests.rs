//! Arbitrary requests, built from arbitrary bytes: where the bytes end, everything is zero or
//! empty, so a shorter input makes a smaller request.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use shared::Signal;

use crate::oracle::Request;

/// The bytes that decide.
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    /// How many of the doubles below to choose from.
    doubles: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, doubles: 10 }
    }

    /// Without NaN and infinities.
    pub(crate) fn finite(bytes: &'a [u8]) -> Self {
        Self { bytes, doubles: 7 }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    fn list<T>(&mut self, max: usize, element: fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(max + 1)).map(|_| element(self)).collect()
    }

    fn maybe<T>(&mut self, value: fn(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 1).then(|| value(self))
    }

    fn text(&mut self) -> String {
        ["", "a", "service.name", "GET /\u{2603}", "\"\\\n\u{1}\u{10ffff}"][self.below(5)]
            .to_owned()
    }

    fn u64(&mut self) -> u64 {
        [0, 1, 127, 128, 1_544_712_660_000_000_123, 1 << 63, u64::MAX][self.below(7)]
    }

    fn u32(&mut self) -> u32 {
        [0, 1, 300, u32::MAX][self.below(4)]
    }

    fn i32(&mut self) -> i32 {
        [0, 1, -1, 77, i32::MIN, i32::MAX][self.below(6)]
    }

    fn f64(&mut self) -> f64 {
        let numbers = [0.0, -0.0, 0.1, -1.5, 1e300, 5e-324, f64::MAX];
        let others = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        *numbers.iter().chain(&others).nth(self.below(self.doubles)).expect("there are ten")
    }

    fn bytes(&mut self) -> Vec<u8> {
        self.list(5, Self::byte)
    }

    /// One of four trace ids, or none.
    fn trace_id(&mut self) -> Vec<u8> {
        match self.below(5) {
            0 => Vec::new(),
            id => vec![u8::try_from(id).expect("an id below five"); 16],
        }
    }

    fn span_id(&mut self) -> Vec<u8> {
        let id = self.byte();
        self.maybe(|_| ()).map_or(Vec::new(), |()| vec![id; 8])
    }

    fn value(&mut self) -> AnyValue {
        use any_value::Value;
        let value = match self.below(8) {
            0 => None,
            1 => Some(Value::StringValue(self.text())),
            2 => Some(Value::BoolValue(self.below(2) == 1)),
            3 => Some(Value::IntValue(self.u64().cast_signed())),
            4 => Some(Value::DoubleValue(self.f64())),
            5 => Some(Value::BytesValue(self.bytes())),
            6 => Some(Value::ArrayValue(ArrayValue { values: self.list(2, Self::value) })),
            _ => Some(Value::KvlistValue(KeyValueList { values: self.attributes() })),
        };
        AnyValue { value }
    }

    fn attribute(&mut self) -> KeyValue {
        KeyValue { key: self.text(), value: self.maybe(Self::value), ..Default::default() }
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        self.list(3, Self::attribute)
    }

    fn resource(&mut self) -> Resource {
        Resource {
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            entity_refs: self.list(1, |source| EntityRef {
                schema_url: source.text(),
                r#type: source.text(),
                id_keys: source.list(2, Self::text),
                description_keys: source.list(2, Self::text),
            }),
        }
    }

    fn scope(&mut self) -> InstrumentationScope {
        InstrumentationScope {
            name: self.text(),
            version: self.text(),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
        }
    }

    /// A request of `signal` with up to three resources.
    pub(crate) fn request(&mut self, signal: Signal) -> Request {
        match signal {
            Signal::Traces => Request::Traces(ExportTraceServiceRequest {
                resource_spans: self.list(3, |source| ResourceSpans {
                    resource: source.maybe(Self::resource),
                    scope_spans: source.list(3, |source| ScopeSpans {
                        scope: source.maybe(Self::scope),
                        spans: source.list(4, Self::span),
                        schema_url: source.text(),
                    }),
                    schema_url: source.text(),
                }),
            }),
            Signal::Metrics => Request::Metrics(ExportMetricsServiceRequest {
                resource_metrics: self.list(3, |source| ResourceMetrics {
                    resource: source.maybe(Self::resource),
                    scope_metrics: source.list(3, |source| ScopeMetrics {
                        scope: source.maybe(Self::scope),
                        metrics: source.list(4, Self::metric),
                        schema_url: source.text(),
                    }),
                    schema_url: source.text(),
                }),
            }),
            Signal::Logs => Request::Logs(ExportLogsServiceRequest {
                resource_logs: self.list(3, |source| ResourceLogs {
                    resource: source.maybe(Self::resource),
                    scope_logs: source.list(3, |source| ScopeLogs {
                        scope: source.maybe(Self::scope),
                        log_records: source.list(4, Self::log_record),
                        schema_url: source.text(),
                    }),
                    schema_url: source.text(),
                }),
            }),
        }
    }

    fn span(&mut self) -> Span {
        Span {
            trace_id: self.trace_id(),
            span_id: self.span_id(),
            trace_state: self.text(),
            parent_span_id: self.span_id(),
            flags: self.u32(),
            name: self.text(),
            kind: self.i32(),
            start_time_unix_nano: self.u64(),
            end_time_unix_nano: self.u64(),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            events: self.list(2, |source| Event {
                time_unix_nano: source.u64(),
                name: source.text(),
                attributes: source.attributes(),
                dropped_attributes_count: source.u32(),
            }),
            dropped_events_count: self.u32(),
            links: self.list(2, |source| Link {
                trace_id: source.trace_id(),
                span_id: source.span_id(),
                trace_state: source.text(),
                attributes: source.attributes(),
                dropped_attributes_count: source.u32(),
                flags: source.u32(),
            }),
            dropped_links_count: self.u32(),
            status: self.maybe(|source| Status { message: source.text(), code: source.i32() }),
        }
    }

    fn log_record(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.u64(),
            observed_time_unix_nano: self.u64(),
            severity_number: self.i32(),
            severity_text: self.text(),
            body: self.maybe(Self::value),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            flags: self.u32(),
            trace_id: self.trace_id(),
            span_id: self.span_id(),
            event_name: self.text(),
        }
    }

    fn metric(&mut self) -> Metric {
        let temporality = self.i32();
        let data = match self.below(6) {
            0 => None,
            1 => Some(metric::Data::Gauge(Gauge { data_points: self.list(3, Self::number) })),
            2 => Some(metric::Data::Sum(Sum {
                data_points: self.list(3, Self::number),
                aggregation_temporality: temporality,
                is_monotonic: self.below(2) == 1,
            })),
            3 => Some(metric::Data::Histogram(Histogram {
                data_points: self.list(3, Self::histogram),
                aggregation_temporality: temporality,
            })),
            4 => Some(metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.list(3, Self::exponential),
                aggregation_temporality: temporality,
            })),
            _ => Some(metric::Data::Summary(Summary { data_points: self.list(3, Self::summary) })),
        };
        Metric {
            name: self.text(),
            description: self.text(),
            unit: self.text(),
            metadata: self.attributes(),
            data,
        }
    }

    fn number(&mut self) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            exemplars: self.list(2, Self::exemplar),
            flags: self.u32(),
            value: match self.below(3) {
                0 => None,
                1 => Some(number_data_point::Value::AsDouble(self.f64())),
                _ => Some(number_data_point::Value::AsInt(self.u64().cast_signed())),
            },
        }
    }

    fn exemplar(&mut self) -> Exemplar {
        Exemplar {
            filtered_attributes: self.attributes(),
            time_unix_nano: self.u64(),
            span_id: self.span_id(),
            trace_id: self.trace_id(),
            value: match self.below(3) {
                0 => None,
                1 => Some(exemplar::Value::AsDouble(self.f64())),
                _ => Some(exemplar::Value::AsInt(self.u64().cast_signed())),
            },
        }
    }

    fn histogram(&mut self) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.maybe(Self::f64),
            bucket_counts: self.list(4, Self::u64),
            explicit_bounds: self.list(4, Self::f64),
            exemplars: self.list(2, Self::exemplar),
            flags: self.u32(),
            min: self.maybe(Self::f64),
            max: self.maybe(Self::f64),
        }
    }

    fn exponential(&mut self) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.maybe(Self::f64),
            scale: self.i32(),
            zero_count: self.u64(),
            positive: self.maybe(Self::buckets),
            negative: self.maybe(Self::buckets),
            flags: self.u32(),
            exemplars: self.list(2, Self::exemplar),
            min: self.maybe(Self::f64),
            max: self.maybe(Self::f64),
            zero_threshold: self.f64(),
        }
    }

    fn buckets(&mut self) -> Buckets {
        Buckets { offset: self.i32(), bucket_counts: self.list(4, Self::u64) }
    }

    fn summary(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.f64(),
            quantile_values: self
                .list(2, |source| ValueAtQuantile { quantile: source.f64(), value: source.f64() }),
            flags: self.u32(),
        }
    }
}
