//! Policies that test one attribute, on a span or on a resource.

use shared::wire::{AnyValue, Resource};

use super::{Ballot, Builder, Case, Decision, KeyId, KeySet, Marks, Policy, Rule, Sight, Vote};

/// The rule that keeps traces with a value of `key` that `holds`; with `inverted` those without.
pub(super) fn rule(
    key: &str,
    inverted: bool,
    holds: impl Fn(AnyValue<'_>) -> bool + Send + Sync + 'static,
    builder: &mut Builder<'_>,
) -> Box<dyn Rule> {
    let id = builder.key(key);
    builder.policy(AttributeTest { key: key.as_bytes().into(), id, inverted, holds })
}

struct AttributeTest<F> {
    key: Box<[u8]>,
    id: KeyId,
    inverted: bool,
    holds: F,
}

impl<F: Fn(AnyValue<'_>) -> bool> AttributeTest<F> {
    fn look(&self, value: Option<AnyValue<'_>>) -> Marks {
        Marks::seen_if(value.is_some_and(&self.holds))
    }
}

impl<F: Fn(AnyValue<'_>) -> bool + Send + Sync> Policy for AttributeTest<F> {
    fn marks(&self) -> u8 {
        1
    }

    fn needs(&self) -> KeySet {
        KeySet::of(self.id)
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
