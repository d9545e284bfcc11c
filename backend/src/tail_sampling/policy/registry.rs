//! Policies as they are configured: an entry names a type and has a block named as it.

use std::fmt;
use std::sync::Arc;

use shared::config::{Data, Decode, Node, Path, Problems, expected, nearest};

use super::parts::Shape;
use super::{Branch, Builder, POLICIES, PolicyConfig, Rule};

/// A [`PolicyConfig`] of any type.
trait AnyPolicyConfig: fmt::Debug + Send + Sync {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems);
    fn shape(&self) -> Shape;
    fn drops(&self) -> bool;
    fn marks(&self) -> usize;
    fn keeps_everything(&self) -> bool;
    fn has_budget(&self) -> bool;
    fn is_stateful(&self) -> bool;
    fn shares_tier(&self) -> bool;
    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule>;
}

impl<C: PolicyConfig> AnyPolicyConfig for C {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        PolicyConfig::validate(self, at, problems);
    }
    fn shape(&self) -> Shape {
        C::SHAPE
    }
    fn drops(&self) -> bool {
        PolicyConfig::drops(self)
    }
    fn marks(&self) -> usize {
        PolicyConfig::marks(self)
    }
    fn keeps_everything(&self) -> bool {
        PolicyConfig::keeps_everything(self)
    }
    fn has_budget(&self) -> bool {
        PolicyConfig::has_budget(self)
    }

    fn is_stateful(&self) -> bool {
        PolicyConfig::is_stateful(self)
    }
    fn shares_tier(&self) -> bool {
        PolicyConfig::shares_tier(self)
    }
    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        PolicyConfig::build(self, builder)
    }
}

/// A line of [`POLICIES`].
pub(super) struct PolicyType {
    name: &'static str,
    decode: fn(&Node, &Path<'_>, &mut Problems) -> Option<Arc<dyn AnyPolicyConfig>>,
    keys: fn(&mut Vec<&'static str>),
}

impl PolicyType {
    pub(super) const fn of<C: PolicyConfig>() -> Self {
        Self {
            name: C::TYPE,
            decode: |node, at, problems| {
                let config = match node.is_null() {
                    true => C::default(),
                    false => C::decode(node, at, problems)?,
                };
                Some(Arc::new(config))
            },
            keys: C::keys,
        }
    }

    fn find(name: &str) -> Option<&'static PolicyType> {
        POLICIES.iter().find(|policy| policy.name == name)
    }
}

/// An entry of `policies`: a name, a type, and a block named as the type.
#[derive(Debug, Clone)]
pub(in crate::tail_sampling) struct NamedPolicy {
    /// The name, for metrics; sub-policies need none.
    pub(in crate::tail_sampling) name: String,
    /// Ours: whether its votes are counted and change nothing. Only for whole policies.
    pub(in crate::tail_sampling) dry_run: bool,
    type_name: &'static str,
    config: Arc<dyn AnyPolicyConfig>,
}

impl NamedPolicy {
    /// Reports everything that is wrong with the policy's own block.
    pub(in crate::tail_sampling) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.config.validate(&at.key(self.type_name), problems);
    }

    /// Reports everything that is wrong with it as a part of another policy.
    pub(super) fn validate_part(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.dry_run {
            problems.report(&at.key("dry_run"), "is only for whole policies, not for their parts");
        }
        self.validate(at, problems);
    }

    /// How many marks it and its sub-policies leave.
    pub(in crate::tail_sampling) fn marks(&self) -> usize {
        self.config.marks()
    }

    /// Whether it is asked before those that keep.
    pub(in crate::tail_sampling) fn drops(&self) -> bool {
        self.config.drops()
    }

    /// What it may stand in.
    pub(super) fn shape(&self) -> Shape {
        self.config.shape()
    }

    /// Whether it plainly keeps every trace.
    pub(in crate::tail_sampling) fn keeps_everything(&self) -> bool {
        self.config.keeps_everything()
    }

    /// Whether it has a limited amount to give.
    pub(in crate::tail_sampling) fn has_budget(&self) -> bool {
        self.config.has_budget()
    }

    /// Whether what it says of a part of a trace may not hold for the whole.
    pub(in crate::tail_sampling) fn is_stateful(&self) -> bool {
        self.config.is_stateful()
    }

    /// Whether it has limits of which this backend takes its part of the tier's.
    pub(in crate::tail_sampling) fn shares_tier(&self) -> bool {
        self.config.shares_tier()
    }

    /// Its type.
    pub(in crate::tail_sampling) fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// Its name, or its type if it has none.
    pub(in crate::tail_sampling) fn title(&self) -> &str {
        match self.name.as_str() {
            "" => self.type_name,
            name => name,
        }
    }

    /// Makes the rule.
    pub(in crate::tail_sampling) fn build(&self, builder: &mut Builder<'_>) -> Branch {
        builder.branch(self.title(), |builder| self.config.build(builder))
    }
}

impl Decode for NamedPolicy {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.data, Data::Map(_)) {
            return expected("a map with name and type", node, at, problems);
        }
        let name = match node.get("name") {
            Some(name) if !name.is_null() => String::decode(name, &at.key("name"), problems)?,
            _ => String::new(),
        };
        let dry_run = match node.get("dry_run") {
            Some(dry_run) if !dry_run.is_null() => {
                bool::decode(dry_run, &at.key("dry_run"), problems)?
            }
            _ => false,
        };
        let policy = decode_type(node, at, problems)?;
        let block = node.get(policy.name).cloned().unwrap_or_else(|| Node::new(Data::Null));
        let before = problems.errors().len();
        report_other_keys(node, policy, at, problems);
        let config = (policy.decode)(&block, &at.key(policy.name), problems)?;
        let type_name = policy.name;
        (problems.errors().len() == before).then_some(Self { name, dry_run, type_name, config })
    }
}

