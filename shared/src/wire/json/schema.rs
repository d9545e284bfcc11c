//! OTLP's messages as tables: field numbers, names and types.
//!
//! Source: opentelemetry-proto, v1 of traces, metrics, logs, common and resource.

use crate::wire::Signal;

/// A message and its fields, in the order in which they are written.
pub(super) struct Message {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
    /// Of these fields only the last one given counts.
    pub(super) oneof: &'static [u32],
}

pub(super) struct Field {
    pub(super) number: u32,
    /// In `lowerCamelCase`.
    pub(super) name: &'static str,
    pub(super) label: Label,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    One,
    Many,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    String,
    Bytes,
    /// Bytes of this length or none, in hex.
    Id(usize),
    Bool,
    Uint32,
    Uint64,
    Sint32,
    Int64,
    Fixed32,
    Fixed64,
    Sfixed64,
    Double,
    /// The names, by number from 0.
    Enum(&'static [&'static str]),
    Message(&'static Message),
}

impl Message {
    /// The export request of a signal.
    pub(super) fn request(signal: Signal) -> &'static Message {
        match signal {
            Signal::Traces => &TRACES_REQUEST,
            Signal::Metrics => &METRICS_REQUEST,
            Signal::Logs => &LOGS_REQUEST,
        }
    }

    /// The field of that name, in `lowerCamelCase` or `snake_case`.
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name || is_snake_case(name, field.name))
    }
}

/// Whether `name` is `camel` with `_x` for every `X`.
fn is_snake_case(name: &str, camel: &str) -> bool {
    let mut rest = name.bytes();
    for byte in camel.bytes() {
        if byte.is_ascii_uppercase() && rest.next() != Some(b'_') {
            return false;
        }
        if rest.next() != Some(byte.to_ascii_lowercase()) {
            return false;
        }
    }
    rest.next().is_none()
}

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, label: Label::One, kind }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, label: Label::Many, kind }
}

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, fields, oneof: &[] }
}

const fn with_oneof(
    name: &'static str,
    oneof: &'static [u32],
    fields: &'static [Field],
) -> Message {
    Message { name, fields, oneof }
}

use Kind::{
    Bool, Bytes, Double, Enum, Fixed32, Fixed64, Id, Int64, Message as Nested, Sfixed64, Sint32,
    String as Text, Uint32, Uint64,
};

static TRACES_REQUEST: Message =
    message("ExportTraceServiceRequest", &[many(1, "resourceSpans", Nested(&RESOURCE_SPANS))]);

static RESOURCE_SPANS: Message = message(
    "ResourceSpans",
    &[
        one(1, "resource", Nested(&RESOURCE)),
        many(2, "scopeSpans", Nested(&SCOPE_SPANS)),
        one(3, "schemaUrl", Text),
    ],
);

static SCOPE_SPANS: Message = message(
    "ScopeSpans",
    &[one(1, "scope", Nested(&SCOPE)), many(2, "spans", Nested(&SPAN)), one(3, "schemaUrl", Text)],
);

static SPAN: Message = message(
    "Span",
    &[
        one(1, "traceId", Id(16)),
        one(2, "spanId", Id(8)),
        one(3, "traceState", Text),
        one(4, "parentSpanId", Id(8)),
        one(16, "flags", Fixed32),
        one(5, "name", Text),
        one(6, "kind", Enum(SPAN_KINDS)),
        one(7, "startTimeUnixNano", Fixed64),
        one(8, "endTimeUnixNano", Fixed64),
        many(9, "attributes", Nested(&KEY_VALUE)),
        one(10, "droppedAttributesCount", Uint32),
        many(11, "events", Nested(&EVENT)),
        one(12, "droppedEventsCount", Uint32),
        many(13, "links", Nested(&LINK)),
        one(14, "droppedLinksCount", Uint32),
        one(15, "status", Nested(&STATUS)),
    ],
);

static EVENT: Message = message(
    "Span.Event",
    &[
        one(1, "timeUnixNano", Fixed64),
        one(2, "name", Text),
        many(3, "attributes", Nested(&KEY_VALUE)),
        one(4, "droppedAttributesCount", Uint32),
    ],
);

static LINK: Message = message(
    "Span.Link",
    &[
        one(1, "traceId", Id(16)),
        one(2, "spanId", Id(8)),
        one(3, "traceState", Text),
        many(4, "attributes", Nested(&KEY_VALUE)),
        one(5, "droppedAttributesCount", Uint32),
        one(6, "flags", Fixed32),
    ],
);

