//! The form of a filter before OTTL: `spans`, `metrics` and `logs` with `include` and `exclude`.
//!
//! What `include` does not match is dropped, and what `exclude` matches.
//!
//! Source: contrib processor/filterprocessor/config.go and internal/filter.

use crate::config::{Data, Decode, Node, Path, Problems, Section, expected};
use crate::config_struct;
use crate::processor::selection::{
    AttributeConfig, MatchConfig, MatchType, Place, RegexpConfig, Selection, Severity,
    SeverityConfig,
};
use crate::service::BuildError;
use crate::wire::rewrite::{Change, Editor, Visit};
use crate::wire::{ResourceEntry, ScopeEntry, Signal, Writer};

config_struct! {
    /// `spans`: the form before OTTL.
    pub struct SpanFilters {
        /// Spans to keep.
        pub include: Section<MatchConfig> = Section::none(),
        /// Spans to drop.
        pub exclude: Section<MatchConfig> = Section::none(),
    }
}

config_struct! {
    /// Which metrics are meant.
    pub struct MetricMatchConfig {
        /// How texts are compared.
        pub match_type: Option<MetricMatchType> = None,
        /// Accepted; matches are not cached.
        pub regexp: RegexpConfig = RegexpConfig::default(),
        /// One of these is its name.
        pub metric_names: Vec<String> = Vec::new(),
        /// In another language; refused.
        pub expressions: Expressions = Expressions,
        /// All of these are among its resource's attributes.
        pub resource_attributes: Vec<AttributeConfig> = Vec::new(),
    }
}

config_struct! {
    /// Which log records are meant.
    pub struct LogMatchConfig {
        /// How texts are compared.
        pub match_type: Option<MatchType> = None,
        /// All of these are among its resource's attributes.
        pub resource_attributes: Vec<AttributeConfig> = Vec::new(),
        /// All of these are among its attributes.
        pub record_attributes: Vec<AttributeConfig> = Vec::new(),
        /// One of these is its severity's text.
        pub severity_texts: Vec<String> = Vec::new(),
        /// How severe it is.
        pub severity_number: Section<LogSeverityConfig> = Section::none(),
        /// One of these is its body's text.
        pub bodies: Vec<String> = Vec::new(),
    }
}

config_struct! {
    /// `severity_number`.
    pub struct LogSeverityConfig {
        /// The least, as a number or a name: `INFO`, `WARN2`.
        pub min: SeverityName = SeverityName(0),
        /// Whether records without a number match.
        pub match_undefined: bool = false,
    }
}

/// A severity by its name or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeverityName(u64);

impl Decode for SeverityName {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
        let text = match &node.data {
            Data::Int(number) => number.to_string(),
            Data::String(text) => text.to_ascii_uppercase(),
            _ => String::new(),
        };
        let number = match text.parse::<u64>() {
            Ok(number) => (1..=24).contains(&number).then_some(number),
            Err(_) if text.is_empty() && matches!(node.data, Data::String(_)) => Some(0),
            Err(_) => (0..).step_by(4).zip(NAMES).find_map(|(base, name)| {
                match text.strip_prefix(name)? {
                    "" => Some(base + 1),
                    level @ ("2" | "3" | "4") => Some(base + level.parse::<u64>().ok()?),
                    _ => None,
                }
            }),
        };
        match number {
            Some(number) => Some(Self(number)),
            None => expected("a severity, as INFO, WARN2 or 9", node, at, problems),
        }
    }
}

/// `match_type` of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricMatchType(MatchType);

/// What to write in place of what is refused.
const INSTEAD: &str = "the language of expressions is not supported; name what is to be dropped in OTTL: \
     metric_conditions: ['metric.name == \"example\"']";

impl Decode for MetricMatchType {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        if matches!(&node.data, Data::String(text) if text == "expr") {
            problems.report(at, INSTEAD);
            return None;
        }
        MatchType::decode(node, at, problems).map(Self)
    }
}

/// `expressions`: an error by its presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expressions;

impl Decode for Expressions {
    fn decode(_: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        problems.report(at, INSTEAD);
        None
    }
}

/// The sections of one signal, in the words that all signals share.
pub(super) struct BeforeOttl {
    /// The key of the section that has them.
    pub(super) section: &'static str,
    include: Option<MatchConfig>,
    exclude: Option<MatchConfig>,
    /// How this signal writes a shared word.
    written: fn(&'static str) -> &'static str,
}

impl BeforeOttl {
    pub(super) fn of_spans(filters: &SpanFilters) -> Self {
        Self {
            section: "spans",
            include: filters.include.as_ref().cloned(),
            exclude: filters.exclude.as_ref().cloned(),
            written: |key| key,
        }
    }

