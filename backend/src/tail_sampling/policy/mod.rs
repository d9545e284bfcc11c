//! Policies: the ways to decide about a trace.
//!
//! A policy looks at each span once, when it arrives, and leaves marks on the trace. When the
//! trace is due it decides from its marks and the trace's summary, never from the spans. So a
//! trace that is dropped costs almost nothing, and its bytes need not be read again.
//!
//! To add one, write a file like `status_code.rs` and a line in [`POLICIES`]; CONTRIBUTING.md shows
//! it step by step. A combination of policies is a [`Rule`] of its own: see `and.rs`.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use shared::config::{Decode, Fields, Path, Problems};
use shared::wire::Resource;

use super::trace::Summary;

mod lint;
mod marks;
mod notes;
mod parts;
mod registry;
mod sight;
mod stock;
mod terms;
mod token_bucket;
mod vote;

mod field;
mod fingerprint;
mod randomness;

mod adaptive;
mod ema_dynamic;
mod ema_throughput;
mod windowed_throughput;

mod attribute;

mod always_sample;
mod boolean_attribute;
mod latency;
mod numeric_attribute;
mod ottl_condition;
mod probabilistic;
mod span_count;
mod status_code;
mod string_attribute;
mod trace_flags;
mod trace_state;

mod bytes_limiting;
mod rate_limiting;

mod and;
mod composite;
mod drop;
mod not;
mod rules;

#[cfg(test)]
mod example;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod practical_example;
#[cfg(test)]
pub(super) mod testing;

pub(super) use adaptive::DESCRIPTORS as ADAPTIVE_DESCRIPTORS;
pub(super) use lint::{Asked, lint};
pub(super) use marks::{Marks, Place, Seen};
pub(super) use notes::Notes;
pub(super) use registry::NamedPolicy;
pub(super) use sight::{KeyId, KeySet, Keys, ReadSpan, Sight};
pub(super) use stock::Stock;
pub(super) use terms::Seconds;
pub(super) use terms::{Compat, Terms};
pub(super) use vote::{Ballot, Decision, Failed, Names, RuleId, Threshold, Vote};

use parts::Shape;
use registry::PolicyType;

/// Every type of policy. A new one is one line.
const POLICIES: &[PolicyType] = &[
    PolicyType::of::<always_sample::AlwaysSampleConfig>(),
    PolicyType::of::<and::AndConfig>(),
    PolicyType::of::<boolean_attribute::BooleanAttributeConfig>(),
    PolicyType::of::<bytes_limiting::BytesLimitingConfig>(),
    PolicyType::of::<composite::CompositeConfig>(),
    PolicyType::of::<drop::DropConfig>(),
    PolicyType::of::<ema_dynamic::EmaDynamicConfig>(),
    PolicyType::of::<ema_throughput::EmaThroughputConfig>(),
    PolicyType::of::<latency::LatencyConfig>(),
    PolicyType::of::<not::NotConfig>(),
    PolicyType::of::<numeric_attribute::NumericAttributeConfig>(),
    PolicyType::of::<ottl_condition::OttlConditionConfig>(),
    PolicyType::of::<probabilistic::ProbabilisticConfig>(),
    PolicyType::of::<rate_limiting::RateLimitingConfig>(),
    PolicyType::of::<rules::RulesConfig>(),
    PolicyType::of::<span_count::SpanCountConfig>(),
    PolicyType::of::<status_code::StatusCodeConfig>(),
    PolicyType::of::<string_attribute::StringAttributeConfig>(),
    PolicyType::of::<trace_flags::TraceFlagsConfig>(),
    PolicyType::of::<trace_state::TraceStateConfig>(),
    PolicyType::of::<windowed_throughput::WindowedThroughputConfig>(),
    #[cfg(test)]
    PolicyType::of::<example::SpanNameConfig>(),
];

/// One way to decide. It serves all shards at once, so any state is atomic or under a lock that is
/// held shortly.
pub(super) trait Policy: Send + Sync {
    /// How many marks it leaves. Without any it is shown no spans.
    fn marks(&self) -> u8 {
        0
    }

    /// The marks of which any one tells it all it wants to know: it is shown no more spans then.
    fn sated_by(&self) -> Marks {
        Marks::SEEN
    }

    /// The keys of attributes without which a span has nothing that it would mark, be it only one of
    /// them that is missing: it is not shown such spans.
    fn needs(&self) -> KeySet {
        KeySet::NONE
    }

    /// Sees a span on arrival and leaves marks.
    fn observe(&self, _sight: &Sight<'_>) -> Marks {
        Marks::NONE
    }

