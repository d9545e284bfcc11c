//! Which attributes of a resource become labels of its series.
//!
//! Source: contrib pkg/resourcetotelemetry.

use shared::config_struct;

use super::wildcard::Wildcard;

/// Resource attributes that make up `job` and `instance`.
pub(crate) const SERVICE_ATTRIBUTES: [&str; 3] =
    ["service.name", "service.namespace", "service.instance.id"];

config_struct! {
    /// `resource_to_telemetry_conversion`.
    pub struct ResourceConversionConfig {
        /// Whether resource attributes become labels; they win over a data point's own.
        pub enabled: bool = false,
        /// Leaves out `service.name`, `service.namespace` and `service.instance.id`, which
        /// `job` and `instance` are made of.
        pub exclude_service_attributes: bool = false,
    }
}

config_struct! {
    /// `resource_constant_labels`: patterns of keys, in which `*` stands for any characters and
    /// `?` for one.
    pub struct ResourceLabelsConfig {
        /// What becomes a label; all attributes, if only `excluded` is set.
        pub included: Vec<String> = Vec::new(),
        /// What does not, even if it is included.
        pub excluded: Vec<String> = Vec::new(),
    }
}

impl ResourceLabelsConfig {
    /// Whether it says anything, and so takes the place of `resource_to_telemetry_conversion`.
    pub(crate) fn is_set(&self) -> bool {
        !self.included.is_empty() || !self.excluded.is_empty()
    }
}

/// Which attributes become labels; none by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResourceAttributes {
    included: Vec<Wildcard>,
    excluded: Vec<Wildcard>,
}

impl ResourceAttributes {
    /// What both sections together ask for.
    pub(crate) fn new(
        conversion: &ResourceConversionConfig,
        patterns: &ResourceLabelsConfig,
    ) -> Self {
        let all = || vec![Wildcard::new("*")];
        let compile =
            |patterns: &[String]| patterns.iter().map(|text| Wildcard::new(text)).collect();
        if patterns.is_set() {
            let included = match patterns.included.is_empty() {
                true => all(),
                false => compile(&patterns.included),
            };
            return Self { included, excluded: compile(&patterns.excluded) };
        }
        let excluded = match conversion.exclude_service_attributes {
            true => SERVICE_ATTRIBUTES.map(Wildcard::new).into(),
            false => Vec::new(),
        };
        Self { included: if conversion.enabled { all() } else { Vec::new() }, excluded }
    }

    /// Whether no attribute becomes a label.
    pub(crate) fn is_empty(&self) -> bool {
        self.included.is_empty()
    }

    /// Whether the attribute under `key` becomes a label.
    pub(crate) fn takes(&self, key: &str) -> bool {
        let listed = |patterns: &[Wildcard]| patterns.iter().any(|pattern| pattern.matches(key));
        listed(&self.included) && !listed(&self.excluded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attributes: &ResourceAttributes, taken: &[&str]) {
        let keys = [
            "service.name",
            "service.namespace",
            "service.instance.id",
            "k8s.pod.name",
            "k8s.pod.uid",
        ];
        let found: Vec<_> = keys.into_iter().filter(|key| attributes.takes(key)).collect();
        assert_eq!(found, taken);
        if !taken.is_empty() {
            assert!(!attributes.is_empty());
        }
    }

    fn matching(included: &[&str], excluded: &[&str]) -> ResourceAttributes {
        let own = |patterns: &[&str]| patterns.iter().map(|text| (*text).to_owned()).collect();
        let patterns = ResourceLabelsConfig { included: own(included), excluded: own(excluded) };
        let conversion = ResourceConversionConfig { enabled: true, ..Default::default() };
        ResourceAttributes::new(&conversion, &patterns)
    }

    #[test]
    fn patterns_say_what_becomes_a_label_and_exclusion_wins() {
        check(&matching(&["service*"], &["*.id"]), &["service.name", "service.namespace"]);
        check(&matching(&["k8s.pod.???"], &[]), &["k8s.pod.uid"]);
        check(&matching(&[], &["service.*"]), &["k8s.pod.name", "k8s.pod.uid"]);
        check(&matching(&["none"], &[]), &[]);
    }

    #[test]
    fn the_conversion_takes_all_or_all_but_the_service() {
        let convert = |enabled, exclude_service_attributes| {
            let conversion = ResourceConversionConfig { enabled, exclude_service_attributes };
            ResourceAttributes::new(&conversion, &ResourceLabelsConfig::default())
        };
        check(&convert(true, true), &["k8s.pod.name", "k8s.pod.uid"]);
        assert!(convert(true, false).takes("service.name"));
        assert!(convert(false, true).is_empty());
    }
}
