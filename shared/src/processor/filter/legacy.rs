//! The lists of a filter that name their context: `traces::span`, `metrics::datapoint` and so on.

use super::before_ottl::{LogMatchConfig, MetricMatchConfig};
use crate::config::{Path, Problems, Section};
use crate::config_struct;
use crate::ottl::{Context, Faulty, Group};
use crate::processor::ottl::ErrorMode;
use crate::processor::selection::RegexpConfig;
use crate::wire::Signal;

config_struct! {
    /// `traces`: conditions by what they are about.
    pub struct TraceFilters {
        /// Conditions on resources.
        pub resource: Vec<String> = Vec::new(),
        /// Conditions on spans.
        pub span: Vec<String> = Vec::new(),
        /// Conditions on events of spans.
        pub spanevent: Vec<String> = Vec::new(),
    }
}

config_struct! {
    /// `metrics`: conditions by what they are about.
    pub struct MetricFilters {
        /// Conditions on resources.
        pub resource: Vec<String> = Vec::new(),
        /// Conditions on metrics.
        pub metric: Vec<String> = Vec::new(),
        /// Conditions on data points.
        pub datapoint: Vec<String> = Vec::new(),
        /// The form before OTTL: metrics to keep.
        pub include: Section<MetricMatchConfig> = Section::none(),
        /// The form before OTTL: metrics to drop.
        pub exclude: Section<MetricMatchConfig> = Section::none(),
        /// Accepted; matches are not cached.
        pub regexp: RegexpConfig = RegexpConfig::default(),
    }
}

config_struct! {
    /// `logs`: conditions by what they are about.
    pub struct LogFilters {
        /// Conditions on resources.
        pub resource: Vec<String> = Vec::new(),
        /// Conditions on log records.
        pub log_record: Vec<String> = Vec::new(),
        /// The form before OTTL: log records to keep.
        pub include: Section<LogMatchConfig> = Section::none(),
        /// The form before OTTL: log records to drop.
        pub exclude: Section<LogMatchConfig> = Section::none(),
    }
}

/// A list of conditions that names its context: its key, and the conditions.
pub(super) type Named<'c> = (&'static str, Context, &'c [String]);

impl TraceFilters {
    pub(super) fn lists(&self) -> [Named<'_>; 3] {
        [
            ("resource", Context::Resource, &self.resource),
            ("span", Context::Span, &self.span),
            ("spanevent", Context::SpanEvent, &self.spanevent),
        ]
    }
}

impl MetricFilters {
    pub(super) fn lists(&self) -> [Named<'_>; 3] {
        [
            ("resource", Context::Resource, &self.resource),
            ("metric", Context::Metric, &self.metric),
            ("datapoint", Context::DataPoint, &self.datapoint),
        ]
    }
}

impl LogFilters {
    pub(super) fn lists(&self) -> [Named<'_>; 2] {
        [
            ("resource", Context::Resource, &self.resource),
            ("log_record", Context::Log, &self.log_record),
        ]
    }
}

/// Reports what is wrong with the lists.
pub(super) fn validate(
    lists: &[Named<'_>],
    signal: Signal,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    for (key, context, conditions) in lists {
        let Err(faults) = Group::parse(signal, Some(*context), conditions, &[]) else { continue };
        for fault in faults {
            if let Faulty::Condition(index) = fault.at {
                let text = conditions.get(index).map(String::as_str).unwrap_or_default();
                problems.report(&at.key(key).index(index), fault.error.located(text));
            }
        }
    }
}

/// The groups that the lists are.
pub(super) fn groups(
    lists: &[Named<'_>],
    signal: Signal,
    error_mode: ErrorMode,
) -> Vec<(Group, ErrorMode)> {
    let given = lists.iter().filter(|(_, _, conditions)| !conditions.is_empty());
    given
        .map(|(_, context, conditions)| {
            let group = Group::parse(signal, Some(*context), conditions, &[]);
            (group.expect("validate parsed it"), error_mode)
        })
        .collect()
}