fn decode_type(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<&'static PolicyType> {
    let names = || POLICIES.iter().map(|policy| policy.name);
    let known = || names().collect::<Vec<_>>().join(", ");
    let Some(type_node) = node.get("type").filter(|node| !node.is_null()) else {
        problems.report(at, format!("type must be set (known policy types: {})", known()));
        return None;
    };
    let at = at.key("type");
    let name = String::decode(type_node, &at, problems)?;
    if let Some(policy) = PolicyType::find(&name) {
        return Some(policy);
    }
    let hint = match nearest(&name, names()) {
        Some(near) => format!(", did you mean \"{near}\"?"),
        None => String::new(),
    };
    let message = format!("unknown policy type \"{name}\"{hint} (known policy types: {})", known());
    problems.report(&at, message);
    None
}

/// Reports the keys of an entry that do not belong to its type.
fn report_other_keys(node: &Node, policy: &PolicyType, at: &Path<'_>, problems: &mut Problems) {
    let keys = ["name", "type", policy.name, "dry_run"];
    for entry in node.entries().iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
        let message = match (PolicyType::find(&entry.key), nearest(&entry.key, keys)) {
            (Some(other), _) => stray_block(node, &entry.value, other, policy),
            (None, Some(near)) => format!("unknown key, did you mean \"{near}\"?"),
            (None, None) => format!("unknown key (valid keys: {})", keys.join(", ")),
        };
        problems.report(&at.key(&entry.key), message);
    }
}

/// What to do about the block of another type: its keys tell whether the block has the wrong name
/// or the entry the wrong type.
fn stray_block(entry: &Node, block: &Node, named: &PolicyType, policy: &PolicyType) -> String {
    let type_name = policy.name;
    let fits = |policy: &PolicyType| {
        let mut known = Vec::new();
        (policy.keys)(&mut known);
        block.entries().iter().all(|entry| known.contains(&entry.key.as_str()))
    };
    let blame = format!("is the block of another policy type; type is \"{type_name}\"");
    match (entry.get(type_name).is_some(), fits(policy), fits(named)) {
        (true, ..) => format!("{blame}, whose block is there too"),
        (false, true, false) => format!("{blame}: call the block {type_name}, whose keys it has"),
        (false, false, true) => format!("{blame}: set type to \"{}\", or rewrite it", named.name),
        (false, ..) => {
            format!("{blame}: call the block {type_name}, or set type to \"{}\"", named.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::problems;
    use super::*;

    #[test]
    fn an_unknown_type_names_the_known_ones() {
        assert_eq!(
            problems("{name: a, type: latencies}"),
            format!(
                "policies::0::type: unknown policy type \"latencies\", did you mean \"latency\"? \
                 (known policy types: {})",
                POLICIES.iter().map(|policy| policy.name).collect::<Vec<_>>().join(", ")
            )
        );
        assert!(problems("{name: a}").starts_with("policies::0: type must be set"));
    }

    #[test]
    fn the_guide_shows_a_policy_that_works() {
        let guide = include_str!("../../../../CONTRIBUTING.md");
        let file = include_str!("example.rs");
        assert!(guide.contains(&format!("```rust\n{file}```\n")), "copy example.rs into the guide");
    }

    #[test]
    fn only_the_block_of_the_type_is_allowed() {
        assert_eq!(
            problems("{name: a, type: always_sample, latency: {threshold_ms: 5}, nmae: b}"),
            "policies::0::latency: is the block of another policy type; type is \
             \"always_sample\": set type to \"latency\", or rewrite it\n\
             policies::0::nmae: unknown key, did you mean \"name\"?"
        );
        assert_eq!(
            problems("{name: a, type: latency, latency: {threshold: 5}}"),
            "policies::0::latency::threshold: unknown key, did you mean \"threshold_ms\"?"
        );
    }

    #[test]
    fn only_whole_policies_run_dry() {
        assert_eq!(problems("{name: a, dry_run: true, type: always_sample}"), "");
        assert_eq!(
            problems("{name: a, dry_run: 7, type: always_sample}"),
            "policies::0::dry_run: expected true or false, got an integer \"7\""
        );
        assert_eq!(
            problems(
                "{name: a, type: and, and: {and_sub_policy: \
                 [{type: always_sample, dry_run: true}]}}"
            ),
            "policies::0::and::and_sub_policy::0::dry_run: is only for whole policies, not for \
             their parts"
        );
    }

    #[test]
    fn a_block_that_only_has_the_wrong_name_is_told_the_right_one() {
        assert_eq!(
            problems("{name: a, type: boolean_attribute, string_attribute: {key: k, value: true}}"),
            "policies::0::string_attribute: is the block of another policy type; type is \
             \"boolean_attribute\": call the block boolean_attribute, whose keys it has"
        );
        assert_eq!(
            problems("{name: a, type: boolean_attribute, string_attribute: {key: k}}"),
            "policies::0::string_attribute: is the block of another policy type; type is \
             \"boolean_attribute\": call the block boolean_attribute, or set type to \
             \"string_attribute\""
        );
        assert_eq!(
            problems("{name: a, type: latency, latency: {}, trace_flags: {}}"),
            "policies::0::trace_flags: is the block of another policy type; type is \"latency\", \
             whose block is there too"
        );
    }
}
