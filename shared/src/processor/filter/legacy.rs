//! The lists of a filter that name their context: `traces::span`, `metrics::datapoint` and so on;
//! and the form before OTTL, which is refused with its equivalent.

use crate::config::{Data, Decode, Node, Path, Problems};
use crate::config_struct;
use crate::ottl::{Context, Faulty, Group};
use crate::processor::ottl::ErrorMode;
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
        /// The form before OTTL.
        pub include: BeforeOttl<'i', 'm'> = BeforeOttl,
        /// The form before OTTL.
        pub exclude: BeforeOttl<'e', 'm'> = BeforeOttl,
        /// The form before OTTL.
        pub regexp: BeforeOttl<'r', 'm'> = BeforeOttl,
    }
}

config_struct! {
    /// `logs`: conditions by what they are about.
    pub struct LogFilters {
        /// Conditions on resources.
        pub resource: Vec<String> = Vec::new(),
        /// Conditions on log records.
        pub log_record: Vec<String> = Vec::new(),
        /// The form before OTTL.
        pub include: BeforeOttl<'i', 'l'> = BeforeOttl,
        /// The form before OTTL.
        pub exclude: BeforeOttl<'e', 'l'> = BeforeOttl,
    }
}

config_struct! {
    /// `spans`: the form before OTTL.
    pub struct SpanFilters {
        /// Spans to keep.
        pub include: BeforeOttl<'i', 's'> = BeforeOttl,
        /// Spans to drop.
        pub exclude: BeforeOttl<'e', 's'> = BeforeOttl,
    }
}

/// A key of the form before OTTL: an error by its presence, which shows what to write.
///
/// The parameters say which key it is, and of what: they are the first letters.
#[derive(Debug, Clone, Copy, Default)]
pub struct BeforeOttl<const KEY: char, const OF: char>;

impl<const KEY: char, const OF: char> Decode for BeforeOttl<KEY, OF> {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let (list, path, names) = match OF {
            'm' => ("metric_conditions", "metric.name", "metric_names"),
            'l' => ("log_conditions", "log.body", "bodies"),
            _ => ("trace_conditions", "span.name", "span_names"),
        };
        let is_regexp = text_of(node, "match_type").is_some_and(|kind| kind == "regexp");
        let name = first_of(node, names).unwrap_or("example");
        let test = match is_regexp {
            true => format!("IsMatch({path}, {name:?})"),
            false => format!("{path} == {name:?}"),
        };
        let condition = match KEY {
            'i' => format!("not ({test})"),
            _ => test,
        };
        problems.report(
            at,
            format!(
                "the form before OTTL is not supported; name what is to be dropped: \
                 {list}: ['{condition}']"
            ),
        );
        None
    }
}

fn value_of<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Data::Map(entries) = &node.data else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

fn text_of<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    match &value_of(node, key)?.data {
        Data::String(text) => Some(text),
        _ => None,
    }
}

fn first_of<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    let Data::List(items) = &value_of(node, key)?.data else { return None };
    match &items.first()?.data {
        Data::String(text) => Some(text),
        _ => None,
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