static STATUS: Message =
    message("Status", &[one(2, "message", Text), one(3, "code", Enum(STATUS_CODES))]);

static LOGS_REQUEST: Message =
    message("ExportLogsServiceRequest", &[many(1, "resourceLogs", Nested(&RESOURCE_LOGS))]);

static RESOURCE_LOGS: Message = message(
    "ResourceLogs",
    &[
        one(1, "resource", Nested(&RESOURCE)),
        many(2, "scopeLogs", Nested(&SCOPE_LOGS)),
        one(3, "schemaUrl", Text),
    ],
);

static SCOPE_LOGS: Message = message(
    "ScopeLogs",
    &[
        one(1, "scope", Nested(&SCOPE)),
        many(2, "logRecords", Nested(&LOG_RECORD)),
        one(3, "schemaUrl", Text),
    ],
);

static LOG_RECORD: Message = message(
    "LogRecord",
    &[
        one(1, "timeUnixNano", Fixed64),
        one(11, "observedTimeUnixNano", Fixed64),
        one(2, "severityNumber", Enum(SEVERITIES)),
        one(3, "severityText", Text),
        one(5, "body", Nested(&ANY_VALUE)),
        many(6, "attributes", Nested(&KEY_VALUE)),
        one(7, "droppedAttributesCount", Uint32),
        one(8, "flags", Fixed32),
        one(9, "traceId", Id(16)),
        one(10, "spanId", Id(8)),
        one(12, "eventName", Text),
    ],
);

static METRICS_REQUEST: Message = message(
    "ExportMetricsServiceRequest",
    &[many(1, "resourceMetrics", Nested(&RESOURCE_METRICS))],
);

static RESOURCE_METRICS: Message = message(
    "ResourceMetrics",
    &[
        one(1, "resource", Nested(&RESOURCE)),
        many(2, "scopeMetrics", Nested(&SCOPE_METRICS)),
        one(3, "schemaUrl", Text),
    ],
);

static SCOPE_METRICS: Message = message(
    "ScopeMetrics",
    &[
        one(1, "scope", Nested(&SCOPE)),
        many(2, "metrics", Nested(&METRIC)),
        one(3, "schemaUrl", Text),
    ],
);

static METRIC: Message = with_oneof(
    "Metric",
    &[5, 7, 9, 10, 11],
    &[
        one(1, "name", Text),
        one(2, "description", Text),
        one(3, "unit", Text),
        one(5, "gauge", Nested(&GAUGE)),
        one(7, "sum", Nested(&SUM)),
        one(9, "histogram", Nested(&HISTOGRAM)),
        one(10, "exponentialHistogram", Nested(&EXPONENTIAL_HISTOGRAM)),
        one(11, "summary", Nested(&SUMMARY)),
        many(12, "metadata", Nested(&KEY_VALUE)),
    ],
);

static GAUGE: Message = message("Gauge", &[many(1, "dataPoints", Nested(&NUMBER_POINT))]);

static SUM: Message = message(
    "Sum",
    &[
        many(1, "dataPoints", Nested(&NUMBER_POINT)),
        one(2, "aggregationTemporality", Enum(TEMPORALITIES)),
        one(3, "isMonotonic", Bool),
    ],
);

static HISTOGRAM: Message = message(
    "Histogram",
    &[
        many(1, "dataPoints", Nested(&HISTOGRAM_POINT)),
        one(2, "aggregationTemporality", Enum(TEMPORALITIES)),
    ],
);

static EXPONENTIAL_HISTOGRAM: Message = message(
    "ExponentialHistogram",
    &[
        many(1, "dataPoints", Nested(&EXPONENTIAL_POINT)),
        one(2, "aggregationTemporality", Enum(TEMPORALITIES)),
    ],
);

static SUMMARY: Message = message("Summary", &[many(1, "dataPoints", Nested(&SUMMARY_POINT))]);

