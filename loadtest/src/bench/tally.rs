//! What a sink counts of what arrives, and whether that is what had to arrive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use hashbrown::HashSet;
use tokio::time::Instant;

use super::content::{Depth, for_each_span, trace_key};
use super::payload::Expected;
use super::results::{Fidelity, Gate, Leg};
use crate::report::thousands;

/// What one sink counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Whether content is hashed too.
    deep: AtomicBool,
    arrived: Mutex<Arrived>,
}

/// What arrived at a sink since the last look.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrived {
    pub(super) leg: Leg,
    pub(super) spans: u64,
    bytes_sum: u64,
    content_sum: u64,
    traces: HashSet<u64>,
    /// When the last request came.
    pub(super) last: Option<Instant>,
}

impl Tally {
    /// Hashes so deep from now on.
    pub(super) fn set(&self, depth: Depth) {
        self.deep.store(depth == Depth::Content, Ordering::Relaxed);
    }

    /// Counts one request, which was `wire_bytes` long before it was inflated.
    pub(super) fn count(&self, message: &[u8], wire_bytes: u64) {
        let depth = match self.deep.load(Ordering::Relaxed) {
            true => Depth::Content,
            false => Depth::Bytes,
        };
        let (mut spans, mut bytes_sum, mut content_sum) = (0, 0_u64, 0_u64);
        let mut traces = Vec::new();
        for_each_span(message, depth, |span| {
            spans += 1;
            bytes_sum = bytes_sum.wrapping_add(span.bytes_hash());
            if depth == Depth::Content {
                content_sum = content_sum.wrapping_add(span.content_hash());
            }
            traces.push(trace_key(span.trace_id()));
        });
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.leg.requests += 1;
        arrived.leg.wire_bytes += wire_bytes;
        arrived.leg.bytes += message.len() as u64;
        arrived.spans += spans;
        arrived.bytes_sum = arrived.bytes_sum.wrapping_add(bytes_sum);
        arrived.content_sum = arrived.content_sum.wrapping_add(content_sum);
        arrived.traces.extend(traces);
        arrived.last = Some(Instant::now());
    }

    /// Spans so far, and when the last request came.
    pub(super) fn progress(&self) -> (u64, Option<Instant>) {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        (arrived.spans, arrived.last)
    }

    /// What arrived, and begins anew.
    pub(super) fn take(&self) -> Arrived {
        std::mem::take(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What arrived at all sinks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) leg: Leg,
    pub(super) spans: u64,
    bytes_sum: u64,
    content_sum: u64,
    /// Traces at each sink, added up.
    traces: u64,
    pub(super) last: Option<Instant>,
}

impl Total {
    pub(super) fn of(sinks: impl IntoIterator<Item = Arrived>) -> Self {
        let mut total = Self::default();
        for sink in sinks {
            total.leg.requests += sink.leg.requests;
            total.leg.wire_bytes += sink.leg.wire_bytes;
            total.leg.bytes += sink.leg.bytes;
            total.spans += sink.spans;
            total.bytes_sum = total.bytes_sum.wrapping_add(sink.bytes_sum);
            total.content_sum = total.content_sum.wrapping_add(sink.content_sum);
            total.traces += sink.traces.len() as u64;
            total.last = total.last.max(sink.last);
        }
        total
    }

    /// How deep sinks have to look at what this gateway sends: only as far as bytes if it keeps them.
    pub(super) fn depth_needed(&self, expected: &Expected) -> Depth {
        match self.bytes_sum == expected.bytes_sum {
            true => Depth::Bytes,
            false => Depth::Content,
        }
    }

