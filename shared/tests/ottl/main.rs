//! Conditions and statements against a second implementation, and against any bytes.

mod generate;
mod model;
mod properties;
mod statements;

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use proptest::prelude::*;
use prost::Message as _;
use shared::ottl::{Condition, Context, SpanScope};
use shared::wire::{ResourceEntry, ScopeEntry, Span};

use model::{Record, Test};

proptest! {
    // What failed goes into a file that is named for `main.rs`, which is not the only one.
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// The model decodes the span and does everything the long way.
    #[test]
    fn conditions_hold_for_bytes_as_they_do_for_the_decoded_span(
        record in generate::record(),
        test in generate::test(),
    ) {
        let text = test.to_string();
        let condition = Condition::parse(&text, Context::Span);
        let condition = condition.map_err(|error| format!("{error}\n{}", error.caret(&text)));
        let condition = condition.map_err(TestCaseError::fail)?;
        let verdict = verdict(&condition, &record);
        prop_assert_eq!(&verdict.map_err(|_| ()), &test.evaluate(&record).map_err(|_| ()), "{}", text);
        if let Some(constant) = condition.constant() {
            prop_assert_eq!(test.evaluate(&record).ok(), Some(constant), "{}", text);
        }
    }

    #[test]
    fn any_bytes_can_be_asked_about(
        record in generate::record(),
        test in generate::test(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut bytes = test.to_string().into_bytes();
        bytes.push(0);
        bytes.extend(record.span.encode_to_vec());
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        properties::any_bytes_can_be_asked_about(&bytes);
    }

    /// The second implementation decodes the span and changes its fields.
    #[test]
    fn statements_do_to_bytes_what_they_do_to_the_decoded_span(
        record in generate::record(),
        statements in statements::statements(),
    ) {
        let texts: Vec<_> = statements.iter().map(ToString::to_string).collect();
        let done = statements::run(&statements, &record);
        let expected = statements::run_naively(&statements, &record);
        prop_assert_eq!(done.span, expected.span, "{:?}", texts);
        prop_assert_eq!(done.resource, expected.resource, "{:?}", texts);
        prop_assert_eq!(done.scope, expected.scope, "{:?}", texts);
    }

    #[test]
    fn any_bytes_can_be_changed(
        record in generate::record(),
        statements in statements::statements(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut bytes = statements[0].to_string().into_bytes();
        bytes.push(0);
        bytes.extend(record.span.encode_to_vec());
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        properties::any_bytes_can_be_changed(&bytes);
    }
}

fn verdict(condition: &Condition, record: &Record) -> Result<bool, shared::ottl::EvalError> {
    let resource =
        ResourceSpans { resource: Some(record.resource.clone()), ..ResourceSpans::default() };
    let scope = ScopeSpans { scope: Some(record.scope.clone()), ..ScopeSpans::default() };
    let (resource, scope) = (resource.encode_to_vec(), scope.encode_to_vec());
    let span = record.span.encode_to_vec();
    condition.matches(&SpanScope {
        resource: ResourceEntry { content: &resource },
        scope: ScopeEntry { content: &scope },
        span: Span::read(&span),
    })
}

/// The generators must reach true, false and errors often, or the comparison shows little.
#[test]
fn generated_conditions_have_all_kinds_of_verdicts() {
    use proptest::strategy::ValueTree as _;

    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut counts = [0; 3];
    for _ in 0..1000 {
        let record = generate::record().new_tree(&mut runner).unwrap().current();
        let test: Test = generate::test().new_tree(&mut runner).unwrap().current();
        match test.evaluate(&record) {
            Ok(true) => counts[0] += 1,
            Ok(false) => counts[1] += 1,
            Err(_) => counts[2] += 1,
        }
    }
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}