    /// Sees each resource once; the marks are left on every trace with a span under it.
    fn observe_resource(&self, _resource: Resource<'_>) -> Marks {
        Marks::NONE
    }

    /// Whether it writes [`Notes`] about traces.
    fn takes_notes(&self) -> bool {
        false
    }

    /// Sees a span on arrival and writes about it. Not asked unless it [takes
    /// notes](Policy::takes_notes).
    fn note(&self, _sight: &Sight<'_>, _notes: &mut Notes) {}

    /// Sees the resource of the spans that follow, as often as it is another one within a trace, and
    /// writes about it. Not asked unless it [takes notes](Policy::takes_notes).
    fn note_resource(&self, _resource: Resource<'_>, _notes: &mut Notes) {}

    /// Decides. What the policy has a limited amount of, this takes.
    ///
    /// # Errors
    /// When it cannot tell: the trace is then judged without it.
    fn evaluate(&self, marks: Marks, case: &Case<'_>) -> Ballot;

    /// What [`Policy::evaluate`] would say now; takes nothing and counts nothing.
    ///
    /// # Errors
    /// As that.
    fn peek(&self, marks: Marks, case: &Case<'_>) -> Ballot {
        self.evaluate(marks, case)
    }

    /// What [`Policy::evaluate`] is bound to decide, whatever spans may still arrive and whenever it
    /// is asked; nothing while that is open, and always nothing when a limit has a say.
    fn foregone(&self, _marks: Marks, _case: &Case<'_>) -> Option<Decision> {
        None
    }

    /// Whether asking it takes nothing, counts nothing and cannot fail, so that it may as well not
    /// be asked.
    fn is_pure(&self) -> bool {
        true
    }
}

/// All that policies may decide from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    /// The marks of all policies.
    pub(super) seen: Seen,
    /// What is known of the trace.
    pub(super) summary: &'a Summary,
    /// What policies wrote about it.
    pub(super) notes: &'a Notes,
    /// The time.
    pub(super) now: Instant,
}

/// A policy or a combination of policies, as it is asked about a trace.
pub(super) trait Rule: Send + Sync {
    /// Decides; see [`Policy::evaluate`].
    ///
    /// # Errors
    /// As that.
    fn evaluate(&self, case: &Case<'_>) -> Ballot;

    /// See [`Policy::peek`].
    ///
    /// # Errors
    /// As that.
    fn peek(&self, case: &Case<'_>) -> Ballot;

    /// See [`Policy::foregone`].
    fn foregone(&self, case: &Case<'_>) -> Option<Decision>;

    /// See [`Policy::is_pure`].
    fn is_pure(&self) -> bool;

    /// The rules that this one asks, in order.
    fn branches(&self) -> &[Branch] {
        &[]
    }
}

/// A rule with its number.
pub(super) struct Branch {
    /// Names it.
    pub(super) id: RuleId,
    /// The rule.
    pub(super) rule: Box<dyn Rule>,
}

/// Gives policies their marks, keys and numbers.
pub(super) struct Builder<'a> {
    watchers: Vec<Watcher>,
    note_takers: Vec<Arc<dyn Policy>>,
    keys: Keys,
    marks: usize,
    note_fields: u16,
    names: &'a mut Names,
    terms: Terms,
    /// Path of the policy that is being built.
    path: Vec<String>,
    /// What the policies that were in force have left, and what these have.
    left: Stock,
    stock: Stock,
}

/// A policy that looks at spans.
pub(super) struct Watcher {
    /// The policy.
    pub(super) policy: Arc<dyn Policy>,
    /// Its marks.
    pub(super) place: Place,
    /// The marks after which it is shown no more.
    pub(super) sated_by: Marks,
    /// The keys without which it is shown no span.
    pub(super) needs: KeySet,
}

/// What policies need when spans arrive.
pub(super) struct Watch {
    /// Policies with marks.
    pub(super) watchers: Vec<Watcher>,
    /// Policies that write notes.
    pub(super) note_takers: Vec<Arc<dyn Policy>>,
    /// The keys they look for.
    pub(super) keys: Keys,
    /// What they will find again after a change.
    pub(super) stock: Stock,
}

impl<'a> Builder<'a> {
    /// Numbers come from `names`.
    pub(super) fn new(names: &'a mut Names, terms: Terms) -> Self {
        Self {
            watchers: Vec::new(),
            note_takers: Vec::new(),
            keys: Keys::default(),
            marks: 0,
            note_fields: 0,
            names,
            terms,
            path: Vec::new(),
            left: Stock::default(),
            stock: Stock::default(),
        }
    }

    /// Policies find what those that were in force have left.
    pub(super) fn after(mut self, left: Stock) -> Self {
        self.left = left;
        self
    }

    /// What the policy that is being built had before a change of the configuration, if it stood here
    /// with the same `settings`; else what `make` makes.
    pub(super) fn kept<T: Any + Send + Sync>(
        &mut self,
        settings: &dyn fmt::Debug,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        self.stock.keep(&self.path.join("/"), settings, &self.left, make)
    }

    /// On what terms the policies decide.
    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The number of an attribute's key, for [`Sight::attribute`].
    pub(super) fn key(&mut self, key: impl AsRef<[u8]>) -> KeyId {
        self.keys.intern(key.as_ref())
    }

    /// A number for something that a policy writes [`Notes`] about.
    pub(super) fn note_field(&mut self) -> u16 {
        self.note_fields += 1;
        self.note_fields
    }

    /// The rule that asks one policy.
    ///
    /// # Panics
    /// When all policies together leave more than [`Seen::MAX`] marks; the configuration is checked
    /// for that before.
    pub(super) fn policy(&mut self, policy: impl Policy + 'static) -> Box<dyn Rule> {
        let policy: Arc<dyn Policy> = Arc::new(policy);
        let count = policy.marks();
        let place = Place::new(self.marks, count);
        self.marks += usize::from(count);
        if count > 0 {
            let (sated_by, needs) = (policy.sated_by(), policy.needs());
            self.watchers.push(Watcher { policy: Arc::clone(&policy), place, sated_by, needs });
        }
        if policy.takes_notes() {
            self.note_takers.push(Arc::clone(&policy));
        }
        Box::new(Single { policy, place })
    }

    /// How metrics name the policy that is being built.
    pub(super) fn label(&self) -> String {
        self.names.label(&self.path.join("/"))
    }

    /// What `build` makes, as the policy `name` under the one that is being built.
    pub(super) fn branch(
        &mut self,
        name: &str,
        build: impl FnOnce(&mut Self) -> Box<dyn Rule>,
    ) -> Branch {
        self.path.push(name.to_owned());
        let id = self.names.intern(&self.path);
        let rule = build(self);
        self.path.pop();
        Branch { id, rule }
    }

    /// What is needed when spans arrive.
    pub(super) fn finish(self) -> Watch {
        let Self { watchers, note_takers, keys, stock, .. } = self;
        Watch { watchers, note_takers, keys, stock }
    }
}

struct Single {
    policy: Arc<dyn Policy>,
    place: Place,
}

impl Rule for Single {
    fn evaluate(&self, case: &Case<'_>) -> Ballot {
        self.policy.evaluate(case.seen.get(self.place), case)
    }

    fn peek(&self, case: &Case<'_>) -> Ballot {
        self.policy.peek(case.seen.get(self.place), case)
    }

    fn foregone(&self, case: &Case<'_>) -> Option<Decision> {
        self.policy.foregone(case.seen.get(self.place), case)
    }

    fn is_pure(&self) -> bool {
        self.policy.is_pure()
    }
}

/// The section of a policy type: the block that is named as the type.
pub(super) trait PolicyConfig: Decode + Fields + fmt::Debug + Send + Sync + 'static {
    /// Type as configured.
    const TYPE: &'static str;
    /// What it may stand in, and what in it. One that drops is asked first.
    const SHAPE: Shape = Shape::Simple;

    /// Whether this one drops traces: by its type, or by how it is configured.
    fn drops(&self) -> bool {
        Self::SHAPE == Shape::Drop
    }

    /// Reports everything that is wrong.
    fn validate(&self, _at: &Path<'_>, _problems: &mut Problems) {}

    /// Its sub-policies.
    fn parts(&self) -> &[NamedPolicy] {
        &[]
    }

    /// How many marks its policies leave.
    fn marks(&self) -> usize {
        self.parts().iter().map(NamedPolicy::marks).sum()
    }

    /// Whether it plainly keeps every trace; for warnings only.
    fn keeps_everything(&self) -> bool {
        false
    }

    /// Whether it has a limited amount to give.
    fn has_budget(&self) -> bool {
        self.parts().iter().any(NamedPolicy::has_budget)
    }

    /// Whether what it says of a part of a trace may not hold for the whole. Which these are is as
    /// in the Collector: a `composite` is not, for its own limit.
    fn is_stateful(&self) -> bool {
        self.parts().iter().any(NamedPolicy::is_stateful)
    }

    /// Whether it has limits of which this backend takes its part of the tier's.
    fn shares_tier(&self) -> bool {
        self.parts().iter().any(NamedPolicy::shares_tier)
    }

    /// Makes the rule. Only called when nothing was reported.
    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule>;
}
