//! Names of OTLP as names of Prometheus: of metrics and of labels.
//!
//! Scraping and remote write make them by one rule and differ in what [`Naming`] says.
//!
//! Source: prometheus/otlptranslator `metric_namer.go`, `label_namer.go`.

use std::borrow::Cow;

use shared::config_enum;

use super::units;

config_enum! {
    /// How names of OTLP become names of Prometheus.
    pub enum TranslationStrategy {
        /// What is not allowed becomes `_`; units and types become suffixes.
        UnderscoreEscapingWithSuffixes = "UnderscoreEscapingWithSuffixes",
        /// What is not allowed becomes `_`.
        UnderscoreEscapingWithoutSuffixes = "UnderscoreEscapingWithoutSuffixes",
        /// All characters stay; units and types become suffixes.
        NoUtf8EscapingWithSuffixes = "NoUTF8EscapingWithSuffixes",
        /// Names stay as they are.
        NoTranslation = "NoTranslation",
    }
}

impl TranslationStrategy {
    /// Whether units and types become part of names.
    pub(crate) fn suffixes(self) -> Suffixes {
        match self {
            Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes => {
                Suffixes::With
            }
            Self::UnderscoreEscapingWithoutSuffixes | Self::NoTranslation => Suffixes::Without,
        }
    }

    /// Which characters names have.
    pub(crate) fn charset(self) -> Charset {
        match self {
            Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes => {
                Charset::Legacy
            }
            Self::NoUtf8EscapingWithSuffixes | Self::NoTranslation => Charset::Utf8,
        }
    }
}

/// What the name of a metric depends on besides its text and unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameKind {
    /// A sum that only grows.
    Counter,
    /// A gauge of OTLP, not a sum that goes up and down.
    Gauge,
    /// Anything else.
    Other,
}

/// Whether unit and type become part of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suffixes {
    With,
    Without,
}

/// Which characters names have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Charset {
    /// `[a-zA-Z0-9_:]`, and no `:` in labels.
    Legacy,
    /// Any.
    Utf8,
}

/// What becomes of underscores in labels whose characters are [`Charset::Legacy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Underscores {
    /// They stay, as the Collector's scrape exporter has it: `a..b` is `a__b`.
    Kept,
    /// Several become one, and `key` goes in front of a first one, as the Collector's remote write
    /// has it: `a..b` is `a_b`, `_a` is `key_a`.
    Collapsed,
}

/// How names are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Naming {
    /// In front of every metric's name.
    pub(crate) namespace: String,
    pub(crate) suffixes: Suffixes,
    pub(crate) charset: Charset,
    pub(crate) underscores: Underscores,
}

impl Naming {
    /// The name of a metric's family; `None` when the name has no letter or digit.
    pub(crate) fn metric(&self, name: &str, unit: &str, kind: NameKind) -> Option<String> {
        match (self.charset, self.suffixes) {
            (Charset::Legacy, _) if !name.contains(is_name_char) => None,
            (Charset::Legacy, Suffixes::With) => {
                Some(self.escaped(&with_suffixes(name, unit, kind)))
            }
            (Charset::Legacy, Suffixes::Without) => {
                Some(self.escaped(&join(name.split(|c| !is_name_char(c) && c != '_'))))
            }
            (Charset::Utf8, _) if name.is_empty() => None,
            (Charset::Utf8, Suffixes::With) => {
                Some(with_utf8_suffixes(self.in_namespace(name), unit.trim(), kind))
            }
            (Charset::Utf8, Suffixes::Without) => Some(self.in_namespace(name)),
        }
    }

    /// The name of a label: always one, so that no attribute is lost, and never one that begins
    /// with `__`, since Prometheus keeps such labels to itself.
    pub(crate) fn label<'a>(&self, attribute: &'a str) -> Cow<'a, str> {
        match (self.charset, self.underscores) {
            (Charset::Legacy, Underscores::Kept) => escaped_label(attribute),
            (Charset::Legacy, Underscores::Collapsed) => match collapsed(replaced(attribute)) {
                name if name.starts_with('_') => Cow::Owned(format!("key{name}")),
                name => led_by_letter(name),
            },
            (Charset::Utf8, _) if attribute.is_empty() || attribute.starts_with("__") => {
                escaped_label(attribute)
            }
            (Charset::Utf8, _) => Cow::Borrowed(attribute),
        }
    }

    /// A unit in words, as the metadata of a family has it: `meters_per_second`.
    pub(crate) fn unit(&self, unit: &str) -> String {
        let (main, per) = units::words(unit.trim());
        let words = match self.charset {
            Charset::Legacy => [clean(main), clean(&per)],
            Charset::Utf8 => [main.to_owned(), per],
        };
        join(words.iter().map(String::as_str))
    }

    fn in_namespace(&self, name: &str) -> String {
        match self.namespace.as_str() {
            "" => name.to_owned(),
            namespace => format!("{namespace}_{name}"),
        }
    }

    fn escaped(&self, name: &str) -> String {
        escaped_metric(&self.in_namespace(name)).into_owned()
    }
}

