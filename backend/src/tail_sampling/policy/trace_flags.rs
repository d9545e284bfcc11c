//! `trace_flags`: keeps traces that have a span with W3C's flag "sampled".

use shared::config_struct;

use super::{Ballot, Builder, Case, Decision, Marks, Policy, PolicyConfig, Rule, Sight, Vote};

config_struct! {
    /// `trace_flags` has no settings.
    pub(super) struct TraceFlagsConfig {}
}

impl PolicyConfig for TraceFlagsConfig {
    const TYPE: &'static str = "trace_flags";

    fn marks(&self) -> usize {
        1
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        builder.policy(TraceFlags)
    }
}

/// The flag "sampled". Source: W3C Trace Context level 2, section 3.2.2.5.1.
const SAMPLED: u32 = 1;

struct TraceFlags;

impl Policy for TraceFlags {
    fn marks(&self) -> u8 {
        1
    }

    fn observe(&self, sight: &Sight<'_>) -> Marks {
        Marks::seen_if(sight.span.flags & SAMPLED != 0)
    }

    fn evaluate(&self, marks: Marks, _case: &Case<'_>) -> Ballot {
        Ok(Vote::sampled_if(!marks.is_none()))
    }

    fn foregone(&self, marks: Marks, _case: &Case<'_>) -> Option<Decision> {
        (!marks.is_none()).then_some(Decision::Sampled)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use Decision::{NotSampled, Sampled};

    #[test]
    fn one_span_with_the_flag_is_enough() {
        check("{type: trace_flags}", "0..1; 0..1 flags:0x301", Sampled);
        check("{type: trace_flags}", "0..1; 0..1 flags:0x302", NotSampled);
    }
}
