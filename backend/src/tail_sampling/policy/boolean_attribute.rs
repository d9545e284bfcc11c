//! `boolean_attribute`: keeps traces with a boolean attribute, on a span or on a resource.

use shared::config::{Path, Problems};
use shared::config_struct;
use shared::wire::AnyValue;

use super::{Builder, PolicyConfig, Rule, attribute};

config_struct! {
    /// `boolean_attribute`.
    pub(super) struct BooleanAttributeConfig {
        /// The attribute's key.
        pub key: String = String::new(),
        /// The value that keeps a trace.
        pub value: bool = false,
        /// Keeps the traces that do not match instead.
        pub invert_match: bool = false,
    }
}

impl PolicyConfig for BooleanAttributeConfig {
    const TYPE: &'static str = "boolean_attribute";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.key.is_empty() {
            problems.report(&at.key("key"), "must not be empty");
        }
    }

    fn marks(&self) -> usize {
        1
    }

    /// A value that is no boolean counts as false, as in the Collector.
    /// Source: contrib v0.156 `tailsamplingprocessor/internal/sampling/boolean_tag_filter.go`.
    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let wanted = self.value;
        let holds = move |value: AnyValue<'_>| (value == AnyValue::Bool(true)) == wanted;
        attribute::rule(&self.key, self.invert_match, holds, builder)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Decision::{NotSampled, Sampled};
    use super::super::testing::{check, problems};

    fn config(rest: &str) -> String {
        format!("{{name: a, type: boolean_attribute, boolean_attribute: {{{rest}}}}}")
    }

    #[test]
    fn the_value_counts_on_span_or_resource() {
        let config = config("key: k, value: true");
        check(&config, "0..1 k=?false; 0..1 k=?true", Sampled);
        check(&config, "0..1 @k=?true", Sampled);
        check(&config, "0..1 k=?false", NotSampled);
        check(&config, "0..1", NotSampled);
    }

    #[test]
    fn what_is_no_boolean_counts_as_false() {
        for value in ["k=true", "k=#1", "@k=true"] {
            check(&config("key: k, value: true"), &format!("0..1 {value}"), NotSampled);
            check(&config("key: k"), &format!("0..1 {value}"), Sampled);
        }
        check(&config("key: k"), "0..1", NotSampled);
    }

    #[test]
    fn inverted_keeps_what_does_not_match() {
        let config = config("key: k, value: true, invert_match: true");
        check(&config, "0..1", Sampled);
        check(&config, "0..1 k=?false", Sampled);
        check(&config, "0..1 k=?false; 0..1 k=?true", NotSampled);
    }

    #[test]
    fn the_key_must_be_set() {
        assert_eq!(
            problems(&config("value: true")),
            "policies::0::boolean_attribute::key: must not be empty"
        );
    }
}
