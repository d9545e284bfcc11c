//! `string_attribute`: keeps traces with a string attribute of one of the given values, on a span
//! or on a resource.

use hashbrown::HashSet;
use regex::bytes::Regex;
use shared::config::{Path, Problems};
use shared::config_struct;
use shared::ottl::regex::compile;
use shared::wire::{AnyValue, Resource};

use super::{
    Ballot, Builder, Case, Decision, KeyId, KeySet, Marks, Policy, PolicyConfig, Rule, Sight, Vote,
};

config_struct! {
    /// `string_attribute`.
    pub(super) struct StringAttributeConfig {
        /// The attribute's key.
        pub key: String = String::new(),
        /// The values, or regular expressions for them.
        pub values: Vec<String> = Vec::new(),
        /// Whether `values` are regular expressions. They match anywhere in the value.
        pub enabled_regex_matching: bool = false,
        /// Accepted for the Collector's sake, which remembers outcomes; matching needs no cache.
        pub cache_max_size: u64 = 0,
        /// Keeps the traces that do not match instead.
        pub invert_match: bool = false,
    }
}

impl PolicyConfig for StringAttributeConfig {
    const TYPE: &'static str = "string_attribute";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.key.is_empty() {
            problems.report(&at.key("key"), "must not be empty");
        }
        let at = at.key("values");
        if self.values.iter().all(String::is_empty) {
            problems.report(&at, "must have a value that is not empty, or nothing can match");
        }
        if self.enabled_regex_matching {
            for (index, value) in self.values.iter().enumerate() {
                if let Err(error) = compile(value) {
                    problems.report(&at.index(index), error);
                }
            }
        }
    }

    fn marks(&self) -> usize {
        1
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let values = self.values.iter().filter(|value| !value.is_empty());
        let matcher = match self.enabled_regex_matching {
            true => Matcher::Patterns(values.map(|value| Pattern::of(value)).collect()),
            false => Matcher::Exact(values.map(|value| value.as_bytes().into()).collect()),
        };
        let (key, id) = (self.key.as_bytes().into(), builder.key(&self.key));
        builder.policy(StringAttribute { key, id, matcher, inverted: self.invert_match })
    }
}

struct StringAttribute {
    key: Box<[u8]>,
    id: KeyId,
    matcher: Matcher,
    inverted: bool,
}

enum Matcher {
    Exact(HashSet<Box<[u8]>>),
    Patterns(Vec<Pattern>),
}

enum Pattern {
    /// A regular expression that says no more than what the value begins with, as routes do.
    Prefix(Box<[u8]>),
    Regex(Regex),
}

impl Pattern {
    fn of(pattern: &str) -> Self {
        let is_literal = |byte: u8| byte.is_ascii_alphanumeric() || b" /_-:=".contains(&byte);
        match pattern.strip_prefix('^') {
            Some(rest) if rest.bytes().all(is_literal) => Self::Prefix(rest.as_bytes().into()),
            _ => Self::Regex(compile(pattern).expect("validate compiled it")),
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Pattern::Prefix(prefix) => value.starts_with(prefix),
            Pattern::Regex(regex) => regex.is_match(value),
        }
    }
}

impl Matcher {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Matcher::Exact(values) => values.contains(value),
            Matcher::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(value)),
        }
    }
}

impl Policy for StringAttribute {
    fn marks(&self) -> u8 {
        1
    }

    fn needs(&self) -> KeySet {
        KeySet::of(self.id)
    }

    fn observe(&self, sight: &Sight<'_>) -> Marks {
        match sight.attribute(self.id) {
            Some(AnyValue::String(value)) if !value.is_empty() => {
                Marks::seen_if(self.matcher.matches(value))
            }
            _ => Marks::NONE,
        }
    }