static NUMBER_POINT: Message = with_oneof(
    "NumberDataPoint",
    &[4, 6],
    &[
        many(7, "attributes", Nested(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "asDouble", Double),
        one(6, "asInt", Sfixed64),
        many(5, "exemplars", Nested(&EXEMPLAR)),
        one(8, "flags", Uint32),
    ],
);

static HISTOGRAM_POINT: Message = message(
    "HistogramDataPoint",
    &[
        many(9, "attributes", Nested(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        many(6, "bucketCounts", Fixed64),
        many(7, "explicitBounds", Double),
        many(8, "exemplars", Nested(&EXEMPLAR)),
        one(10, "flags", Uint32),
        one(11, "min", Double),
        one(12, "max", Double),
    ],
);

static EXPONENTIAL_POINT: Message = message(
    "ExponentialHistogramDataPoint",
    &[
        many(1, "attributes", Nested(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        one(6, "scale", Sint32),
        one(7, "zeroCount", Fixed64),
        one(8, "positive", Nested(&BUCKETS)),
        one(9, "negative", Nested(&BUCKETS)),
        one(10, "flags", Uint32),
        many(11, "exemplars", Nested(&EXEMPLAR)),
        one(12, "min", Double),
        one(13, "max", Double),
        one(14, "zeroThreshold", Double),
    ],
);

static BUCKETS: Message = message(
    "ExponentialHistogramDataPoint.Buckets",
    &[one(1, "offset", Sint32), many(2, "bucketCounts", Uint64)],
);

static SUMMARY_POINT: Message = message(
    "SummaryDataPoint",
    &[
        many(7, "attributes", Nested(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        many(6, "quantileValues", Nested(&QUANTILE)),
        one(8, "flags", Uint32),
    ],
);

static QUANTILE: Message = message(
    "SummaryDataPoint.ValueAtQuantile",
    &[one(1, "quantile", Double), one(2, "value", Double)],
);

static EXEMPLAR: Message = with_oneof(
    "Exemplar",
    &[3, 6],
    &[
        many(7, "filteredAttributes", Nested(&KEY_VALUE)),
        one(2, "timeUnixNano", Fixed64),
        one(3, "asDouble", Double),
        one(6, "asInt", Sfixed64),
        one(4, "spanId", Id(8)),
        one(5, "traceId", Id(16)),
    ],
);

static RESOURCE: Message = message(
    "Resource",
    &[
        many(1, "attributes", Nested(&KEY_VALUE)),
        one(2, "droppedAttributesCount", Uint32),
        many(3, "entityRefs", Nested(&ENTITY_REF)),
    ],
);

static ENTITY_REF: Message = message(
    "EntityRef",
    &[
        one(1, "schemaUrl", Text),
        one(2, "type", Text),
        many(3, "idKeys", Text),
        many(4, "descriptionKeys", Text),
    ],
);

static SCOPE: Message = message(
    "InstrumentationScope",
    &[
        one(1, "name", Text),
        one(2, "version", Text),
        many(3, "attributes", Nested(&KEY_VALUE)),
        one(4, "droppedAttributesCount", Uint32),
    ],
);

static KEY_VALUE: Message =
    message("KeyValue", &[one(1, "key", Text), one(2, "value", Nested(&ANY_VALUE))]);

static ANY_VALUE: Message = with_oneof(
    "AnyValue",
    &[1, 2, 3, 4, 5, 6, 7],
    &[
        one(1, "stringValue", Text),
        one(2, "boolValue", Bool),
        one(3, "intValue", Int64),
        one(4, "doubleValue", Double),
        one(5, "arrayValue", Nested(&ARRAY)),
        one(6, "kvlistValue", Nested(&KEY_VALUES)),
        one(7, "bytesValue", Bytes),
    ],
);

static ARRAY: Message = message("ArrayValue", &[many(1, "values", Nested(&ANY_VALUE))]);

static KEY_VALUES: Message = message("KeyValueList", &[many(1, "values", Nested(&KEY_VALUE))]);

const SPAN_KINDS: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

const STATUS_CODES: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

const TEMPORALITIES: &[&str] = &[
    "AGGREGATION_TEMPORALITY_UNSPECIFIED",
    "AGGREGATION_TEMPORALITY_DELTA",
    "AGGREGATION_TEMPORALITY_CUMULATIVE",
];

const SEVERITIES: &[&str] = &[
    "SEVERITY_NUMBER_UNSPECIFIED",
    "SEVERITY_NUMBER_TRACE",
    "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",
    "SEVERITY_NUMBER_TRACE4",
    "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",
    "SEVERITY_NUMBER_DEBUG3",
    "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",
    "SEVERITY_NUMBER_INFO2",
    "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",
    "SEVERITY_NUMBER_WARN",
    "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",
    "SEVERITY_NUMBER_WARN4",
    "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",
    "SEVERITY_NUMBER_ERROR3",
    "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",
    "SEVERITY_NUMBER_FATAL2",
    "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4",
];
