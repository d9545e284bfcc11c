//! The time that spans spend outside their children, as far as a batch holds whole traces.
//!
//! A trace of which a span id occurs twice, or that has both a root and a span whose parent is
//! not there, is skipped. So is a span that ends before it starts.
//!
//! Source: contrib `connector/spanmetricsconnector/self_time.go`.

use crate::wire::Span;

/// What is known of a span's self time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SelfTime {
    /// In nanoseconds.
    Known(u64),
    /// Its trace is not complete in this batch.
    Incomplete,
    /// It has no ids, or it ends before it starts.
    Unusable,
}

/// A span, as far as self times depend on it.
#[derive(Debug, Clone, Copy)]
struct Node {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    parent_id: [u8; 8],
    start_ns: u64,
    end_ns: u64,
    /// Where its result goes.
    index: usize,
}

/// The self times of `spans`, in their order.
pub(crate) fn self_times<'a>(spans: impl Iterator<Item = &'a [u8]>) -> Vec<SelfTime> {
    let mut nodes = Vec::new();
    let mut results = Vec::new();
    for raw in spans {
        let span = Span::read(raw);
        nodes.extend(Node::of(&span, results.len()));
        results.push(SelfTime::Unusable);
    }
    nodes.sort_unstable_by_key(|node| (node.trace_id, node.span_id));
    for trace in nodes.chunk_by(|one, next| one.trace_id == next.trace_id) {
        judge(trace, &mut results);
    }
    results
}

impl Node {
    fn of(span: &Span<'_>, index: usize) -> Option<Self> {
        let node = Self {
            trace_id: span.trace_id.try_into().ok()?,
            span_id: span.span_id.try_into().ok()?,
            parent_id: span.parent_span_id.try_into().unwrap_or_default(),
            start_ns: span.start_ns,
            end_ns: span.end_ns,
            index,
        };
        (node.trace_id != [0; 16] && node.span_id != [0; 8]).then_some(node)
    }

    fn is_root(&self) -> bool {
        self.parent_id == [0; 8]
    }
}

/// Notes the results of a trace, whose spans are sorted by their ids.
fn judge(trace: &[Node], results: &mut [SelfTime]) {
    let find = |id: [u8; 8]| trace.binary_search_by_key(&id, |node| node.span_id).ok();
    let is_repeated = trace.windows(2).any(|pair| pair[0].span_id == pair[1].span_id);
    // Children as intervals within their parents, by parent and start.
    let mut children: Vec<(usize, u64, u64)> = Vec::new();
    let (mut has_root, mut lacks_parent) = (false, false);
    for node in trace {
        if node.is_root() {
            has_root = true;
        } else if let Some(index) = find(node.parent_id) {
            let parent = &trace[index];
            let (start_ns, end_ns) =
                (node.start_ns.max(parent.start_ns), node.end_ns.min(parent.end_ns));
            if start_ns < end_ns {
                children.push((index, start_ns, end_ns));
            }
        } else {
            lacks_parent = true;
        }
    }
    if is_repeated || has_root && lacks_parent {
        return trace.iter().for_each(|node| results[node.index] = SelfTime::Incomplete);
    }
    children.sort_unstable();
    let mut covered_ns = vec![0_u64; trace.len()];
    for siblings in children.chunk_by(|one, next| one.0 == next.0) {
        covered_ns[siblings[0].0] = union_ns(siblings);
    }
    for (node, covered_ns) in trace.iter().zip(covered_ns) {
        if let Some(duration_ns) = node.end_ns.checked_sub(node.start_ns) {
            results[node.index] = SelfTime::Known(duration_ns.saturating_sub(covered_ns));
        }
    }
}

/// The length of the union of intervals that are sorted by their start.
fn union_ns(intervals: &[(usize, u64, u64)]) -> u64 {
    let (mut length, mut reached) = (0, 0);
    for (_, start_ns, end_ns) in intervals {
        let start_ns = reached.max(*start_ns);
        length += end_ns.saturating_sub(start_ns);
        reached = reached.max(*end_ns);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    /// A span: its trace, its id, its parent's (0 is none), its start and its end.
    type Row = (u8, u8, u8, u64, u64);

    fn check(rows: &[Row], expected: &[SelfTime]) {
        let spans: Vec<Vec<u8>> = rows
            .iter()
            .map(|(trace, id, parent, start_ns, end_ns)| {
                let mut writer = Writer::new();
                writer.bytes(1, &[*trace; 16]);
                writer.bytes(2, &[*id; 8]);
                writer.bytes(4, &[*parent; 8]);
                writer.fixed64(7, *start_ns);
                writer.fixed64(8, *end_ns);
                writer.into_vec()
            })
            .collect();
        assert_eq!(self_times(spans.iter().map(Vec::as_slice)), expected, "{rows:?}");
    }

    use SelfTime::{Incomplete, Known, Unusable};

    #[test]
    fn what_children_cover_together_is_taken_off() {
        // Two overlapping, one apart, one that runs on behind its parent.
        check(
            &[(1, 1, 0, 0, 100), (1, 2, 1, 10, 40), (1, 3, 1, 30, 50), (1, 4, 1, 90, 130)],
            &[Known(50), Known(30), Known(20), Known(40)],
        );
        // A grandchild takes off its parent's only.
        check(
            &[(1, 3, 2, 20, 30), (1, 1, 0, 0, 100), (1, 2, 1, 10, 40)],
            &[Known(10), Known(70), Known(20)],
        );
        // A child within another.
        check(
            &[(1, 1, 0, 0, 9), (1, 2, 1, 1, 8), (1, 3, 1, 2, 3)],
            &[Known(2), Known(7), Known(1)],
        );
    }

    #[test]
    fn traces_are_told_apart() {
        check(&[(1, 1, 0, 0, 10), (2, 2, 1, 2, 5)], &[Known(10), Known(3)]);
        check(
            &[(1, 1, 0, 0, 10), (2, 1, 0, 0, 20), (2, 2, 1, 0, 5)],
            &[Known(10), Known(15), Known(5)],
        );
    }

    #[test]
    fn a_part_of_a_trace_has_no_self_times() {
        check(&[(1, 1, 0, 0, 10), (1, 2, 9, 2, 5)], &[Incomplete, Incomplete]);
        check(
            &[(1, 1, 0, 0, 10), (1, 1, 0, 0, 10), (2, 1, 0, 0, 3)],
            &[Incomplete, Incomplete, Known(3)],
        );
        // All below one remote parent: a whole subtree, as far as anybody can tell.
        check(&[(1, 1, 9, 0, 10), (1, 2, 1, 2, 5)], &[Known(7), Known(3)]);
    }

    #[test]
    fn a_span_without_ids_or_with_its_end_first_is_not_measured() {
        check(&[(0, 1, 0, 0, 10), (1, 0, 0, 0, 10)], &[Unusable, Unusable]);
        check(&[(1, 1, 0, 0, 10), (1, 2, 1, 8, 5)], &[Known(10), Unusable]);
    }
}
