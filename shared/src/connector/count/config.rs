//! `connectors::count`, with the Collector's keys.
//!
//! Source: contrib connector/countconnector/config.go.

use std::collections::BTreeMap;

use crate::config::{Data, Decode, Node, NotSupported, Path, Problems, expected};
use crate::config_struct;
use crate::ottl::{Condition, Context};

config_struct! {
    /// Counts spans, events, metrics, data points and log records into metrics.
    ///
    /// Metrics that are named for a kind of thing replace the default one.
    pub struct CountConfig {
        /// What of spans is counted, by the name of the metric.
        pub spans: Option<BTreeMap<String, MetricConfig>> = None,
        /// The same of events of spans.
        pub spanevents: Option<BTreeMap<String, MetricConfig>> = None,
        /// The same of metrics.
        pub metrics: Option<BTreeMap<String, MetricConfig>> = None,
        /// The same of data points.
        pub datapoints: Option<BTreeMap<String, MetricConfig>> = None,
        /// The same of log records.
        pub logs: Option<BTreeMap<String, MetricConfig>> = None,
        /// The same of profiles.
        pub profiles: NotSupported = NotSupported,
    }
}

config_struct! {
    /// A metric that counts.
    pub struct MetricConfig {
        /// For people.
        pub description: String = String::new(),
        /// What is counted must fulfil one of these; without any, all is.
        pub conditions: Vec<String> = Vec::new(),
        /// Attributes to tell counts apart by. What has none of that name, and no default, is not
        /// counted.
        pub attributes: Vec<AttributeConfig> = Vec::new(),
    }
}

config_struct! {
    /// An attribute to tell counts apart by: the record's, else the scope's, else the resource's.
    pub struct AttributeConfig {
        /// Its name.
        pub key: String = String::new(),
        /// Its value where it is missing. Empty text and 0 are none, as in the Collector.
        pub default_value: Option<DefaultValue> = None,
        /// Looks into maps, too.
        pub any_depth: NotSupported = NotSupported,
    }
}

/// A text or a number.
#[derive(Debug, Clone, PartialEq)]
pub enum DefaultValue {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Another number.
    Double(f64),
}

impl Decode for DefaultValue {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match &node.data {
            Data::String(text) => Some(Self::Text(text.clone())),
            Data::Int(value) => Some(Self::Int(*value)),
            Data::Float(value) => Some(Self::Double(*value)),
            _ => expected("a text or a number", node, at, problems),
        }
    }
}

/// A kind of things that can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Spans,
    SpanEvents,
    Metrics,
    DataPoints,
    Logs,
}

impl Counted {
    pub(super) const ALL: [Self; 5] =
        [Self::Spans, Self::SpanEvents, Self::Metrics, Self::DataPoints, Self::Logs];

    /// Its section.
    const fn key(self) -> &'static str {
        match self {
            Counted::Spans => "spans",
            Counted::SpanEvents => "spanevents",
            Counted::Metrics => "metrics",
            Counted::DataPoints => "datapoints",
            Counted::Logs => "logs",
        }
    }

    /// What its conditions are about.
    pub(super) const fn context(self) -> Context {
        match self {
            Counted::Spans => Context::Span,
            Counted::SpanEvents => Context::SpanEvent,
            Counted::Metrics => Context::Metric,
            Counted::DataPoints => Context::DataPoint,
            Counted::Logs => Context::Log,
        }
    }

    /// Name and description of the metric where none is configured.
    const fn default_metric(self) -> (&'static str, &'static str) {
        match self {
            Counted::Spans => ("trace.span.count", "The number of spans observed."),
            Counted::SpanEvents => {
                ("trace.span.event.count", "The number of span events observed.")
            }
            Counted::Metrics => ("metric.count", "The number of metrics observed."),
            Counted::DataPoints => {
                ("metric.datapoint.count", "The number of data points observed.")
            }
            Counted::Logs => ("log.record.count", "The number of log records observed."),
        }
    }
}

