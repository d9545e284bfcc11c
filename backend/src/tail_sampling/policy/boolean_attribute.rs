//! `boolean_attribute`: keeps traces with a boolean attribute, on a span or on a resource.

use shared::config::{Path, Problems};
use shared::config_struct;
use shared::wire::{AnyValue, Resource};

use super::{
    Ballot, Builder, Case, Decision, KeyId, Marks, Policy, PolicyConfig, Rule, Sight, Vote,
};

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

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let id = builder.key(&self.key);
        builder.policy(BooleanAttribute {
            key: self.key.as_bytes().into(),
            id,
            wanted: self.value,
            inverted: self.invert_match,
        })
    }
}

struct BooleanAttribute {
    key: Box<[u8]>,
    id: KeyId,
    wanted: bool,
    inverted: bool,
}

impl BooleanAttribute {
    /// A value that is no boolean counts as false, as in the Collector.
    /// Source: contrib v0.156 `tailsamplingprocessor/internal/sampling/boolean_tag_filter.go`.
    fn look(&self, value: Option<AnyValue<'_>>) -> Marks {
        Marks::seen_if(value.is_some_and(|value| (value == AnyValue::Bool(true)) == self.wanted))
    }
}

impl Policy for BooleanAttribute {
    fn marks(&self) -> u8 {
        1
    }

    fn observe(&self, sight: &Sight<'_>) -> Marks {
        self.look(sight.attribute(self.id))
    }

    fn observe_resource(&self, resource: Resource<'_>) -> Marks {
        self.look(resource.attribute(&self.key))
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