/// A metric's name with the characters that every scraper takes.
pub(crate) fn escaped_metric(name: &str) -> Cow<'_, str> {
    let is_valid = |c: char| is_name_char(c) || c == '_';
    let clean = match name.chars().all(is_valid) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(name.chars().map(|c| if is_valid(c) { c } else { '_' }).collect()),
    };
    match clean.starts_with(|c: char| c.is_ascii_digit()) {
        true => Cow::Owned(format!("_{clean}")),
        false => clean,
    }
}

/// A label's name with the characters that every scraper takes.
pub(crate) fn escaped_label(attribute: &str) -> Cow<'_, str> {
    match replaced(attribute) {
        name if name.starts_with("__") => Cow::Owned(format!("key{name}")),
        name => led_by_letter(name),
    }
}

fn replaced(attribute: &str) -> Cow<'_, str> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match attribute.chars().all(is_valid) {
        true => Cow::Borrowed(attribute),
        false => attribute.chars().map(|c| if is_valid(c) { c } else { '_' }).collect(),
    }
}

/// With something in front of a digit, or of nothing.
fn led_by_letter(name: Cow<'_, str>) -> Cow<'_, str> {
    match name.chars().next() {
        Some(first) if !first.is_ascii_digit() => name,
        _ => Cow::Owned(format!("key_{name}")),
    }
}

/// With one underscore where there are several.
fn collapsed(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.contains("__") {
        return name;
    }
    let mut single = String::with_capacity(name.len());
    for c in name.chars() {
        if c != '_' || !single.ends_with('_') {
            single.push(c);
        }
    }
    Cow::Owned(single)
}

fn with_suffixes(name: &str, unit: &str, kind: NameKind) -> String {
    let mut tokens: Vec<&str> =
        name.split(|c: char| !is_name_char(c)).filter(|token| !token.is_empty()).collect();
    let unit = unit.trim();
    let (main, per) = units::words(unit);
    let (main, per) = (clean(main), clean(&per));
    for suffix in [&main, &per] {
        if !suffix.is_empty() && suffix != "per" && !tokens.contains(&suffix.as_str()) {
            tokens.push(suffix);
        }
    }
    if let Some(last) = kind.suffix(unit) {
        tokens.retain(|token| *token != last);
        tokens.push(last);
    }
    tokens.join("_")
}

/// The same with all characters as they are; what the name ends with already is not repeated.
fn with_utf8_suffixes(mut name: String, unit: &str, kind: NameKind) -> String {
    let (main, per) = units::words(unit);
    let last = kind.suffix(unit).unwrap_or_default();
    for suffix in [last, per.as_str()] {
        trim_suffix(&mut name, suffix);
    }
    let main = if name.ends_with(main) { "" } else { main };
    for suffix in [main, per.as_str(), last] {
        if !suffix.is_empty() {
            name.push('_');
            name.push_str(suffix);
        }
    }
    name
}

/// Removes `suffix` and the character in front of it that sets it off.
fn trim_suffix(name: &mut String, suffix: &str) {
    if let Some(rest) = name.strip_suffix(suffix)
        && !suffix.is_empty()
        && let Some(delimiter) = rest.chars().next_back()
        && !delimiter.is_alphanumeric()
        && rest.len() > delimiter.len_utf8()
    {
        name.truncate(rest.len() - delimiter.len_utf8());
    }
}

impl NameKind {
    fn suffix(self, unit: &str) -> Option<&'static str> {
        match self {
            NameKind::Counter => Some("total"),
            NameKind::Gauge if unit == "1" => Some("ratio"),
            NameKind::Gauge | NameKind::Other => None,
        }
    }
}

fn clean(unit: &str) -> String {
    join(unit.split(|c: char| !is_name_char(c)))
}

fn join<'a>(tokens: impl Iterator<Item = &'a str>) -> String {
    tokens.filter(|token| !token.is_empty()).collect::<Vec<_>>().join("_")
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

#[cfg(test)]
mod tests;