    /// On a resource a value of another type counts as an empty string, as in the Collector.
    /// Source: contrib v0.156 `tailsamplingprocessor/internal/sampling/string_tag_filter.go`.
    fn observe_resource(&self, resource: Resource<'_>) -> Marks {
        let value = resource.attribute(&self.key);
        Marks::seen_if(
            value.is_some_and(|value| self.matcher.matches(value.as_string().unwrap_or_default())),
        )
    }

    fn evaluate(&self, marks: Marks, _case: &Case<'_>) -> Ballot {
        Ok(Vote::sampled_if(marks.is_none() == self.inverted))
    }

    fn foregone(&self, marks: Marks, _case: &Case<'_>) -> Option<Decision> {
        (!marks.is_none()).then(|| Decision::sampled_if(!self.inverted))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use super::*;
    use Decision::{NotSampled, Sampled};

    #[test]
    fn a_value_matches_exactly_on_span_or_resource() {
        let config = "{type: string_attribute, string_attribute: {key: k, values: [a, b]}}";
        check(config, "0..1 k=c; 0..1 k=b", Sampled);
        check(config, "0..1 @k=a", Sampled);
        check(config, "0..1 k=ab; 0..1 other=a", NotSampled);
        check(config, "0..1 k=#1", NotSampled);
    }

    #[test]
    fn inverted_keeps_what_does_not_match() {
        let config =
            "{type: string_attribute, string_attribute: {key: k, values: [a], invert_match: true}}";
        check(config, "0..1 k=b; 0..1", Sampled);
        check(config, "0..1", Sampled);
        check(config, "0..1 k=b; 0..1 k=a", NotSampled);
        check(config, "0..1 @k=a", NotSampled);
    }

    fn regex(pattern: &str) -> String {
        format!(
            "{{type: string_attribute, string_attribute: \
             {{key: k, values: ['{pattern}'], enabled_regex_matching: true, cache_max_size: 10}}}}"
        )
    }

    #[test]
    fn a_regex_matches_anywhere() {
        check(&regex("v[0-9]+"), "0..1 k=/v12/x", Sampled);
        check(&regex("^v[0-9]+$"), "0..1 k=/v12/x", NotSampled);
        check(&regex("^v[0-9]+$"), "0..1 @k=v7", Sampled);
    }

    #[test]
    fn what_a_value_begins_with_is_compared_as_it_is() {
        check(&regex("^/a-b/"), "0..1 k=/a-b/c", Sampled);
        check(&regex("^/a-b/"), "0..1 k=x/a-b/", NotSampled);
        check(&regex("^a.c"), "0..1 k=abc", Sampled);
        check(&regex("^a|c"), "0..1 k=bc", Sampled);
        check(&regex("^"), "0..1 k=x", Sampled);
    }

    #[test]
    fn classes_are_ascii_and_text_patterns_still_work() {
        check(&regex("^\\w+$"), "0..1 k=é", NotSampled);
        check(&regex("^[é]$"), "0..1 k=é", Sampled);
        check(&regex("^\\p{Greek}$"), "0..1 k=λ", Sampled);
    }

    #[test]
    fn another_type_on_a_resource_is_an_empty_string() {
        check(&regex("^$"), "0..1 @k=#5", Sampled);
        check(&regex("^$"), "0..1 k=#5", NotSampled);
        check(&regex("^$"), "0..1", NotSampled);
    }

    #[test]
    fn all_mistakes_are_named() {
        let found = problems(
            "{name: a, type: string_attribute, string_attribute: \
             {values: ['x', '(', '['], enabled_regex_matching: true}}",
        );
        let at = "policies::0::string_attribute";
        assert!(found.starts_with(&format!("{at}::key: must not be empty")), "{found}");
        assert!(found.contains(&format!("{at}::values::1: bad pattern")), "{found}");
        assert!(found.contains(&format!("{at}::values::2: bad pattern")), "{found}");
        assert_eq!(
            problems("{name: a, type: string_attribute, string_attribute: {key: k, values: ['']}}"),
            format!("{at}::values: must have a value that is not empty, or nothing can match")
        );
    }
}
