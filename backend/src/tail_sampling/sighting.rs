//! Shows spans to the policies: each when it arrives, and all that are kept of a trace once more
//! when the policies have changed.

use shared::wire::export::{ResourceEntry, ScopeEntry};
use shared::wire::{Fields, Span, Value};

use super::buffer::Buffer;
use super::evaluate::Policies;
use super::policy::{Notes, Seen};
use super::segments::RunId;
use super::trace::{Summary, Trace};

/// Shows the policies all spans that are kept of a trace, in their order, as if they arrived now.
///
/// What other policies left on the trace is forgotten.
pub(super) fn show_again(trace: &mut Trace, buffer: &Buffer, policies: &Policies) {
    trace.seen = Seen::default();
    trace.notes = Notes::default();
    trace.summary = Summary { trace_id: trace.summary.trace_id, ..Summary::default() };
    let mut chain: Vec<RunId> = buffer.log.chain(trace.last_run).collect();
    chain.reverse();
    for id in chain {
        let run = buffer.log.run(id);
        let resource = buffer.headers.resource_of(run.scope);
        trace.seen = trace.seen.union(buffer.headers.seen(resource));
        // Headers are entries without their nested entries, which policies do not look at.
        let entry = ResourceEntry { content: buffer.headers.resource_bytes(resource) };
        let scope = ScopeEntry { content: buffer.headers.scope_bytes(run.scope) };
        let under = (entry, entry.resource(), scope);
        policies.note_resource(trace, entry.resource());
        for field in Fields::new(run.bytes) {
            let Value::Bytes(span) = field.value else { continue };
            let span = Span::read(span);
            trace.summary.add(&span, field.raw.len());
            policies.observe(trace, &span, under);
        }
    }
}
