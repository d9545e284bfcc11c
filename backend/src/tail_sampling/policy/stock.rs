//! What policies have counted and given out, which outlives a change of the configuration.
//!
//! A limiter that began anew with each change would let another burst through, and an adaptive
//! sampler would not know its keys any more. So a policy finds what it left if it stands where it
//! stood, by its path, and is configured as it was; policies around it may have changed.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// See the module's head.
#[derive(Clone, Default)]
pub(in crate::tail_sampling) struct Stock {
    kept: HashMap<Place, Kept>,
}

/// Names of sub-policies need not be unique, so those with equal paths are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    path: String,
    number: usize,
}

#[derive(Clone)]
struct Kept {
    settings: String,
    state: Arc<dyn Any + Send + Sync>,
}

impl Stock {
    /// What the next policy at `path` left in `before`, if its settings were the same; else what
    /// `make` makes.
    pub(super) fn keep<T: Any + Send + Sync>(
        &mut self,
        path: &str,
        settings: &dyn fmt::Debug,
        before: &Self,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut place = Place { path: path.to_owned(), number: 0 };
        while self.kept.contains_key(&place) {
            place.number += 1;
        }
        let settings = format!("{settings:?}");
        let found = before.kept.get(&place).filter(|kept| kept.settings == settings);
        let found = found.and_then(|kept| Arc::clone(&kept.state).downcast().ok());
        let state: Arc<T> = found.unwrap_or_else(|| Arc::new(make()));
        self.kept.insert(place, Kept { settings, state: Arc::clone(&state) as _ });
        state
    }
}

impl fmt::Debug for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kept.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Decision;
    use super::super::testing::Subject;

    fn keeps(subject: &Subject, millis: u64, trace: &str) -> bool {
        subject.vote(millis, trace).unwrap().decision == Decision::Sampled
    }

    /// A composite whose only policy has all of its ten spans a second.
    fn composite(name: &str, sub_policy: &str) -> String {
        format!(
            "{{name: a, type: composite, composite: {{max_total_spans_per_second: 10, \
             rate_allocation: [{{policy: {name}, percent: 100}}], \
             composite_sub_policy: [{{name: {name}, {sub_policy}}}]}}}}"
        )
    }

    #[test]
    fn a_limiter_that_was_not_changed_has_what_it_had_left() {
        let all = "type: always_sample";
        let latency = "type: latency, latency: {threshold_ms: 0}";
        for (policy, changed) in [
            (
                "{name: a, type: rate_limiting, rate_limiting: {spans_per_second: 5}}".to_owned(),
                "{name: a, type: rate_limiting, rate_limiting: {spans_per_second: 6}}".to_owned(),
            ),
            (
                "{name: a, type: bytes_limiting, bytes_limiting: {bytes_per_second: 200}}"
                    .to_owned(),
                "{name: a, type: bytes_limiting, bytes_limiting: {bytes_per_second: 201}}"
                    .to_owned(),
            ),
            (composite("x", all), composite("y", all)),
        ] {
            let subject = Subject::new(&policy);
            let spans = ["0..1"; 10].join(";");
            assert!(keeps(&subject, 0, &spans), "{policy}");
            assert!(!keeps(&subject, 0, "0..1"), "{policy}");
            let same = subject.changed_to(&policy);
            assert!(!keeps(&same, 0, "0..1"), "{policy} stays as it was");
            let other = same.changed_to(&changed);
            assert!(keeps(&other, 0, "0..1"), "{changed} is another one");
            // What was there before that is forgotten.
            assert!(keeps(&other.changed_to(&policy), 0, &spans), "{policy} comes again");
        }
        // What a composite's policies are does not matter to its budget.
        let subject = Subject::new(&composite("x", all));
        assert!(keeps(&subject, 0, &["0..1"; 10].join(";")));
        assert!(!keeps(&subject.changed_to(&composite("x", latency)), 0, "0..1"));
    }

    #[test]
    fn limiters_of_one_name_keep_to_themselves() {
        let limiter = "{name: l, type: rate_limiting, rate_limiting: {spans_per_second: 1}}";
        let policy = |count| {
            let parts = vec![limiter; count].join(", ");
            format!("{{name: a, type: and, and: {{and_sub_policy: [{parts}]}}}}")
        };
        // One bucket for both would be empty after one span.
        let subject = Subject::new(&policy(2));
        assert!(keeps(&subject, 0, "0..1"));
        assert!(keeps(&subject.changed_to(&policy(3)), 0, "0..1"));
        assert!(!keeps(&subject.changed_to(&policy(3)), 0, "0..1"));
    }

    #[test]
    fn an_adaptive_sampler_knows_its_keys_after_a_change_elsewhere() {
        let policy = |interval: &str| {
            format!(
                "{{name: a, type: ema_throughput, ema_throughput: {{goal_throughput: 1, \
                 initial_sampling_percentage: 100, adjustment_interval: {interval}, \
                 fingerprint_attributes: [route]}}}}"
            )
        };
        let subject = Subject::new(&policy("1s"));
        let spans = ["0..1 route=a"; 50].join(";");
        assert!(keeps(&subject, 0, &spans), "nothing is known yet");
        // The interval is over: of 50 spans one is wanted.
        assert!(!keeps(&subject, 1500, &spans));
        let same = subject.changed_to(&policy("1s"));
        assert!(!keeps(&same, 1500, &spans));
        let other = same.changed_to(&policy("2s"));
        assert!(keeps(&other, 1500, &spans));
    }
}
