//! `numeric_attribute`: keeps traces with an integer attribute in a range, on a span or on a
//! resource.

use shared::config::{Path, Problems};
use shared::config_struct;
use shared::wire::AnyValue;

use super::{Builder, PolicyConfig, Rule, attribute};

config_struct! {
    /// `numeric_attribute`.
    pub(super) struct NumericAttributeConfig {
        /// The attribute's key.
        pub key: String = String::new(),
        /// The least value kept; 0 is no bound, as in the Collector.
        pub min_value: Option<i64> = None,
        /// The greatest value kept; 0 is no bound, as in the Collector.
        pub max_value: Option<i64> = None,
        /// Keeps the traces that do not match instead.
        pub invert_match: bool = false,
    }
}

impl NumericAttributeConfig {
    /// The bounds that are set.
    fn bounds(&self) -> (Option<i64>, Option<i64>) {
        let set = |bound: Option<i64>| bound.filter(|bound| *bound != 0);
        (set(self.min_value), set(self.max_value))
    }
}

impl PolicyConfig for NumericAttributeConfig {
    const TYPE: &'static str = "numeric_attribute";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.key.is_empty() {
            problems.report(&at.key("key"), "must not be empty");
        }
        match self.bounds() {
            (None, None) => {
                let message = "min_value or max_value must be set, to a number that is not 0";
                problems.report(at, message);
                return;
            }
            (Some(min), Some(max)) if min > max => {
                let message = format!("must be below max_value ({max}), or no value can match");
                problems.report(&at.key("min_value"), message);
            }
            _ => {}
        }
        for (key, bound) in [("min_value", self.min_value), ("max_value", self.max_value)] {
            if bound == Some(0) {
                let message = "0 means no bound, as in the Collector; write -1 or 1 for a bound \
                               next to it";
                problems.warn(&at.key(key), message);
            }
        }
    }

    fn marks(&self) -> usize {
        1
    }

    /// A value that is no integer counts as 0, as in the Collector.
    /// Source: contrib v0.156 `tailsamplingprocessor/internal/sampling/numeric_tag_filter.go`.
    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let (min, max) = self.bounds();
        let range = min.unwrap_or(i64::MIN)..=max.unwrap_or(i64::MAX);
        let holds = move |value: AnyValue<'_>| match value {
            AnyValue::Int(number) => range.contains(&number),
            _ => range.contains(&0),
        };
        attribute::rule(&self.key, self.invert_match, holds, builder)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Decision::{NotSampled, Sampled};
    use super::super::testing::{check, problems, warnings};

    fn config(rest: &str) -> String {
        format!("{{name: a, type: numeric_attribute, numeric_attribute: {{{rest}}}}}")
    }

    #[test]
    fn the_range_is_inclusive_on_span_or_resource() {
        let config = config("key: k, min_value: 50, max_value: 100");
        check(&config, "0..1; 0..1 k=#50", Sampled);
        check(&config, "0..1 @k=#100", Sampled);
        check(&config, "0..1 k=#49; 0..1 k=#101", NotSampled);
        check(&config, "0..1 other=#60", NotSampled);
    }

    #[test]
    fn a_missing_bound_and_a_bound_of_0_are_none() {
        check(&config("key: k, min_value: 50"), "0..1 k=#9223372036854775807", Sampled);
        check(&config("key: k, max_value: 50"), "0..1 k=#-9223372036854775808", Sampled);
        check(&config("key: k, min_value: 0, max_value: 50"), "0..1 k=#-7", Sampled);
        check(&config("key: k, min_value: -50, max_value: 0"), "0..1 k=#7", Sampled);
    }

    #[test]
    fn what_is_no_integer_counts_as_0() {
        for value in ["k=~75.5", "k=75", "k=?true", "@k=~75.5", "@k=75"] {
            check(&config("key: k, min_value: 50"), &format!("0..1 {value}"), NotSampled);
            check(&config("key: k, max_value: 50"), &format!("0..1 {value}"), Sampled);
        }
    }

    #[test]
    fn inverted_keeps_what_does_not_match() {
        let config = config("key: k, min_value: 50, invert_match: true");
        check(&config, "0..1 k=#49; 0..1", Sampled);
        check(&config, "0..1", Sampled);
        check(&config, "0..1 k=#49; 0..1 k=#50", NotSampled);
        check(&config, "0..1 @k=#50", NotSampled);
    }

    #[test]
    fn ranges_that_say_nothing_are_refused_or_explained() {
        let at = "policies::0::numeric_attribute";
        assert_eq!(
            problems(&config("min_value: 0, max_value: 0")),
            format!(
                "{at}::key: must not be empty\n\
                 {at}: min_value or max_value must be set, to a number that is not 0"
            )
        );
        assert_eq!(
            problems(&config("key: k, min_value: 6, max_value: 5")),
            format!("{at}::min_value: must be below max_value (5), or no value can match")
        );
        assert_eq!(
            warnings(&config("key: k, min_value: 0, max_value: 5")),
            format!(
                "{at}::min_value: 0 means no bound, as in the Collector; write -1 or 1 for a bound \
                 next to it"
            )
        );
    }
}
