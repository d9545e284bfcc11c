//! Samples on their way to a receiver, as both versions of the protocol have them.

use std::sync::Arc;

use shared::config_enum;

/// The value that says that a series ended.
pub(super) const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// A label's name and value.
pub(super) type Label = (String, String);

config_enum! {
    /// What is known of a family, besides its name: numbered as in both versions of the protocol.
    #[derive(Hash)]
    pub enum MetricType {
        /// Unknown.
        Unknown = "unknown",
        /// A counter.
        Counter = "counter",
        /// A gauge.
        Gauge = "gauge",
        /// A histogram, classic or native.
        Histogram = "histogram",
        /// A summary.
        Summary = "summary",
        /// Constant facts.
        Info = "info",
        /// States.
        StateSet = "stateset",
    }
}

impl MetricType {
    /// Its number in both versions of the protocol.
    pub(super) const fn number(self) -> u64 {
        match self {
            MetricType::Unknown => 0,
            MetricType::Counter => 1,
            MetricType::Gauge => 2,
            MetricType::Histogram => 3,
            MetricType::Summary => 5,
            MetricType::Info => 6,
            MetricType::StateSet => 7,
        }
    }
}

/// What the series of one metric have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: MetricType,
    pub(super) help: String,
    pub(super) unit: String,
}

impl Family {
    /// What it takes in a request by itself, at most.
    pub(super) fn size_bytes(&self) -> usize {
        self.name.len() + self.help.len() + self.unit.len() + 32
    }
}

/// One sample of one series.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// By name; shared by the series of a data point.
    pub(super) labels: Arc<[Label]>,
    /// The label `__name__`.
    pub(super) name: Arc<str>,
    /// The label that tells the series of a data point apart: `le` or `quantile`.
    pub(super) extra: Option<(&'static str, String)>,
    pub(super) family: Arc<Family>,
    pub(super) value: Value,
    /// Since the Unix epoch.
    pub(super) time_ms: i64,
    /// Since when it counts; 0 if unknown.
    pub(super) start_ms: i64,
    pub(super) exemplars: Vec<Exemplar>,
}

/// What a sample says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Float(f64),
    Histogram(Box<NativeHistogram>),
}

/// A native histogram of integer counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct NativeHistogram {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: u64,
    pub(super) negative: Buckets,
    pub(super) positive: Buckets,
    /// Upper bounds, of a histogram that has its own.
    pub(super) custom_values: Vec<f64>,
}

/// Buckets that hold something, and a few between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Buckets {
    /// Distance to the end of the span before, and length.
    pub(super) spans: Vec<(i32, u32)>,
    /// Each count less the one before.
    pub(super) deltas: Vec<i64>,
}

/// A measurement that stands for others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exemplar {
    /// By name.
    pub(super) labels: Vec<Label>,
    pub(super) value: f64,
    pub(super) time_ms: i64,
}

/// What becomes of one data point. Its series stay together, so it arrives whole or not at all.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) series: Vec<Series>,
    /// Tells its series from those of other data points.
    pub(super) id: u128,
    pub(super) time_ms: i64,
    /// 1, or 0 for what no sender counts.
    pub(super) items: usize,
    /// What it takes in a request, at most.
    pub(super) size_bytes: usize,
}

impl Series {
    /// All labels, in the order of their names.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut own = own.peekable();
        let name = Some(("__name__", &*self.name));
        let extra = self.extra.as_ref().map(|(name, value)| (*name, value.as_str()));
        // `__name__` comes before `le` and `quantile`.
        let mut others = [name, extra].into_iter().flatten().peekable();
        std::iter::from_fn(move || match (own.peek(), others.peek()) {
            (Some((own_name, _)), Some((other, _))) if own_name < other => own.next(),
            (_, Some(_)) => others.next(),
            (_, None) => own.next(),
        })
    }

    /// What it takes in a request of either version, at most.
    pub(super) fn size_bytes(&self) -> usize {
        let labels = |labels: &mut dyn Iterator<Item = (&str, &str)>| -> usize {
            labels.map(|(name, value)| name.len() + value.len() + 16).sum()
        };
        let exemplars: usize = self
            .exemplars
            .iter()
            .map(|exemplar| {
                let own = exemplar.labels.iter().map(|(name, value)| (&**name, &**value));
                labels(&mut { own }) + 32
            })
            .sum();
        let value = match &self.value {
            Value::Float(_) => 40,
            Value::Histogram(histogram) => histogram.size_bytes(),
        };
        let family = self.family.help.len() + self.family.unit.len() + 32;
        labels(&mut self.labels()) + exemplars + value + family
    }
}

impl NativeHistogram {
    fn size_bytes(&self) -> usize {
        let buckets = |of: &Buckets| of.spans.len() * 14 + of.deltas.len() * 10 + 16;
        96 + buckets(&self.negative) + buckets(&self.positive) + self.custom_values.len() * 8
    }
}
