//! What holds for any bytes, for the tests and the fuzz targets.

use shared::ottl::{Condition, Context, EventScope, SpanScope};
use shared::wire::{ResourceEntry, ScopeEntry, Span};

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
