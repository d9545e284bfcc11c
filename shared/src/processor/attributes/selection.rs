//! Which records are meant: `include` and `exclude`.
//!
//! A record is meant if it matches `include`, where there is one, and not `exclude`. What a resource
//! and a scope decide is decided once for all records below them.
//!
//! Source: contrib internal/filter/{filterconfig,filtermatcher,filterspan,filterlog,filtermetric}.

use ::regex::bytes::Regex;

use crate::config::{Decode, Node, Path, Problems, Section};
use crate::ottl::regex;
use crate::processor::actions::Literal;
use crate::service::BuildError;
use crate::wire::text::put_text;
use crate::wire::{
    AnyValue, Attributes, LogRecord, Metric, ResourceEntry, ScopeEntry, Signal, Span, Visit,
};
use crate::{config_enum, config_struct};

config_enum! {
    /// How texts are compared.
    pub enum MatchType {
        /// They are equal.
        Strict = "strict",
        /// The text matches a pattern anywhere.
        Regexp = "regexp",
    }
}

config_struct! {
    /// `include` and `exclude`: what all must match.
    pub struct MatchConfig {
        /// How texts are compared.
        pub match_type: Option<MatchType> = None,
        /// Accepted; matches are not cached.
        pub regexp: RegexpConfig = RegexpConfig::default(),
        /// Of spans: one of these is the service's name.
        pub services: Vec<String> = Vec::new(),
        /// Of spans: one of these is its name.
        pub span_names: Vec<String> = Vec::new(),
        /// Of spans: one of these is its kind, as `SPAN_KIND_SERVER`.
        pub span_kinds: Vec<String> = Vec::new(),
        /// Of log records: one of these is its body's text.
        pub log_bodies: Vec<String> = Vec::new(),
        /// Of log records: one of these is its severity's text.
        pub log_severity_texts: Vec<String> = Vec::new(),
        /// Of log records: how severe it is.
        pub log_severity_number: Section<SeverityConfig> = Section::none(),
        /// Of metrics: one of these is its name.
        pub metric_names: Vec<String> = Vec::new(),
        /// Of spans and log records: all of these are among its attributes.
        pub attributes: Vec<AttributeConfig> = Vec::new(),
        /// All of these are among its resource's attributes.
        pub resources: Vec<AttributeConfig> = Vec::new(),
        /// Of spans and log records: all of these are its scope.
        pub libraries: Vec<LibraryConfig> = Vec::new(),
    }
}

config_struct! {
    /// `regexp`.
    pub struct RegexpConfig {
        /// Accepted; matches are not cached.
        pub cacheenabled: bool = false,
        /// Accepted; matches are not cached.
        pub cachemaxnumentries: u64 = 0,
    }
}

config_struct! {
    /// `log_severity_number`.
    pub struct SeverityConfig {
        /// The least number.
        pub min: Severity = Severity(0),
        /// Whether records without a number match.
        pub match_undefined: bool = false,
    }
}

config_struct! {
    /// An attribute that must be there.
    pub struct AttributeConfig {
        /// Its key.
        pub key: String = String::new(),
        /// Its value; any, if it is left out.
        pub value: Option<Literal> = None,
    }
}

config_struct! {
    /// A scope.
    pub struct LibraryConfig {
        /// Its name.
        pub name: String = String::new(),
        /// Its version; any, if it is left out.
        pub version: Option<String> = None,
    }
}

/// A severity number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severity(u64);

impl Decode for Severity {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        u32::decode(node, at, problems).map(|number| Self(number.into()))
    }
}

const SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

impl MatchConfig {
    /// Reports what is wrong whatever the signal.
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let Some(match_type) = self.match_type else {
            problems.report(&at.key("match_type"), "must be one of strict, regexp");
            return;
        };
        if self.used().is_empty() {
            problems.report(at, "nothing is specified that could match");
        }
        for (key, texts) in self.texts() {
            let at = at.key(key);
            for (index, text) in texts.iter().enumerate() {
                report_pattern(match_type, text, &at.index(index), problems);
            }
        }
        if match_type == MatchType::Strict {
            let at = at.key("span_kinds");
            for (index, kind) in self.span_kinds.iter().enumerate() {
                if !SPAN_KINDS[1..].contains(&kind.as_str()) {
                    let known = SPAN_KINDS[1..].join(", ");
                    problems.report(&at.index(index), format!("must be one of {known}"));
                }
            }
        }
        for (key, attributes) in [("attributes", &self.attributes), ("resources", &self.resources)]
        {
            let at = at.key(key);
            for (index, attribute) in attributes.iter().enumerate() {
                attribute.validate(match_type, &at.index(index), problems);
            }
        }
        let at = at.key("libraries");
        for (index, library) in self.libraries.iter().enumerate() {
            let at = at.index(index);
            report_pattern(match_type, &library.name, &at.key("name"), problems);
            let version = library.version.as_deref().unwrap_or_default();
            report_pattern(match_type, version, &at.key("version"), problems);
        }
    }

    fn texts(&self) -> [(&'static str, &[String]); 6] {
        [
            ("services", &self.services),
            ("span_names", &self.span_names),
            ("span_kinds", &self.span_kinds),
            ("log_bodies", &self.log_bodies),
            ("log_severity_texts", &self.log_severity_texts),
            ("metric_names", &self.metric_names),
        ]
    }

    /// The keys that say something.
    fn used(&self) -> Vec<&'static str> {
        let texts = self.texts().into_iter().map(|(key, texts)| (key, !texts.is_empty()));
        let others = [
            ("log_severity_number", self.log_severity_number.is_on()),
            ("attributes", !self.attributes.is_empty()),
            ("resources", !self.resources.is_empty()),
            ("libraries", !self.libraries.is_empty()),
        ];
        texts.chain(others).filter(|(_, is_used)| *is_used).map(|(key, _)| key).collect()
    }
}

