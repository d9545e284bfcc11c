//! Policies: the ways to decide about a trace.
//!
//! A policy looks at each span once, when it arrives, and leaves a bit on the trace. When the
//! trace is due it decides from that bit and the trace's summary, never from the spans. So a
//! trace that is dropped costs almost nothing, and its bytes need not be read again.
//!
//! To add one, write a file like `status_code.rs` and a line in [`POLICIES`]. A combination of
//! policies is a [`Rule`] of its own: see `and.rs`.

use std::fmt;
use std::sync::Arc;

use shared::config::{Data, Decode, Node, Path, Problems, expected, nearest};
use shared::wire::{Resource, Span};

use super::trace::Summary;

mod always_sample;
mod and;
mod latency;
mod probabilistic;
mod status_code;
mod string_attribute;
#[cfg(test)]
pub(super) mod testing;

/// Every type of policy. A new one is one line.
const POLICIES: &[PolicyType] = &[
    PolicyType::of::<always_sample::AlwaysSampleConfig>(),
    PolicyType::of::<and::AndConfig>(),
    PolicyType::of::<latency::LatencyConfig>(),
    PolicyType::of::<probabilistic::ProbabilisticConfig>(),
    PolicyType::of::<status_code::StatusCodeConfig>(),
    PolicyType::of::<string_attribute::StringAttributeConfig>(),
];

/// What is decided about a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is kept.
    Sampled,
    /// It is not.
    NotSampled,
}

impl Decision {
    /// Sampled if `yes`.
    pub(super) fn sampled_if(yes: bool) -> Self {
        match yes {
            true => Decision::Sampled,
            false => Decision::NotSampled,
        }
    }
}

/// One way to decide. It serves all shards at once, so any state is atomic.
pub(super) trait Policy: Send + Sync {
    /// Whether the policy looks at spans or resources, and so needs a bit.
    fn observes(&self) -> bool {
        false
    }

    /// Sees each span on arrival, until it once said true, which leaves the policy's bit.
    fn observe(&self, _span: &Span<'_>, _resource: Resource<'_>) -> bool {
        false
    }

    /// Sees each resource once; true leaves the bit on every trace with a span under it.
    fn observe_resource(&self, _resource: Resource<'_>) -> bool {
        false
    }

    /// Decides from the bit and the summary.
    fn evaluate(&self, observed: bool, trace: &Summary) -> Decision;
}

/// A policy or a combination of policies, as it is asked about a trace.
pub(super) trait Rule: Send + Sync {
    /// Decides from the bits of all policies and the summary.
    fn evaluate(&self, seen: Seen, trace: &Summary) -> Decision;
}

/// The bits that policies left on a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen(u128);

impl Seen {
    /// How many policies can have a bit.
    pub(super) const MAX: usize = u128::BITS as usize;

    /// Whether the bit `bit` is set.
    #[inline]
    pub(super) fn has(self, bit: u8) -> bool {
        self.0 >> bit & 1 != 0
    }

    /// The same with the bit `bit` set.
    #[inline]
    pub(super) fn with(self, bit: u8) -> Self {
        Self(self.0 | 1 << bit)
    }

    /// The bits of both.
    #[inline]
    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Gives policies their bits.
#[derive(Default)]
pub(super) struct Builder {
    observers: Vec<Arc<dyn Policy>>,
}

impl Builder {
    /// The rule that asks one policy.
    ///
    /// # Panics
    /// When there are more than [`Seen::MAX`] policies that look at spans; the configuration is
    /// checked for that before.
    pub(super) fn policy(&mut self, policy: impl Policy + 'static) -> Box<dyn Rule> {
        let policy: Arc<dyn Policy> = Arc::new(policy);
        let bit = policy.observes().then(|| {
            assert!(self.observers.len() < Seen::MAX, "validate counts the policies");
            self.observers.push(Arc::clone(&policy));
            u8::try_from(self.observers.len() - 1).expect("there are at most 128")
        });
        Box::new(Single { policy, bit })
    }

