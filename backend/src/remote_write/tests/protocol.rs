//! Decoders of both versions of the protocol, by prost, so that ours is checked by another's.

use std::collections::BTreeMap;

use prost::Message;

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Exemplar>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(string, tag = "2")]
    pub(crate) family: String,
    #[prost(string, tag = "4")]
    pub(crate) help: String,
    #[prost(string, tag = "5")]
    pub(crate) unit: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Histogram {
    #[prost(uint64, tag = "1")]
    pub(crate) count: u64,
    #[prost(double, tag = "3")]
    pub(crate) sum: f64,
    #[prost(sint32, tag = "4")]
    pub(crate) schema: i32,
    #[prost(double, tag = "5")]
    pub(crate) zero_threshold: f64,
    #[prost(uint64, tag = "6")]
    pub(crate) zero_count: u64,
    #[prost(message, repeated, tag = "8")]
    pub(crate) negative_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "9")]
    pub(crate) negative_deltas: Vec<i64>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    pub(crate) positive_deltas: Vec<i64>,
    #[prost(int64, tag = "15")]
    pub(crate) timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    pub(crate) custom_values: Vec<f64>,
    #[prost(int64, tag = "17")]
    pub(crate) start_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Span {
    #[prost(sint32, tag = "1")]
    pub(crate) offset: i32,
    #[prost(uint32, tag = "2")]
    pub(crate) length: u32,
}

/// `io.prometheus.write.v2.Request`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RequestV2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeriesV2>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeriesV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<ExemplarV2>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<MetadataV2>,
}

#[derive(Clone, PartialEq, Message)]
struct ExemplarV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct MetadataV2 {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "3")]
    help_ref: u32,
    #[prost(uint32, tag = "4")]
    unit_ref: u32,
}

/// A sample as either version has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Got {
    /// `name{label="value"}`.
    pub(crate) series: String,
    pub(crate) value: f64,
    pub(crate) time_ms: i64,
    pub(crate) start_ms: i64,
    pub(crate) histogram: Option<Histogram>,
    /// Labels, value and time.
    pub(crate) exemplars: Vec<(String, f64, i64)>,
    /// Type, description and unit; of version 2.0.
    pub(crate) family: Option<(u32, String, String)>,
}

/// Reads a request of version 1.0.
pub(crate) fn read_v1(request: &[u8]) -> (Vec<Got>, Vec<Metadata>) {
    let request = WriteRequest::decode(request).unwrap();
    let series = request.timeseries.into_iter().map(|series| {
        let exemplars = series.exemplars.iter();
        let exemplars =
            exemplars.map(|of| (show(&pairs(&of.labels)), of.value, of.timestamp)).collect();
        got(&pairs(&series.labels), &series.samples, series.histograms, exemplars, None)
    });
    (series.collect(), request.metadata)
}

/// Reads a request of version 2.0.
pub(crate) fn read_v2(request: &[u8]) -> Vec<Got> {
    let RequestV2 { symbols, timeseries } = RequestV2::decode(request).unwrap();
    assert_eq!(symbols[0], "", "the first symbol is empty");
    let text = |number: u32| symbols[number as usize].clone();
    let labels = |refs: &[u32]| -> Vec<(String, String)> {
        refs.chunks(2).map(|pair| (text(pair[0]), text(pair[1]))).collect()
    };
    let series = timeseries.into_iter().map(|series| {
        let exemplars = series.exemplars.iter();
        let exemplars =
            exemplars.map(|of| (show(&labels(&of.labels_refs)), of.value, of.timestamp)).collect();
        let family = series.metadata.unwrap();
        let family = Some((family.kind, text(family.help_ref), text(family.unit_ref)));
        got(&labels(&series.labels_refs), &series.samples, series.histograms, exemplars, family)
    });
    series.collect()
}

fn got(
    labels: &[(String, String)],
    samples: &[Sample],
    mut histograms: Vec<Histogram>,
    exemplars: Vec<(String, f64, i64)>,
    family: Option<(u32, String, String)>,
) -> Got {
    assert!(labels.is_sorted(), "labels are in order: {labels:?}");
    assert_eq!(
        labels.iter().map(|(name, _)| name).collect::<std::collections::BTreeSet<_>>().len(),
        labels.len()
    );
    let histogram = histograms.pop();
    assert_eq!(samples.len() + usize::from(histogram.is_some()), 1, "one sample in each series");
    let sample = samples.first().cloned().unwrap_or_default();
    let of = |from: fn(&Histogram) -> i64, or| histogram.as_ref().map_or(or, from);
    let name = labels.iter().find(|(name, _)| name == "__name__").unwrap().1.clone();
    let others: Vec<_> = labels.iter().filter(|(name, _)| name != "__name__").cloned().collect();
    Got {
        series: format!("{name}{}", show(&others)),
        value: sample.value,
        time_ms: of(|histogram| histogram.timestamp, sample.timestamp),
        start_ms: of(|histogram| histogram.start_timestamp, sample.start_timestamp),
        histogram,
        exemplars,
        family,
    }
}

fn pairs(labels: &[Label]) -> Vec<(String, String)> {
    labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect()
}

fn show(labels: &[(String, String)]) -> String {
    let labels: BTreeMap<_, _> = labels.iter().cloned().collect();
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(","))
}