impl AttributeConfig {
    fn validate(&self, match_type: MatchType, at: &Path<'_>, problems: &mut Problems) {
        if self.key.is_empty() {
            problems.report(&at.key("key"), "must not be empty");
        }
        if match_type == MatchType::Strict {
            return;
        }
        match self.value.as_ref().map(Literal::value) {
            None => {}
            Some(AnyValue::String(text)) => {
                let pattern = String::from_utf8_lossy(text);
                report_pattern(match_type, &pattern, &at.key("value"), problems);
            }
            Some(_) => problems.report(&at.key("value"), "match_type regexp wants a string"),
        }
    }
}

fn report_pattern(match_type: MatchType, text: &str, at: &Path<'_>, problems: &mut Problems) {
    if match_type == MatchType::Regexp
        && let Err(problem) = regex::compile(text)
    {
        problems.report(at, problem);
    }
}

/// Tells which records are meant.
#[derive(Debug)]
pub(super) struct Selection {
    include: Option<Matcher>,
    exclude: Option<Matcher>,
}

/// What the resource and the scope say.
#[derive(Debug, Default)]
pub(super) struct Place {
    include: Agreement,
    exclude: Agreement,
}

#[derive(Debug, Default, Clone, Copy)]
struct Agreement {
    resource: bool,
    scope: bool,
}

impl Selection {
    /// Of sections that were found valid, for records of `signal`.
    pub(super) fn new(
        include: Option<&MatchConfig>,
        exclude: Option<&MatchConfig>,
        signal: Signal,
    ) -> Result<Self, BuildError> {
        let matcher = |key: &str, config: Option<&MatchConfig>| {
            let Some(config) = config else { return Ok(None) };
            check_signal(config, signal)
                .map_err(|problem| BuildError::new(format!("{key}: {problem}")))?;
            Ok(Some(Matcher::new(config)))
        };
        Ok(Self { include: matcher("include", include)?, exclude: matcher("exclude", exclude)? })
    }

    pub(super) fn enter_resource(&self, entry: ResourceEntry<'_>, place: &mut Place) -> Visit {
        let agrees = |matcher: &Option<Matcher>| matcher.as_ref().map(|it| it.has_resource(entry));
        place.include.resource = agrees(&self.include).unwrap_or(true);
        place.exclude.resource = agrees(&self.exclude).unwrap_or(false);
        if place.include.resource { Visit::Into } else { Visit::Over }
    }

    pub(super) fn enter_scope(&self, scope: ScopeEntry<'_>, place: &mut Place) -> Visit {
        let agrees = |matcher: &Option<Matcher>| matcher.as_ref().map(|it| it.has_scope(scope));
        place.include.scope = agrees(&self.include).unwrap_or(true);
        place.exclude.scope = agrees(&self.exclude).unwrap_or(false);
        if place.include.scope { Visit::Into } else { Visit::Over }
    }

    /// Whether a record is meant that stands in a place that `include` agrees to.
    pub(super) fn has(&self, record: &[u8], signal: Signal, place: &Place) -> bool {
        if let Some(include) = &self.include
            && !include.has_record(record, signal)
        {
            return false;
        }
        let is_excluded = place.exclude.resource && place.exclude.scope;
        let exclude = self.exclude.as_ref().filter(|_| is_excluded);
        !exclude.is_some_and(|exclude| exclude.has_record(record, signal))
    }
}

/// Whether what a section says can be said of records of `signal`.
fn check_signal(config: &MatchConfig, signal: Signal) -> Result<(), String> {
    let known: &[&str] = match signal {
        Signal::Traces => {
            &["services", "span_names", "span_kinds", "attributes", "resources", "libraries"]
        }
        Signal::Logs => &[
            "log_bodies",
            "log_severity_texts",
            "log_severity_number",
            "attributes",
            "resources",
            "libraries",
        ],
        Signal::Metrics => &["metric_names", "resources"],
    };
    let used = config.used();
    let unknown: Vec<_> = used.iter().copied().filter(|key| !known.contains(key)).collect();
    match unknown.is_empty() {
        // The Collector takes some of these and then matches everything.
        false => Err(format!("{} cannot be asked of {signal}", unknown.join(", "))),
        true => Ok(()),
    }
}

/// All of this must match.
#[derive(Debug)]
struct Matcher {
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
    fn new(config: &MatchConfig) -> Self {
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

    fn has_resource(&self, entry: ResourceEntry<'_>) -> bool {
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

    fn has_scope(&self, scope: ScopeEntry<'_>) -> bool {
        self.libraries.iter().all(|(name, version)| {
            name.holds(scope.name())
                && version.as_ref().is_none_or(|version| version.holds(scope.version()))
        })
    }

    fn has_record(&self, record: &[u8], signal: Signal) -> bool {
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
