//! The settings: `include` and `exclude`.

use crate::config::{Decode, Node, Path, Problems, Section};
use crate::ottl::regex;
use crate::processor::actions::Literal;
use crate::wire::{AnyValue, Signal};
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
pub struct Severity(pub(in crate::processor) u64);

impl Decode for Severity {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        u32::decode(node, at, problems).map(|number| Self(number.into()))
    }
}

pub(super) const SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

impl MatchConfig {
    /// Reports what is wrong whatever the signal.
    pub(in crate::processor) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.validate_as(|key| key, at, problems);
    }

    /// The same, where keys are `written` in another way.
    pub(in crate::processor) fn validate_as(
        &self,
        written: impl Fn(&'static str) -> &'static str,
        at: &Path<'_>,
        problems: &mut Problems,
    ) {
        let Some(match_type) = self.match_type else {
            problems.report(&at.key("match_type"), "must be one of strict, regexp");
            return;
        };
        if self.used().is_empty() {
            problems.report(at, "nothing is specified that could match");
        }
        for (key, texts) in self.texts() {
            let at = at.key(written(key));
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
            let at = at.key(written(key));
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

    /// Whether what it says can be said of records of `signal`.
    pub(in crate::processor) fn check_signal(&self, signal: Signal) -> Result<(), String> {
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
        let used = self.used();
        let unknown: Vec<_> = used.iter().copied().filter(|key| !known.contains(key)).collect();
        match unknown.is_empty() {
            // The Collector takes some of these and then matches everything.
            false => Err(format!("{} cannot be asked of {signal}", unknown.join(", "))),
            true => Ok(()),
        }
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