    /// The policies that look at spans; the place of each is its bit.
    pub(super) fn observers(self) -> Vec<Arc<dyn Policy>> {
        self.observers
    }
}

struct Single {
    policy: Arc<dyn Policy>,
    bit: Option<u8>,
}

impl Rule for Single {
    fn evaluate(&self, seen: Seen, trace: &Summary) -> Decision {
        self.policy.evaluate(self.bit.is_some_and(|bit| seen.has(bit)), trace)
    }
}

/// The section of a policy type: the block that is named as the type.
pub(super) trait PolicyConfig:
    Decode + Default + fmt::Debug + Send + Sync + 'static
{
    /// Type as configured.
    const TYPE: &'static str;

    /// Reports everything that is wrong.
    fn validate(&self, _at: &Path<'_>, _problems: &mut Problems) {}

    /// How many bits it takes.
    fn bits(&self) -> usize;

    /// Makes the rule. Only called when nothing was reported.
    fn build(&self, builder: &mut Builder) -> Box<dyn Rule>;
}

/// A [`PolicyConfig`] of any type.
trait AnyPolicyConfig: fmt::Debug + Send + Sync {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems);
    fn bits(&self) -> usize;
    fn build(&self, builder: &mut Builder) -> Box<dyn Rule>;
}

impl<C: PolicyConfig> AnyPolicyConfig for C {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        PolicyConfig::validate(self, at, problems);
    }
    fn bits(&self) -> usize {
        PolicyConfig::bits(self)
    }
    fn build(&self, builder: &mut Builder) -> Box<dyn Rule> {
        PolicyConfig::build(self, builder)
    }
}

/// A line of [`POLICIES`].
struct PolicyType {
    name: &'static str,
    decode: fn(&Node, &Path<'_>, &mut Problems) -> Option<Arc<dyn AnyPolicyConfig>>,
}

impl PolicyType {
    const fn of<C: PolicyConfig>() -> Self {
        Self {
            name: C::TYPE,
            decode: |node, at, problems| {
                let config = match node.is_null() {
                    true => C::default(),
                    false => C::decode(node, at, problems)?,
                };
                Some(Arc::new(config))
            },
        }
    }

    fn find(name: &str) -> Option<&'static PolicyType> {
        POLICIES.iter().find(|policy| policy.name == name)
    }
}

/// An entry of `policies`: a name, a type, and a block named as the type.
#[derive(Debug, Clone)]
pub(super) struct NamedPolicy {
    /// The name, for metrics; sub-policies need none.
    pub(super) name: String,
    type_name: &'static str,
    config: Arc<dyn AnyPolicyConfig>,
}

impl NamedPolicy {
    /// Reports everything that is wrong with the policy's own block.
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.config.validate(&at.key(self.type_name), problems);
    }

    /// How many bits it takes.
    pub(super) fn bits(&self) -> usize {
        self.config.bits()
    }

    /// Makes the rule.
    pub(super) fn build(&self, builder: &mut Builder) -> Box<dyn Rule> {
        self.config.build(builder)
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
        let policy = decode_type(node, at, problems)?;
        let block = node.get(policy.name).cloned().unwrap_or_else(|| Node::new(Data::Null));
        let before = problems.errors().len();
        report_other_keys(node, policy.name, at, problems);
        let config = (policy.decode)(&block, &at.key(policy.name), problems)?;
        let type_name = policy.name;
        (problems.errors().len() == before).then_some(Self { name, type_name, config })
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
fn report_other_keys(node: &Node, type_name: &str, at: &Path<'_>, problems: &mut Problems) {
    let keys = ["name", "type", type_name];
    for entry in node.entries().iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
        let message = match (PolicyType::find(&entry.key), nearest(&entry.key, keys)) {
            (Some(_), _) => format!("belongs to another policy type; type is \"{type_name}\""),
            (None, Some(near)) => format!("unknown key, did you mean \"{near}\"?"),
            (None, None) => format!("unknown key (valid keys: {})", keys.join(", ")),
        };
        problems.report(&at.key(&entry.key), message);
    }
}

#[cfg(test)]
mod tests {
    use super::testing::problems;

    #[test]
    fn an_unknown_type_names_the_known_ones() {
        assert_eq!(
            problems("{name: a, type: latencies}"),
            "policies::0::type: unknown policy type \"latencies\", did you mean \"latency\"? \
             (known policy types: always_sample, and, latency, probabilistic, status_code, \
             string_attribute)"
        );
        assert!(problems("{name: a}").starts_with("policies::0: type must be set"));
    }

    #[test]
    fn only_the_block_of_the_type_is_allowed() {
        assert_eq!(
            problems("{name: a, type: always_sample, latency: {threshold_ms: 5}, nmae: b}"),
            "policies::0::latency: belongs to another policy type; type is \"always_sample\"\n\
             policies::0::nmae: unknown key, did you mean \"name\"?"
        );
        assert_eq!(
            problems("{name: a, type: latency, latency: {threshold: 5}}"),
            "policies::0::latency::threshold: unknown key, did you mean \"threshold_ms\"?"
        );
    }
}
