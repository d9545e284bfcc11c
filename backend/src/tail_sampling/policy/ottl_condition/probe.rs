//! Tries conditions on spans that say next to nothing. One that holds for them holds for some span
//! of nearly every trace, which is rarely what was meant.

use shared::ottl::{Condition, Context, EventScope, SpanScope};
use shared::wire::export::{ResourceEntry, ScopeEntry};
use shared::wire::{Span, Writer};

/// Durations in milliseconds: a condition on those is meant, and holds for one of them only.
const DURATIONS: [u64; 2] = [1, 600_000];
/// A root span has no parent.
const PARENTS: [&[u8]; 2] = [&[], &[1; 8]];

/// Whether the condition holds for a root, or for a span below one, however long it took.
pub(super) fn holds_for_anything(condition: &Condition) -> bool {
    PARENTS.iter().any(|parent| DURATIONS.iter().all(|millis| holds(condition, parent, *millis)))
}

/// Whether it holds for such a span without attributes, or for an event of it.
fn holds(condition: &Condition, parent: &[u8], millis: u64) -> bool {
    const START_NS: u64 = 1_700_000_000_000_000_000;
    let mut writer = Writer::new();
    writer.bytes(1, &[1; 16]);
    writer.bytes(2, &[2; 8]);
    writer.bytes(4, parent);
    writer.bytes(5, b"span");
    writer.fixed64(7, START_NS);
    writer.fixed64(8, START_NS + millis * 1_000_000);
    writer.message(11, |event| {
        event.fixed64(1, START_NS);
        event.bytes(2, b"event");
    });
    let raw = writer.into_vec();
    let span = SpanScope {
        resource: ResourceEntry { content: &[] },
        scope: ScopeEntry { content: &[] },
        span: Span::read(&raw),
    };
    let verdict = match condition.context() {
        Context::SpanEvent => {
            let event = span.span.events().next().expect("one was just written");
            condition.matches(&EventScope { span: &span, event })
        }
        _ => condition.matches(&span),
    };
    verdict == Ok(true)
}
