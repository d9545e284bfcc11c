//! A request while it is written.

use std::ops::Range;

use shared::wire::write::{put_varint, varint_len};

use super::super::buffer::Buffer;
use super::super::inscription::{Inscription, Reason, Text};
use super::super::policy::Names;
use super::super::segments::{RunId, RunView};
use super::Written;

/// The runs of a request.
#[derive(Debug)]
pub(super) struct Page {
    inscription: Inscription,
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
    run: RunId,
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

impl Page {
    /// An empty request on whose spans this is written.
    pub(super) fn new(inscription: Inscription) -> Self {
        Self {
            inscription,
            picked: Vec::new(),
            inscribed: Vec::new(),
            last: None,
            spans: 0,
            span_bytes: 0,
            unreadable_trace_states: 0,
        }
    }

    /// Adds a run.
    pub(super) fn add(
        &mut self,
        id: RunId,
        run: RunView<'_>,
        reason: Reason,
        buffer: &Buffer,
        names: &Names,
    ) {
        let resource = buffer.headers.resource_of(run.scope);
        let inscribed = self.inscription.is_on_spans().then(|| {
            let start = self.inscribed.len();
            let (_, text) = match self.last.take() {
                Some(last) if last.0 == reason => self.last.insert(last),
                _ => self.last.insert((reason, self.inscription.text(reason, names))),
            };
            self.unreadable_trace_states += text.put_spans(run.bytes, &mut self.inscribed);
            start..self.inscribed.len()
        });
        let on_scope = self.inscription.on_scopes(reason);
        self.spans += run.spans;
        self.span_bytes += inscribed.as_ref().map_or(run.bytes.len(), Range::len);
        self.picked.push(Picked { resource, scope: run.scope, on_scope, run: id, inscribed });
    }

    /// Writes the request.
    pub(super) fn write(mut self, buffer: &Buffer, names: &Names) -> Written {
        self.picked.sort_by_key(|picked| (picked.resource, picked.scope, picked.on_scope));
        let mut request = Vec::with_capacity(self.span_bytes + self.span_bytes / 16 + 1024);
        for entry in self.picked.chunk_by(|a, b| a.resource == b.resource) {
            let header = buffer.headers.resource_bytes(entry[0].resource);
            let scopes: Vec<ScopePart<'_>> = entry
                .chunk_by(|a, b| (a.scope, a.on_scope) == (b.scope, b.on_scope))
                .map(|picked| self.scope_part(picked, buffer, names))
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
                    request.extend_from_slice(self.spans_of(picked, buffer));
                }
            }
        }
        let Self { spans, unreadable_trace_states, .. } = self;
        Written { request, spans, unreadable_trace_states }
    }

    fn scope_part<'a>(
        &self,
        picked: &'a [Picked],
        buffer: &Buffer,
        names: &Names,
    ) -> ScopePart<'a> {
        let plain = buffer.headers.scope_bytes(picked[0].scope);
        let mut header = Vec::new();
        match picked[0].on_scope {
            Some(reason) => self.inscription.text(reason, names).put_scope(plain, &mut header),
            None => header.extend_from_slice(plain),
        }
        let spans: usize = picked.iter().map(|picked| self.spans_of(picked, buffer).len()).sum();
        ScopePart { length: header.len() + spans, header, picked }
    }

    fn spans_of<'a>(&'a self, picked: &Picked, buffer: &'a Buffer) -> &'a [u8] {
        match &picked.inscribed {
            Some(range) => &self.inscribed[range.clone()],
            None => buffer.log.run(picked.run).bytes,
        }
    }
}
