//! `rules`: asks a list of rules, of which the first whose conditions hold decides.
//!
//! Each rule says what becomes of its traces: they are dropped, a share of them is kept, or another
//! policy decides. As the only policy this is Refinery's rules-based sampler. Beside others it votes
//! like any of them; it is asked before them if a rule of it drops, since that overrules them.
//!
//! Source: honeycombio/refinery sample/rules.go; contrib adaptivetailsamplingprocessor/rules.go.

use std::sync::Arc;

use shared::config::{Path, Problems};
use shared::{config_enum, config_struct};

use super::parts::{Shape, validate_part};
use super::randomness::share;
use super::{
    Ballot, Branch, Builder, Case, Decision, Failed, NamedPolicy, PolicyConfig, Rule, Vote,
};
use condition::{ConditionConfig, Scope};

mod condition;

mod test;
mod value;

config_struct! {
    /// `rules`.
    pub(super) struct RulesConfig {
        /// The rules, in the order in which they are asked.
        pub rules: Vec<RuleConfig> = Vec::new(),
        /// What becomes of traces for which the conditions of no rule hold.
        pub default: Otherwise = Otherwise::Keep,
    }
}

config_enum! {
    /// What becomes of the other traces.
    pub(super) enum Otherwise {
        /// They are kept, as in Refinery.
        Keep = "keep",
        /// They are dropped, whatever other policies say.
        Drop = "drop",
        /// They are left to other policies.
        Pass = "pass",
    }
}

config_struct! {
    /// A rule. One of `drop`, `sample_rate`, `sampling_percentage` and `sampler` says what becomes
    /// of its traces.
    pub(super) struct RuleConfig {
        /// Its name, for metrics.
        pub name: String = String::new(),
        /// Whom the conditions are about.
        pub scope: Scope = Scope::Trace,
        /// What must hold, all of it; with none it always does.
        pub conditions: Vec<ConditionConfig> = Vec::new(),
        /// They are dropped, whatever other policies say.
        pub drop: bool = false,
        /// One of so many is kept.
        pub sample_rate: Option<f64> = None,
        /// So many of a hundred are kept.
        pub sampling_percentage: Option<f64> = None,
        /// A policy that decides.
        pub sampler: Option<NamedPolicy> = None,
    }
}

impl RuleConfig {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        for (index, condition) in self.conditions.iter().enumerate() {
            condition.validate(&at.key("conditions").index(index), problems);
        }
        let outcomes = [
            self.drop,
            self.sample_rate.is_some(),
            self.sampling_percentage.is_some(),
            self.sampler.is_some(),
        ];
        if outcomes.into_iter().filter(|is_set| *is_set).count() != 1 {
            let message =
                "must have exactly one of drop, sample_rate, sampling_percentage and sampler";
            problems.report(at, message);
        }
        if self.sample_rate.is_some_and(|rate| rate.is_nan() || rate < 1.0) {
            problems.report(&at.key("sample_rate"), "must be 1 or more");
        }
        if self.sampling_percentage.is_some_and(|share| !(0.0..=100.0).contains(&share)) {
            problems.report(&at.key("sampling_percentage"), "must be between 0 and 100");
        }
        if let Some(sampler) = &self.sampler {
            let at = at.key("sampler");
            validate_part((RulesConfig::TYPE, RulesConfig::SHAPE), sampler, &at, problems);
        }
    }

    fn marks(&self) -> usize {
        let of_sampler = self.sampler.as_ref().map_or(0, NamedPolicy::marks);
        condition::marks(&self.conditions, self.scope) + of_sampler
    }

    /// What becomes of its traces.
    fn outcome(&self, builder: &mut Builder<'_>) -> Outcome {
        match (&self.sampler, self.sample_rate, self.sampling_percentage) {
            (Some(sampler), ..) => Outcome::Policy(sampler.build(builder)),
            (None, Some(rate), _) => Outcome::Share(share(1.0 / rate, builder)),
            (None, None, Some(percentage)) => Outcome::Share(share(percentage / 100.0, builder)),
            (None, None, None) => Outcome::Always(Decision::Dropped),
        }
    }
}

impl PolicyConfig for RulesConfig {
    const TYPE: &'static str = "rules";
    const SHAPE: Shape = Shape::Rules;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let at = at.key("rules");
        if self.rules.is_empty() {
            problems.report(&at, "must not be empty");
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let at = at.index(index);
            if rule.name.is_empty() {
                problems.report(&at, "name must be set");
            } else if self.rules[..index].iter().any(|other| other.name == rule.name) {
                let message = format!("\"{}\" is the name of an earlier rule too", rule.name);
                problems.report(&at.key("name"), message);
            }
            if let Some(catch_all) =
                self.rules[..index].iter().find(|rule| rule.conditions.is_empty())
            {
                let name = &catch_all.name;
                let message = format!("is never asked: \"{name}\" before it has no conditions");
                problems.warn(&at, message);
            }
            rule.validate(&at, problems);
        }
    }

    fn drops(&self) -> bool {
        self.default == Otherwise::Drop || self.rules.iter().any(|rule| rule.drop)
    }

    fn marks(&self) -> usize {
        self.rules.iter().map(RuleConfig::marks).sum()
    }

    fn has_budget(&self) -> bool {
        let mut samplers = self.rules.iter().filter_map(|rule| rule.sampler.as_ref());
        samplers.any(NamedPolicy::has_budget)
    }

    /// A later rule may be the first that matches the whole.
    fn is_stateful(&self) -> bool {
        true
    }

    fn shares_tier(&self) -> bool {
        let mut samplers = self.rules.iter().filter_map(|rule| rule.sampler.as_ref());
        samplers.any(NamedPolicy::shares_tier)
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let mut rules = Rules::default();
        for rule in &self.rules {
            rules.push(&rule.name, builder, |builder| {
                let conditions = condition::build(&rule.conditions, rule.scope, builder);
                (Conditions(conditions), rule.outcome(builder))
            });
        }
        let decision = match self.default {
            Otherwise::Keep => Decision::Sampled,
            Otherwise::Drop => Decision::Dropped,
            Otherwise::Pass => Decision::NotSampled,
        };
        rules.push("default", builder, |_| (Conditions(Vec::new()), Outcome::Always(decision)));
        Box::new(rules)
    }
}