    /// Whether what arrived is what had to arrive; `failures` are those that the sender saw.
    pub(super) fn judge(&self, expected: &Expected, depth: Depth, failures: Vec<String>) -> Gate {
        let by_bytes = depth == Depth::Bytes || self.bytes_sum == expected.bytes_sum;
        let (fidelity, wanted, found) = match by_bytes {
            true => (Fidelity::Bytes, expected.bytes_sum, self.bytes_sum),
            false => (Fidelity::Content, expected.content_sum, self.content_sum),
        };
        let mut gate = Gate {
            fidelity,
            expected_spans: expected.spans,
            received_spans: self.spans,
            expected_sum: format!("{wanted:016x}"),
            received_sum: format!("{found:016x}"),
            expected_traces: expected.traces,
            received_traces: self.traces,
            failures,
        };
        let counts = |found, expected, what: &str| {
            format!("{} {what} arrived, not {}", thousands(found), thousands(expected))
        };
        if self.spans != expected.spans {
            gate.failures.push(counts(self.spans, expected.spans, "spans"));
        } else if wanted != found {
            let why = "spans, resources or scopes were changed, or other spans arrived";
            gate.failures.push(format!("{why}: the sum is {found:016x}, not {wanted:016x}"));
        }
        if self.traces > expected.traces && self.spans == expected.spans {
            let split = thousands(self.traces - expected.traces);
            gate.failures.push(format!("traces were split: {split} arrived at more than one sink"));
        } else if self.traces != expected.traces {
            gate.failures.push(counts(self.traces, expected.traces, "traces"));
        }
        gate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::panel::Sent;
    use crate::bench::payload::Payload;
    use crate::plan::{FieldOrder, Look};
    use bytes::Bytes;
    use shared::config::Compression;

    fn payload(folder: &std::path::Path) -> (Vec<Bytes>, Expected) {
        let (look, field_order) = (Look::Plain, FieldOrder::Sdk);
        let sent = Sent { spans_per_request: 50, services: 4, look, field_order };
        let payload = Payload::ensure(folder, sent, 3, 300).unwrap();
        let work = payload.replay(Compression::None).unwrap().work(payload.manifest.spans);
        (payload.messages().to_vec(), work.expected)
    }

    /// What a gate says of `requests`, each given to the sink of its number.
    fn judge(requests: &[(usize, &[u8])], expected: &Expected, depth: Depth) -> Gate {
        let sinks = [Tally::default(), Tally::default()];
        for sink in &sinks {
            sink.set(depth);
        }
        for (sink, request) in requests {
            sinks[*sink].count(request, request.len() as u64);
        }
        Total::of(sinks.map(|sink| sink.take())).judge(expected, depth, Vec::new())
    }

    #[test]
    fn what_arrives_as_it_was_sent_passes() {
        let folder = tempfile::tempdir().unwrap();
        let (messages, expected) = payload(folder.path());
        let requests: Vec<_> = messages.iter().map(|message| (0, &message[..])).collect();
        let reversed: Vec<_> = requests.iter().rev().copied().collect();
        for depth in [Depth::Bytes, Depth::Content] {
            let gate = judge(&reversed, &expected, depth);
            assert_eq!((gate.fidelity, &gate.failures[..]), (Fidelity::Bytes, &[][..]));
        }
    }

    #[test]
    fn what_is_missing_twice_or_split_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (messages, expected) = payload(folder.path());
        let all: Vec<_> = messages.iter().map(|message| (0, &message[..])).collect();
        let check = |requests: &[(usize, &[u8])], why: &str| {
            let gate = judge(requests, &expected, Depth::Bytes);
            assert!(gate.failures.iter().any(|failure| failure.contains(why)), "{gate:?}");
        };
        check(&all[1..], "spans arrived, not");
        let twice: Vec<_> = all.iter().chain(&all[..1]).copied().collect();
        check(&twice, "spans arrived, not");
        let same_count: Vec<_> =
            all[..1].iter().chain(&all[..1]).chain(&all[2..]).copied().collect();
        check(&same_count, "were changed");
        let split: Vec<_> =
            all.iter().enumerate().map(|(index, (_, request))| (index % 2, *request)).collect();
        check(&split, "traces were split: ");
    }

    #[test]
    fn another_order_of_fields_passes_in_content() {
        let folder = tempfile::tempdir().unwrap();
        let (_, expected) = payload(folder.path());
        let (look, field_order) = (Look::Plain, FieldOrder::Collector);
        let sent = Sent { spans_per_request: 50, services: 4, look, field_order };
        let again = Payload::ensure(folder.path(), sent, 3, 300).unwrap();
        let requests: Vec<_> = again.messages().iter().map(|message| (0, &message[..])).collect();
        let gate = judge(&requests, &expected, Depth::Content);
        assert_eq!((gate.fidelity, &gate.failures[..]), (Fidelity::Content, &[][..]));
        let gate = judge(&requests, &expected, Depth::Bytes);
        assert!(gate.failures[0].contains("were changed"), "{gate:?}");
    }

    #[test]
    fn renamed_traces_are_judged_by_their_new_ids() {
        let folder = tempfile::tempdir().unwrap();
        let (look, field_order) = (Look::Plain, FieldOrder::Collector);
        let sent = Sent { spans_per_request: 50, services: 4, look, field_order };
        let payload = Payload::ensure(folder.path(), sent, 3, 5_000).unwrap();
        let policies = crate::cli::PolicySet::Three;
        let [first, same, other] = [1, 1, 2].map(|key| payload.renamed(key, policies).unwrap());
        assert_eq!(first.expected, same.expected);
        assert_ne!(first.expected.bytes_sum, other.expected.bytes_sum);
        assert!(first.expected.spans > 0 && first.expected.spans < first.spans());
        let message = |work: &super::super::payload::Work| work.requests[0].body.slice(5..);
        let mut ids = Vec::new();
        for work in [&first, &other] {
            for_each_span(&message(work), Depth::Bytes, |span| {
                ids.push(u128::from_be_bytes(span.trace_id().try_into().unwrap()));
            });
        }
        let (first, other) = ids.split_at(ids.len() / 2);
        assert!(first.iter().zip(other).all(|(first, other)| first ^ 1 == other ^ 2));
    }
}