    pub(super) fn of_metrics(
        include: &Section<MetricMatchConfig>,
        exclude: &Section<MetricMatchConfig>,
    ) -> Self {
        Self {
            section: "metrics",
            include: include.as_ref().map(MetricMatchConfig::shared),
            exclude: exclude.as_ref().map(MetricMatchConfig::shared),
            written: |key| if key == "resources" { "resource_attributes" } else { key },
        }
    }

    pub(super) fn of_logs(
        include: &Section<LogMatchConfig>,
        exclude: &Section<LogMatchConfig>,
    ) -> Self {
        Self {
            section: "logs",
            include: include.as_ref().map(LogMatchConfig::shared),
            exclude: exclude.as_ref().map(LogMatchConfig::shared),
            written: |key| match key {
                "resources" => "resource_attributes",
                "attributes" => "record_attributes",
                "log_severity_texts" => "severity_texts",
                "log_severity_number" => "severity_number",
                "log_bodies" => "bodies",
                other => other,
            },
        }
    }

    /// The keys that are there, as they are written.
    pub(super) fn keys(&self) -> Vec<String> {
        let sections = [("include", &self.include), ("exclude", &self.exclude)];
        let given = sections.into_iter().filter(|(_, config)| config.is_some());
        given.map(|(key, _)| format!("{}::{key}", self.section)).collect()
    }

    /// Reports what is wrong with them.
    pub(super) fn validate(&self, signal: Signal, at: &Path<'_>, problems: &mut Problems) {
        let at = at.key(self.section);
        for (key, config) in [("include", &self.include), ("exclude", &self.exclude)] {
            let Some(config) = config else { continue };
            config.validate_as(self.written, &at.key(key), problems);
            if let Err(problem) = config.check_signal(signal) {
                problems.report(&at.key(key), problem);
            }
        }
    }

    /// What has to mean a record for it to stay.
    pub(super) fn selections(&self, signal: Signal) -> Result<Vec<Selection>, BuildError> {
        let mut selections = Vec::new();
        let mut exclude = self.exclude.clone();
        if signal == Signal::Metrics
            && let Some(config) = &mut exclude
            && !config.metric_names.is_empty()
            && !config.resources.is_empty()
        {
            // Either is enough to be dropped, where others have to agree in all.
            let names = MatchConfig { resources: Vec::new(), ..config.clone() };
            selections.push(Selection::new(None, Some(&names), signal)?);
            config.metric_names.clear();
        }
        if self.include.is_some() || exclude.is_some() {
            selections.push(Selection::new(self.include.as_ref(), exclude.as_ref(), signal)?);
        }
        Ok(selections)
    }
}

impl MetricMatchConfig {
    fn shared(&self) -> MatchConfig {
        MatchConfig {
            match_type: self.match_type.map(|MetricMatchType(kind)| kind),
            metric_names: self.metric_names.clone(),
            resources: self.resource_attributes.clone(),
            ..MatchConfig::default()
        }
    }
}

impl LogMatchConfig {
    fn shared(&self) -> MatchConfig {
        let severity = self.severity_number.as_ref().map(|severity| SeverityConfig {
            min: Severity(severity.min.0),
            match_undefined: severity.match_undefined,
        });
        MatchConfig {
            match_type: self.match_type,
            resources: self.resource_attributes.clone(),
            attributes: self.record_attributes.clone(),
            log_severity_texts: self.severity_texts.clone(),
            log_severity_number: severity.map_or_else(Section::none, Section::on),
            log_bodies: self.bodies.clone(),
            ..MatchConfig::default()
        }
    }
}

/// Drops what a selection does not mean.
pub(super) struct Selected<'s> {
    selection: &'s Selection,
    signal: Signal,
    place: Place,
}

impl<'s> Selected<'s> {
    pub(super) fn new(selection: &'s Selection, signal: Signal) -> Self {
        Self { selection, signal, place: Place::default() }
    }
}

/// What is not looked into is not meant.
fn dropped(visit: Visit) -> Visit {
    match visit {
        Visit::Over => Visit::Drop,
        visit => visit,
    }
}

impl<'a> Editor<'a> for Selected<'_> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) -> Visit {
        dropped(self.selection.enter_resource(entry, &mut self.place))
    }

    fn enter_scope(&mut self, scope: ScopeEntry<'a>) -> Visit {
        dropped(self.selection.enter_scope(scope, &mut self.place))
    }

    fn record(&mut self, record: &'a [u8], _new: &mut Writer) -> Change {
        match self.selection.has(record, self.signal, &self.place) {
            true => Change::Keep,
            false => Change::Drop,
        }
    }
}
