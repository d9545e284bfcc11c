//! A request while it is written.

use std::ops::Range;

use shared::wire::write::{put_varint, varint_len};

use super::super::buffer::Buffer;
use super::super::inscription::{Inscription, Reason, Text};
use super::super::policy::Names;
use super::super::segments::{Gathered, RunView};
use super::Written;

/// The runs of a request.
pub(super) struct Page<'a> {
    inscription: Inscription,
    /// What will be added, in this order.
    runs: Gathered<'a>,
    buffer: &'a Buffer,
    names: &'a Names,
    picked: Vec<Picked>,
    /// Runs as they are with what is written on them.
    inscribed: Vec<u8>,
    /// What was written last, since the runs of a trace follow each other.
    last: Option<(Reason, Text)>,
    spans: usize,
    span_bytes: usize,
    unreadable_trace_states: u64,
}

/// A run with the headers it is under.
#[derive(Debug)]
struct Picked {
    resource: u32,
    scope: u32,
    /// What is written on the scope, if anything is.
    on_scope: Option<Reason>,
    /// Its number among those that were added.
    number: usize,
    /// Where it stands if something is written on its spans.
    inscribed: Option<Range<usize>>,
}

/// The runs under one scope.
struct ScopePart<'a> {
    header: Vec<u8>,
    picked: &'a [Picked],
    /// Of the content of the entry.
    length: usize,
}

/// Field 1, length-delimited: a resource entry.
const ENTRY_TAG: u8 = 0x0a;
/// Field 2, length-delimited: a scope entry.
const SCOPE_TAG: u8 = 0x12;

impl<'a> Page<'a> {
    /// An empty request of these runs, on whose spans this is written.
    pub(super) fn new(
        inscription: Inscription,
        runs: Gathered<'a>,
        buffer: &'a Buffer,
        names: &'a Names,
    ) -> Self {
        Self {
            inscription,
            runs,
            buffer,
            names,
            picked: Vec::new(),
            inscribed: Vec::new(),
            last: None,
            spans: 0,
            span_bytes: 0,
            unreadable_trace_states: 0,
        }
    }

    /// Adds the next run.
    pub(super) fn add(&mut self, run: RunView, reason: Reason) {
        let number = self.picked.len();
        let resource = self.buffer.headers.resource_of(run.scope);
        let inscribed = self.inscription.is_on_spans().then(|| {
            let start = self.inscribed.len();
            let (_, text) = match self.last.take() {
                Some(last) if last.0 == reason => self.last.insert(last),
                _ => self.last.insert((reason, self.inscription.text(reason, self.names))),
            };
            self.unreadable_trace_states +=
                text.put_spans(self.runs.get(number), &mut self.inscribed);
            start..self.inscribed.len()
        });
        let on_scope = self.inscription.on_scopes(reason);
        self.spans += run.spans;
        self.span_bytes += inscribed.as_ref().map_or(run.length, Range::len);
        self.picked.push(Picked { resource, scope: run.scope, on_scope, number, inscribed });
    }

    /// Writes the request.
    pub(super) fn write(mut self) -> Written {
        self.picked.sort_by_key(|picked| (picked.resource, picked.scope, picked.on_scope));
        let mut request = Vec::with_capacity(self.span_bytes + self.span_bytes / 16 + 1024);
        for entry in self.picked.chunk_by(|a, b| a.resource == b.resource) {
            let header = self.buffer.headers.resource_bytes(entry[0].resource);
            let scopes: Vec<ScopePart<'_>> = entry
                .chunk_by(|a, b| (a.scope, a.on_scope) == (b.scope, b.on_scope))
                .map(|picked| self.scope_part(picked))
                .collect();
            let framed = |part: &ScopePart<'_>| 1 + varint_len(part.length as u64) + part.length;
            let length = header.len() + scopes.iter().map(framed).sum::<usize>();
            request.push(ENTRY_TAG);
            put_varint(&mut request, length as u64);
            request.extend_from_slice(header);
            for scope in scopes {
                request.push(SCOPE_TAG);
                put_varint(&mut request, scope.length as u64);
                request.extend_from_slice(&scope.header);
                for picked in scope.picked {
                    request.extend_from_slice(self.spans_of(picked));
                }
            }
        }
        let Self { spans, unreadable_trace_states, .. } = self;
        Written { request, spans, unreadable_trace_states }
    }

    fn scope_part<'b>(&self, picked: &'b [Picked]) -> ScopePart<'b> {
        let plain = self.buffer.headers.scope_bytes(picked[0].scope);
        let mut header = Vec::new();
        match picked[0].on_scope {
            Some(reason) => self.inscription.text(reason, self.names).put_scope(plain, &mut header),
            None => header.extend_from_slice(plain),
        }
        let spans: usize = picked.iter().map(|picked| self.spans_of(picked).len()).sum();
        ScopePart { length: header.len() + spans, header, picked }
    }

    fn spans_of(&self, picked: &Picked) -> &[u8] {
        match &picked.inscribed {
            Some(range) => &self.inscribed[range.clone()],
            None => self.runs.get(picked.number),
        }
    }
}