impl CountConfig {
    /// The metrics that count things of a kind.
    pub(super) fn metrics_of(&self, counted: Counted) -> BTreeMap<String, MetricConfig> {
        self.section(counted).cloned().unwrap_or_else(|| {
            let (name, description) = counted.default_metric();
            let description = description.to_owned();
            let metric = MetricConfig { description, ..MetricConfig::default() };
            BTreeMap::from([(name.to_owned(), metric)])
        })
    }

    fn section(&self, counted: Counted) -> Option<&BTreeMap<String, MetricConfig>> {
        match counted {
            Counted::Spans => self.spans.as_ref(),
            Counted::SpanEvents => self.spanevents.as_ref(),
            Counted::Metrics => self.metrics.as_ref(),
            Counted::DataPoints => self.datapoints.as_ref(),
            Counted::Logs => self.logs.as_ref(),
        }
    }

    /// Reports everything that is wrong.
    pub(super) fn check(&self, at: &Path<'_>, problems: &mut Problems) {
        for counted in Counted::ALL {
            let at = at.key(counted.key());
            for (name, metric) in self.section(counted).into_iter().flatten() {
                if name.is_empty() {
                    problems.report(&at, "metric name missing");
                }
                metric.check(counted, &at.key(name), problems);
            }
        }
    }
}

impl MetricConfig {
    fn check(&self, counted: Counted, at: &Path<'_>, problems: &mut Problems) {
        let list = at.key("conditions");
        for (index, text) in self.conditions.iter().enumerate() {
            if let Err(error) = Condition::parse(text, counted.context()) {
                problems.report(&list.index(index), error.to_string());
            }
        }
        let list = at.key("attributes");
        if counted == Counted::Metrics && !self.attributes.is_empty() {
            problems.report(&list, "metrics attributes not supported: metrics have none");
        }
        for (index, attribute) in self.attributes.iter().enumerate() {
            if attribute.key.is_empty() {
                problems.report(&list.index(index).key("key"), "attribute key missing");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let metric = |conditions: &[&str], keys: &[&str]| MetricConfig {
            conditions: conditions.iter().map(|text| (*text).to_owned()).collect(),
            attributes: keys
                .iter()
                .map(|key| AttributeConfig { key: (*key).to_owned(), ..AttributeConfig::default() })
                .collect(),
            ..MetricConfig::default()
        };
        let section = |name: &str, metric| Some(BTreeMap::from([(name.to_owned(), metric)]));
        let config = CountConfig {
            spans: section("", metric(&["name == "], &["a", ""])),
            metrics: section("m", metric(&["type == METRIC_DATA_TYPE_SUM"], &["a"])),
            logs: section("l", metric(&["body == \"x\""], &[])),
            ..CountConfig::default()
        };
        let mut problems = Problems::default();
        config.check(&Path::ROOT, &mut problems);
        let found: Vec<_> = problems.errors().iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            found,
            [
                "spans",
                "spans::::conditions::0",
                "spans::::attributes::1::key",
                "metrics::m::attributes"
            ]
        );
        let mut problems = Problems::default();
        CountConfig::default().check(&Path::ROOT, &mut problems);
        assert!(problems.is_empty());
    }

    #[test]
    fn metrics_of_a_kind_replace_its_default_one_only() {
        let spans = Some(BTreeMap::from([("mine".to_owned(), MetricConfig::default())]));
        let config = CountConfig { spans, ..CountConfig::default() };
        let names: [Vec<String>; 5] =
            Counted::ALL.map(|counted| config.metrics_of(counted).into_keys().collect());
        let expected = [
            "mine",
            "trace.span.event.count",
            "metric.count",
            "metric.datapoint.count",
            "log.record.count",
        ]
        .map(|name| vec![name.to_owned()]);
        assert_eq!(names, expected);
    }
}
