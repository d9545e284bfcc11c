//! One of `include` and `exclude`, as records are compared with it.

use ::regex::bytes::Regex;

use super::config::{
    AttributeConfig, LibraryConfig, MatchConfig, MatchType, SPAN_KINDS, SeverityConfig,
};
use crate::ottl::regex;
use crate::processor::actions::Literal;
use crate::wire::text::put_text;
use crate::wire::{
    AnyValue, Attributes, LogRecord, Metric, ResourceEntry, ScopeEntry, Signal, Span,
};

/// All of this must match.
#[derive(Debug)]
pub(super) struct Matcher {
    services: Texts,
    span_names: Texts,
    span_kinds: Texts,
    log_bodies: Texts,
    log_severity_texts: Texts,
    severity: Option<SeverityConfig>,
    metric_names: Texts,
    attributes: Vec<AttributeTest>,
    resources: Vec<AttributeTest>,
    libraries: Vec<(Test, Option<Test>)>,
}

impl Matcher {
    pub(super) fn new(config: &MatchConfig) -> Self {
        let how = config.match_type.expect("the section was validated");
        let texts =
            |texts: &[String]| Texts(texts.iter().map(|text| Test::new(how, text)).collect());
        let attributes = |attributes: &[AttributeConfig]| {
            attributes.iter().map(|attribute| AttributeTest::new(how, attribute)).collect()
        };
        let library = |library: &LibraryConfig| {
            let version = library.version.as_ref().map(|version| Test::new(how, version));
            (Test::new(how, &library.name), version)
        };
        Self {
            services: texts(&config.services),
            span_names: texts(&config.span_names),
            span_kinds: texts(&config.span_kinds),
            log_bodies: texts(&config.log_bodies),
            log_severity_texts: texts(&config.log_severity_texts),
            severity: config.log_severity_number.as_ref().cloned(),
            metric_names: texts(&config.metric_names),
            attributes: attributes(&config.attributes),
            resources: attributes(&config.resources),
            libraries: config.libraries.iter().map(library).collect(),
        }
    }

    pub(super) fn has_resource(&self, entry: ResourceEntry<'_>) -> bool {
        if !self.services.0.is_empty() {
            let mut name = Vec::new();
            match entry.resource().attribute(b"service.name") {
                Some(value) => put_text(&mut name, value),
                None => name.extend_from_slice(b"<nil-service-name>"),
            }
            if !self.services.have(&name) {
                return false;
            }
        }
        self.resources.iter().all(|test| test.holds(entry.resource().attribute(&test.key)))
    }

    pub(super) fn has_scope(&self, scope: ScopeEntry<'_>) -> bool {
        self.libraries.iter().all(|(name, version)| {
            name.holds(scope.name())
                && version.as_ref().is_none_or(|version| version.holds(scope.version()))
        })
    }

    pub(super) fn has_record(&self, record: &[u8], signal: Signal) -> bool {
        match signal {
            Signal::Traces => self.has_span(&Span::read(record)),
            Signal::Logs => self.has_log_record(&LogRecord::read(record)),
            Signal::Metrics => self.metric_names.have(Metric::read(record).name),
        }
    }

    fn has_span(&self, span: &Span<'_>) -> bool {
        let kind = usize::try_from(span.kind).ok().and_then(|kind| SPAN_KINDS.get(kind));
        self.span_names.have(span.name)
            && self.span_kinds.have(kind.copied().unwrap_or_default().as_bytes())
            && self.has_attributes(&span.attributes())
    }

    fn has_log_record(&self, record: &LogRecord<'_>) -> bool {
        if !self.log_bodies.0.is_empty() {
            let mut body = Vec::new();
            put_text(&mut body, record.body());
            if !self.log_bodies.have(&body) {
                return false;
            }
        }
        let is_severe =
            self.severity.as_ref().is_none_or(|severity| match record.severity_number {
                0 => severity.match_undefined,
                number => number >= severity.min.0,
            });
        is_severe
            && self.log_severity_texts.have(record.severity_text)
            && self.has_attributes(&record.attributes())
    }

