//! Spans on their way out, joined into requests.
//!
//! A request holds the runs of many traces, put together by resource and scope, so that a header
//! stands in it once. The runs stay in the log until their request is written.

use std::collections::VecDeque;

use shared::wire::write::{put_varint, varint_len};

use super::buffer::Buffer;
use super::segments::RunId;

/// How large a request becomes; the last run in it may pass either.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestSize {
    /// Spans.
    pub(super) spans: usize,
    /// Bytes of spans.
    pub(super) bytes: usize,
}

/// Runs that are to leave, in their order.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    runs: VecDeque<RunId>,
    spans: usize,
    bytes: usize,
    /// Room to turn a chain around.
    chain: Vec<RunId>,
}

/// A run with the headers it is under.
struct Picked {
    resource: u32,
    scope: u32,
    run: RunId,
}

/// Field 1, length-delimited: a resource entry.
const ENTRY_TAG: u8 = 0x0a;
/// Field 2, length-delimited: a scope entry.
const SCOPE_TAG: u8 = 0x12;

impl Outgoing {
    /// Adds the runs of a trace, whose last one is `last`.
    pub(super) fn push_trace(&mut self, last: RunId, buffer: &Buffer) {
        let mut next = Some(last);
        while let Some(id) = next {
            let run = buffer.log.run(id);
            self.spans += run.spans;
            self.bytes += run.bytes.len();
            self.chain.push(id);
            next = run.before;
        }
        // The chain goes from the last run to the first; spans leave as they came.
        self.runs.extend(self.chain.drain(..).rev());
    }

    /// Whether there is enough for a request of this size.
    pub(super) fn fills(&self, size: RequestSize) -> bool {
        self.spans >= size.spans || self.bytes >= size.bytes
    }

    /// Writes the next request and lets go of its runs: the request and its number of spans.
    pub(super) fn take(
        &mut self,
        size: RequestSize,
        buffer: &mut Buffer,
    ) -> Option<(Vec<u8>, usize)> {
        let (mut spans, mut bytes) = (0, 0);
        let mut picked = Vec::new();
        while spans < size.spans
            && bytes < size.bytes
            && let Some(id) = self.runs.pop_front()
        {
            let run = buffer.log.run(id);
            spans += run.spans;
            bytes += run.bytes.len();
            let resource = buffer.headers.resource_of(run.scope);
            picked.push(Picked { resource, scope: run.scope, run: id });
        }
        if picked.is_empty() {
            self.runs = VecDeque::new();
            return None;
        }
        self.spans -= spans;
        self.bytes -= bytes;
        picked.sort_by_key(|picked| (picked.resource, picked.scope));
        let request = write(&picked, bytes, buffer);
        for picked in picked {
            buffer.release(picked.run);
        }
        Some((request, spans))
    }
}

fn write(picked: &[Picked], span_bytes: usize, buffer: &Buffer) -> Vec<u8> {
    let mut request = Vec::with_capacity(span_bytes + span_bytes / 16 + 1024);
    for entry in picked.chunk_by(|a, b| a.resource == b.resource) {
        let header = buffer.headers.resource_bytes(entry[0].resource);
        let scopes = || entry.chunk_by(|a, b| a.scope == b.scope);
        let length = header.len()
            + scopes()
                .map(|scope| scope_length(scope, buffer))
                .map(|length| 1 + varint_len(length as u64) + length)
                .sum::<usize>();
        request.push(ENTRY_TAG);
        put_varint(&mut request, length as u64);
        request.extend_from_slice(header);
        for scope in scopes() {
            request.push(SCOPE_TAG);
            put_varint(&mut request, scope_length(scope, buffer) as u64);
            request.extend_from_slice(buffer.headers.scope_bytes(scope[0].scope));
            for picked in scope {
                request.extend_from_slice(buffer.log.run(picked.run).bytes);
            }
        }
    }
    request
}

/// Length of the content of a scope entry with these runs.
fn scope_length(scope: &[Picked], buffer: &Buffer) -> usize {
    let spans: usize = scope.iter().map(|picked| buffer.log.run(picked.run).bytes.len()).sum();
    buffer.headers.scope_bytes(scope[0].scope).len() + spans
}
