//! `status_code`: keeps traces that have a span with one of the given status codes.

use shared::config::{Path, Problems};
use shared::wire::StatusCode;
use shared::{config_enum, config_struct};

use super::{Ballot, Builder, Case, Decision, Marks, Policy, PolicyConfig, Rule, Sight, Vote};

config_enum! {
    /// A status code, as the Collector spells it here.
    pub(super) enum Code {
        /// The operation was validated as successful.
        Ok = "OK",
        /// The operation failed.
        Error = "ERROR",
        /// Neither was said.
        Unset = "UNSET",
    }
}

config_struct! {
    /// `status_code`.
    pub(super) struct StatusCodeConfig {
        /// The codes that keep a trace.
        pub status_codes: Vec<Code> = Vec::new(),
    }
}

impl PolicyConfig for StatusCodeConfig {
    const TYPE: &'static str = "status_code";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.status_codes.is_empty() {
            problems.report(&at.key("status_codes"), "must name at least one of OK, ERROR, UNSET");
        }
    }

    fn marks(&self) -> usize {
        1
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let has = |code| self.status_codes.contains(&code);
        let [ok, error, unset] = [Code::Ok, Code::Error, Code::Unset].map(has);
        builder.policy(StatusCodes { ok, error, unset })
    }
}

struct StatusCodes {
    ok: bool,
    error: bool,
    unset: bool,
}

impl Policy for StatusCodes {
    fn marks(&self) -> u8 {
        1
    }

    fn observe(&self, sight: &Sight<'_>) -> Marks {
        Marks::seen_if(match sight.span.status_code() {
            StatusCode::Ok => self.ok,
            StatusCode::Error => self.error,
            StatusCode::Unset => self.unset,
        })
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
    use super::super::testing::{check, problems};
    use super::*;
    use Decision::{NotSampled, Sampled};

    #[test]
    fn one_span_with_the_code_is_enough() {
        let config = "{type: status_code, status_code: {status_codes: [ERROR]}}";
        check(config, "0..1; 0..1 error; 0..1 ok", Sampled);
        check(config, "0..1; 0..1 ok", NotSampled);
    }

    #[test]
    fn a_span_without_status_is_unset() {
        let config = "{type: status_code, status_code: {status_codes: [UNSET, OK]}}";
        check(config, "0..1", Sampled);
        check(config, "0..1 ok", Sampled);
        check(config, "0..1 error", NotSampled);
    }

    #[test]
    fn codes_must_be_named_and_known() {
        assert_eq!(
            problems("{name: a, type: status_code}"),
            "policies::0::status_code::status_codes: must name at least one of OK, ERROR, UNSET"
        );
        assert_eq!(
            problems("{name: a, type: status_code, status_code: {status_codes: [error]}}"),
            "policies::0::status_code::status_codes::0: expected one of OK, ERROR, UNSET, got a \
             string \"error\""
        );
    }
}
