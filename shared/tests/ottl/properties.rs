//! What holds for any bytes, for the tests and the fuzz targets.

#![allow(clippy::unwrap_used, reason = "a property fails by panicking")]

use std::ops::ControlFlow;

use shared::ottl::{Condition, Context, Draft, EventScope, Group, SpanScope, Statement};
use shared::wire::{ResourceEntry, ScopeEntry, Signal, Span};

/// Takes what stands before the first zero for a condition and the rest for a span, for a resource
/// entry and for a scope entry.
pub(crate) fn any_bytes_can_be_asked_about(bytes: &[u8]) {
    let split = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at(split);
    let record = rest.get(1..).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let scope = SpanScope {
        resource: ResourceEntry { content: record },
        scope: ScopeEntry { content: record },
        span: Span::read(record),
    };
    for context in [Context::Span, Context::SpanEvent] {
        match Condition::parse(&text, context) {
            Err(error) => {
                assert!(error.offset <= text.len());
                assert!(error.caret(&text).contains('^'));
            }
            Ok(condition) => {
                let verdict = condition.matches(&scope);
                if let (Some(constant), Context::Span) = (condition.constant(), context) {
                    assert_eq!(verdict, Ok(constant));
                }
                for event in scope.span.events() {
                    if let Err(error) = condition.matches(&EventScope { span: &scope, event }) {
                        assert!(!error.to_string().is_empty());
                    }
                }
            }
        }
    }
}

/// Takes what stands before the first zero for a statement, and the rest for a record of each
/// context and for all that is around it.
pub(crate) fn any_bytes_can_be_changed(bytes: &[u8]) {
    let split = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at(split);
    let record = rest.get(1..).unwrap_or_default();
    let text = String::from_utf8_lossy(text).into_owned();
    for context in Context::ALL {
        if let Err(error) = Statement::parse(&text, context) {
            assert!(error.offset <= text.len());
            assert!(error.caret(&text).contains('^'));
            continue;
        }
        let signal = Signal::ALL.into_iter().find(|signal| context.is_of(*signal)).unwrap();
        let texts = [text.clone()];
        let group = Group::parse(signal, Some(context), &[], &texts).unwrap();
        let mut draft = Draft::new(context);
        draft.enter_resource(ResourceEntry { content: record });
        draft.enter_scope(ScopeEntry { content: record });
        draft.set_record(record);
        draft.set_inner(record, 0);
        // Twice, so that what it wrote is read too.
        for _ in 0..2 {
            let failed = group.run(&mut draft, &mut |_, _| ControlFlow::Break(()));
            if let Err(error) = failed {
                assert!(!error.to_string().is_empty());
            }
        }
        if let Err(faults) = Group::parse(signal, None, &[], &texts) {
            assert!(!faults.is_empty());
        }
    }
}
