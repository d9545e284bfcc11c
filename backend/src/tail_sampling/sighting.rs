//! Shows spans to the policies: each when it arrives, and all that are kept of a trace once more
//! when the policies have changed.

use shared::wire::export::{ResourceEntry, ScopeEntry};
use shared::wire::{Fields, Value};

use super::buffer::Buffer;
use super::evaluate::Policies;
use super::policy::{Notes, Seen};
use super::segments::RunId;
use super::trace::{Summary, Trace};

/// Runs of a trace that are read together.
const RUNS_AT_ONCE: usize = 1024;

/// Shows the policies all spans that are kept of a trace, in their order, as if they arrived now.
///
/// What other policies left on the trace is forgotten.
pub(super) fn show_again(trace: &mut Trace, buffer: &Buffer, policies: &Policies) {
    trace.seen = Seen::default();
    trace.notes = Notes::default();
    trace.summary = Summary { trace_id: trace.summary.trace_id, ..Summary::default() };
    let mut chain: Vec<RunId> = buffer.log.chain(trace.last_stretch).collect();
    chain.reverse();
    // A giant is not read all at once.
    for ids in chain.chunks(RUNS_AT_ONCE) {
        let runs = buffer.log.gather(ids.iter().copied());
        for (index, id) in ids.iter().enumerate() {
            show_run(trace, *id, runs.get(index), buffer, policies);
        }
    }
}

fn show_run(trace: &mut Trace, id: RunId, bytes: &[u8], buffer: &Buffer, policies: &Policies) {
    let run = buffer.log.run(id);
    let resource = buffer.headers.resource_of(run.scope);
    trace.seen = trace.seen.union(buffer.headers.seen(resource));
    // Headers are entries without their nested entries, which policies do not look at.
    let entry = ResourceEntry { content: buffer.headers.resource_bytes(resource) };
    let scope = ScopeEntry { content: buffer.headers.scope_bytes(run.scope) };
    let under = (entry, entry.resource(), scope);
    policies.note_resource(trace, entry.resource());
    for field in Fields::new(bytes) {
        let Value::Bytes(span) = field.value else { continue };
        let read = policies.read(span);
        trace.summary.add(&read.span, field.raw.len());
        policies.observe(trace, &read, under);
    }
}