/// Rules by name, the default last. Each is there twice: its conditions by themselves, since a rule
/// whose conditions do not hold votes as one that does not want the trace.
#[derive(Default)]
struct Rules {
    conditions: Vec<Arc<Conditions>>,
    branches: Vec<Branch>,
}

impl Rules {
    fn push(
        &mut self,
        name: &str,
        builder: &mut Builder<'_>,
        build: impl FnOnce(&mut Builder<'_>) -> (Conditions, Outcome),
    ) {
        let branch = builder.branch(name, |builder| {
            let (conditions, then) = build(builder);
            let conditions = Arc::new(conditions);
            self.conditions.push(Arc::clone(&conditions));
            Box::new(If { conditions, then })
        });
        self.branches.push(branch);
    }

    /// Asks the first rule whose conditions hold.
    fn ask(&self, case: &Case<'_>, vote: impl Fn(&dyn Rule) -> Ballot) -> Ballot {
        for (conditions, branch) in self.conditions.iter().zip(&self.branches) {
            if conditions.hold(case)? {
                let vote = vote(branch.rule.as_ref())?;
                return Ok(Vote { by: vote.by.or(Some(branch.id)), ..vote });
            }
        }
        Ok(Vote::of(Decision::NotSampled))
    }
}

impl Rule for Rules {
    fn evaluate(&self, case: &Case<'_>) -> Ballot {
        self.ask(case, |rule| rule.evaluate(case))
    }

    fn peek(&self, case: &Case<'_>) -> Ballot {
        self.ask(case, |rule| rule.peek(case))
    }

    fn foregone(&self, case: &Case<'_>) -> Option<Decision> {
        for (conditions, branch) in self.conditions.iter().zip(&self.branches) {
            // Only as far as it is certain which rule decides.
            if conditions.foregone(case)? {
                return branch.rule.foregone(case);
            }
        }
        None
    }

    fn is_pure(&self) -> bool {
        self.branches.iter().all(|branch| branch.rule.is_pure())
    }

    fn branches(&self) -> &[Branch] {
        &self.branches
    }
}

/// Conditions that must all hold.
struct Conditions(Vec<Box<dyn Rule>>);

impl Conditions {
    fn hold(&self, case: &Case<'_>) -> Result<bool, Failed> {
        for condition in &self.0 {
            if condition.evaluate(case)?.decision != Decision::Sampled {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether they are bound to hold, or bound not to.
    fn foregone(&self, case: &Case<'_>) -> Option<bool> {
        let mut all = Some(true);
        for condition in &self.0 {
            match condition.foregone(case) {
                Some(Decision::Sampled) => {}
                Some(_) => return Some(false),
                None => all = None,
            }
        }
        all
    }
}

/// What becomes of the traces of a rule.
enum Outcome {
    /// Always the same.
    Always(Decision),
    /// A share is kept.
    Share(Box<dyn Rule>),
    /// Another policy decides.
    Policy(Branch),
}

/// A rule: what becomes of traces for which its conditions hold.
struct If {
    conditions: Arc<Conditions>,
    then: Outcome,
}

impl If {
    fn ask(&self, case: &Case<'_>, vote: impl Fn(&dyn Rule) -> Ballot) -> Ballot {
        if !self.conditions.hold(case)? {
            return Ok(Vote::of(Decision::NotSampled));
        }
        match &self.then {
            Outcome::Always(decision) => Ok(Vote::of(*decision)),
            Outcome::Share(rule) => vote(rule.as_ref()),
            Outcome::Policy(branch) => {
                let vote = vote(branch.rule.as_ref())?;
                Ok(Vote { by: vote.by.or(Some(branch.id)), ..vote })
            }
        }
    }
}

impl Rule for If {
    fn evaluate(&self, case: &Case<'_>) -> Ballot {
        self.ask(case, |rule| rule.evaluate(case))
    }

    fn peek(&self, case: &Case<'_>) -> Ballot {
        self.ask(case, |rule| rule.peek(case))
    }

    fn foregone(&self, case: &Case<'_>) -> Option<Decision> {
        match (self.conditions.foregone(case)?, &self.then) {
            (false, _) => Some(Decision::NotSampled),
            (true, Outcome::Always(decision)) => Some(*decision),
            (true, Outcome::Share(rule)) => rule.foregone(case),
            (true, Outcome::Policy(branch)) => branch.rule.foregone(case),
        }
    }

    fn is_pure(&self) -> bool {
        match &self.then {
            Outcome::Always(_) => true,
            Outcome::Share(rule) => rule.is_pure(),
            Outcome::Policy(branch) => branch.rule.is_pure(),
        }
    }

    fn branches(&self) -> &[Branch] {
        match &self.then {
            Outcome::Policy(branch) => std::slice::from_ref(branch),
            Outcome::Always(_) | Outcome::Share(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests;
