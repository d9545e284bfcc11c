//! The traces that wait, told the time.
//!
//! All wait equally long from their first span, so the order in which they came is the order in
//! which they are due, and also the one in which they make room.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::batch::Batch;

/// What a trace takes besides the bytes of its spans.
pub(super) const UPKEEP: usize = 256;

/// The id of a trace.
pub(super) type TraceId = [u8; 16];

/// How long traces wait, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) wait: Duration,
    pub(super) traces: usize,
    pub(super) bytes: usize,
}

/// A trace that is let go.
#[derive(Debug)]
pub(super) struct Released {
    /// Its spans, as they came.
    pub(super) parts: Vec<Batch>,
    /// Whether it had to make room before its time.
    pub(super) is_evicted: bool,
}

struct Waiting {
    parts: Vec<Batch>,
    bytes: usize,
}

/// The traces that wait.
pub(super) struct Groups {
    limits: Limits,
    /// In the order of their first spans, with the time they are due.
    order: VecDeque<(TraceId, Instant)>,
    traces: HashMap<TraceId, Waiting>,
    bytes: usize,
}

impl Groups {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, order: VecDeque::new(), traces: HashMap::new(), bytes: 0 }
    }

    /// Adds spans of a trace.
    pub(super) fn add(&mut self, id: TraceId, part: Batch, now: Instant) {
        let (order, due) = (&mut self.order, now + self.limits.wait);
        let mut bytes = part.bytes().len();
        let trace = self.traces.entry(id).or_insert_with(|| {
            order.push_back((id, due));
            bytes += UPKEEP;
            Waiting { parts: Vec::new(), bytes: 0 }
        });
        trace.parts.push(part);
        trace.bytes += bytes;
        self.bytes += bytes;
    }

    /// The next trace that is due or has to make room.
    pub(super) fn release(&mut self, now: Instant) -> Option<Released> {
        let (_, due) = self.order.front()?;
        let is_due = *due <= now;
        let is_over = self.traces.len() > self.limits.traces || self.bytes > self.limits.bytes;
        if !is_due && !is_over {
            return None;
        }
        self.pop().map(|parts| Released { parts, is_evicted: !is_due })
    }

    /// The next trace, whatever the time.
    pub(super) fn pop(&mut self) -> Option<Vec<Batch>> {
        let (id, _) = self.order.pop_front()?;
        let trace = self.traces.remove(&id).expect("a trace in the order is there");
        self.bytes -= trace.bytes;
        Some(trace.parts)
    }

    /// When the next trace is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.order.front().map(|(_, due)| *due)
    }

    /// How many traces wait.
    pub(super) fn len(&self) -> usize {
        self.traces.len()
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::tests::spans;

    fn groups(traces: usize, bytes: usize) -> Groups {
        Groups::new(Limits { wait: Duration::from_secs(1), traces, bytes })
    }

    /// The number of spans of each trace that is let go, and whether it was evicted.
    fn released(groups: &mut Groups, now: Instant) -> Vec<(usize, bool)> {
        let released = std::iter::from_fn(|| groups.release(now));
        let items = |parts: &[Batch]| parts.iter().map(Batch::items).sum::<usize>();
        released.map(|trace| (items(&trace.parts), trace.is_evicted)).collect()
    }

    #[test]
    fn a_trace_waits_from_its_first_span() {
        let (mut groups, start) = (groups(10, usize::MAX), crate::clock::now());
        let after = |millis| start + Duration::from_millis(millis);
        groups.add([1; 16], spans(1), start);
        groups.add([2; 16], spans(1), after(400));
        groups.add([1; 16], spans(2), after(900));
        assert_eq!(groups.due(), Some(after(1000)));
        assert_eq!(released(&mut groups, after(999)), []);
        assert_eq!(released(&mut groups, after(1000)), [(3, false)]);
        groups.add([1; 16], spans(4), after(1100));
        assert_eq!(released(&mut groups, after(1400)), [(1, false)]);
        assert_eq!(released(&mut groups, after(2100)), [(4, false)]);
        assert_eq!((groups.len(), groups.bytes(), groups.due()), (0, 0, None));
    }

    #[test]
    fn the_oldest_makes_room() {
        let (mut by_number, now) = (groups(2, usize::MAX), crate::clock::now());
        for id in 1..=4 {
            by_number.add([id; 16], spans(id.into()), now);
        }
        assert_eq!(released(&mut by_number, now), [(1, true), (2, true)]);
        let part = spans(1).bytes().len();
        let mut by_bytes = groups(100, 2 * (part + UPKEEP));
        for id in 1..=3 {
            by_bytes.add([id; 16], spans(1), now);
        }
        assert_eq!(released(&mut by_bytes, now), [(1, true)]);
        assert_eq!(by_bytes.bytes(), 2 * (part + UPKEEP));
        by_bytes.add([3; 16], spans(1000), now);
        assert_eq!(released(&mut by_bytes, now), [(1, true), (1001, true)]);
    }
}
