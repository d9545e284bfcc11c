//! The same requests again and again, each time with other trace ids, so that a backend sees new
//! traces at the price of a copy.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use shared::wire::export::resources;
use shared::{Batch, Signal};

/// An endless source.
#[derive(Clone)]
pub(super) struct Again {
    requests: Arc<[Made]>,
    next: usize,
    /// How often all requests were sent.
    pass: u64,
    ends: bool,
}

struct Made {
    bytes: Bytes,
    /// Where the first half of each span's trace id stands.
    ids: Vec<Range<usize>>,
}

impl Again {
    /// Goes round these.
    pub(super) fn new(requests: &[Batch]) -> Self {
        let requests = requests.iter().map(Made::new).collect();
        Self { requests, next: 0, pass: 0, ends: false }
    }

    /// The next request, under ids of its own.
    pub(super) fn next_request(&mut self) -> Option<Batch> {
        // A pass is ended, or the traces of its end would lack the spans that stand in the rest.
        if self.ends && self.next == 0 {
            return None;
        }
        let made = &self.requests[self.next];
        let mut bytes = made.bytes.to_vec();
        for place in &made.ids {
            let id = &mut bytes[place.clone()];
            for (byte, pass) in id.iter_mut().zip(self.pass.to_be_bytes()) {
                *byte ^= pass;
            }
        }
        self.next = (self.next + 1) % self.requests.len();
        self.pass += u64::from(self.next == 0);
        Some(Batch::parse(Signal::Traces, bytes.into()).expect("only ids were changed"))
    }

    /// Ends with this pass.
    pub(super) fn finish(&mut self) {
        self.ends = true;
    }

    /// Goes on after an end.
    pub(super) fn go_on(&mut self) {
        self.ends = false;
    }
}

impl Made {
    fn new(request: &Batch) -> Self {
        let bytes = request.bytes().clone();
        let start = bytes.as_ptr().addr();
        let mut ids = Vec::with_capacity(request.items());
        for entry in resources(&bytes) {
            for span in entry.scopes().flat_map(shared::wire::ScopeEntry::records) {
                let id = request.trace_id(span);
                let from = id.as_ptr().addr() - start;
                ids.push(from..from + 8);
            }
        }
        Self { bytes: bytes.clone(), ids }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::generate::Generator;
    use crate::oracle::Policies;
    use crate::plan::Plan;

    /// Spans of each trace of a request.
    fn spans(request: &Batch) -> HashMap<Vec<u8>, usize> {
        let mut spans = HashMap::new();
        for entry in resources(request.bytes()) {
            for span in entry.scopes().flat_map(shared::wire::ScopeEntry::records) {
                *spans.entry(request.trace_id(span).to_vec()).or_default() += 1;
            }
        }
        spans
    }

    #[test]
    fn each_pass_has_traces_of_its_own_and_ends_whole() {
        let mut generator = Generator::new(Plan::new(1, 100), Arc::new(Policies::default()));
        let requests: Vec<Batch> = std::iter::from_fn(|| generator.next_request()).collect();
        let (count, total) = (requests.len(), requests.iter().map(Batch::items).sum::<usize>());
        let mut again = Again::new(&requests);
        let mut traces: HashMap<Vec<u8>, usize> = HashMap::new();
        for number in 0..3 * count {
            if number == 2 * count + 1 {
                again.finish();
            }
            for (id, spans) in spans(&again.next_request().unwrap()) {
                *traces.entry(id).or_default() += spans;
            }
        }
        assert!(again.next_request().is_none());
        assert_eq!(traces.len(), 300);
        assert_eq!(traces.values().sum::<usize>(), 3 * total);
    }
}