    fn has_attributes(&self, attributes: &Attributes<'_>) -> bool {
        self.attributes.iter().all(|test| test.holds(attributes.clone().get(&test.key)))
    }
}

/// One of these must hold, if there are any.
#[derive(Debug)]
struct Texts(Vec<Test>);

impl Texts {
    fn have(&self, text: &[u8]) -> bool {
        self.0.is_empty() || self.0.iter().any(|test| test.holds(text))
    }
}

#[derive(Debug)]
enum Test {
    Equal(Vec<u8>),
    Pattern(Regex),
}

impl Test {
    fn new(how: MatchType, text: &str) -> Self {
        match how {
            MatchType::Strict => Test::Equal(text.as_bytes().to_vec()),
            MatchType::Regexp => {
                Test::Pattern(regex::compile(text).expect("the section was validated"))
            }
        }
    }

    fn holds(&self, text: &[u8]) -> bool {
        match self {
            Test::Equal(expected) => *expected == text,
            Test::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

#[derive(Debug)]
struct AttributeTest {
    key: Vec<u8>,
    value: ValueTest,
}

#[derive(Debug)]
enum ValueTest {
    Any,
    Equal(Literal),
    Pattern(Regex),
}

impl AttributeTest {
    fn new(how: MatchType, config: &AttributeConfig) -> Self {
        let value = match (&config.value, how) {
            (None, _) => ValueTest::Any,
            (Some(value), MatchType::Strict) => ValueTest::Equal(value.clone()),
            (Some(value), MatchType::Regexp) => {
                let pattern = value.value().as_string().unwrap_or_default();
                let pattern = regex::compile(&String::from_utf8_lossy(pattern));
                ValueTest::Pattern(pattern.expect("the section was validated"))
            }
        };
        Self { key: config.key.clone().into_bytes(), value }
    }

    fn holds(&self, value: Option<AnyValue<'_>>) -> bool {
        let Some(value) = value else { return false };
        match &self.value {
            ValueTest::Any => true,
            ValueTest::Equal(expected) => are_equal(expected.value(), value, 0),
            ValueTest::Pattern(pattern) => match value {
                AnyValue::String(text) => pattern.is_match(text),
                AnyValue::Bool(flag) => pattern.is_match(flag.to_string().as_bytes()),
                AnyValue::Int(number) => pattern.is_match(number.to_string().as_bytes()),
                AnyValue::Double(number) => pattern.is_match(number.to_string().as_bytes()),
                AnyValue::Empty
                | AnyValue::Array(_)
                | AnyValue::KeyValues(_)
                | AnyValue::Bytes(_) => false,
            },
        }
    }
}

/// How deep values are compared; what is deeper differs.
const MAX_DEPTH: u32 = 64;

/// Whether two values are of one type and equal; the order of a map's entries does not count.
fn are_equal(one: AnyValue<'_>, other: AnyValue<'_>, depth: u32) -> bool {
    match (one, other) {
        _ if depth == MAX_DEPTH => false,
        (AnyValue::Array(one), AnyValue::Array(other)) => {
            let (mut one, mut other) = (AnyValue::elements(one), AnyValue::elements(other));
            loop {
                match (one.next(), other.next()) {
                    (None, None) => return true,
                    (Some(one), Some(other)) if are_equal(one, other, depth + 1) => {}
                    _ => return false,
                }
            }
        }
        (AnyValue::KeyValues(one), AnyValue::KeyValues(other)) => {
            let (one, other) = (Attributes::of_list(one), Attributes::of_list(other));
            one.clone().count() == other.clone().count()
                && one.into_iter().all(|(key, value)| {
                    let found = other.clone().get(key);
                    found.is_some_and(|found| are_equal(value, found, depth + 1))
                })
        }
        (one, other) => one == other,
    }
}
