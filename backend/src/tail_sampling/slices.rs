//! A large request is taken in a little at a time, so that decisions, and other tasks, get their turn
//! meanwhile.

use std::collections::VecDeque;
use std::ops::Range;

use shared::Batch;
use shared::queue::{Sizer, split};
use shared::wire::{Fields, count};

/// Bytes of spans that are taken in at a time: about half a millisecond's work.
const SLICE_BYTES: usize = 512 << 10;

/// The batch as one or more, in its order.
///
/// Whole resource entries share its bytes. One that is far too large by itself is cut, which copies
/// it.
pub(super) fn slices(batch: Batch) -> VecDeque<Batch> {
    let mut slices = VecDeque::new();
    let bytes = batch.bytes();
    if bytes.len() <= SLICE_BYTES {
        slices.push_back(batch);
        return slices;
    }
    let (mut begin, mut end) = (0, 0);
    let mut fields = Fields::new(bytes);
    while fields.next().is_some() {
        let next = bytes.len() - fields.remaining();
        if next - begin > SLICE_BYTES && end > begin {
            push(&batch, begin..end, &mut slices);
            begin = end;
        }
        end = next;
    }
    push(&batch, begin..bytes.len(), &mut slices);
    slices
}

fn push(batch: &Batch, range: Range<usize>, slices: &mut VecDeque<Batch>) {
    let bytes = batch.bytes().slice(range);
    let items = count(batch.signal(), &bytes);
    let slice = batch.part(bytes, items);
    if slice.bytes().len() <= 2 * SLICE_BYTES {
        slices.push_back(slice);
        return;
    }
    let (first, rest) = split(&slice, SLICE_BYTES, SLICE_BYTES, Sizer::Bytes);
    slices.extend(first.into_iter().chain(rest));
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestSpan, batch, read};
    use super::*;

    /// So many spans of 10 KiB of each of these services.
    fn spans(services: Range<u64>, each: u64) -> Vec<TestSpan> {
        let numbers = services.flat_map(|service| (0..each).map(move |number| (service, number)));
        numbers
            .map(|(service, number)| TestSpan {
                service,
                padding: 10 << 10,
                ..TestSpan::new(number + 1, service * each + number)
            })
            .collect()
    }

    #[track_caller]
    fn check(spans: &[TestSpan], most_bytes: usize) -> VecDeque<Batch> {
        let slices = slices(batch(spans));
        let found: Vec<TestSpan> = slices.iter().flat_map(|slice| read(slice).0).collect();
        assert_eq!(found, spans);
        for slice in &slices {
            assert!(slice.bytes().len() <= most_bytes, "{}", slice.bytes().len());
        }
        slices
    }

    #[test]
    fn a_small_request_stays_as_it_is() {
        let request = batch(&spans(0..10, 4));
        let slices = slices(request.clone());
        assert_eq!(slices.len(), 1);
        assert_eq!(slices[0].bytes().as_ptr(), request.bytes().as_ptr());
    }

    #[test]
    fn whole_entries_go_together_and_share_the_bytes() {
        let slices = check(&spans(0..100, 4), SLICE_BYTES);
        assert_eq!(slices.len(), 9, "4 MB in entries of 41 KB");
        for (slice, next) in slices.iter().zip(slices.iter().skip(1)) {
            assert_eq!(slice.bytes().as_ptr_range().end, next.bytes().as_ptr_range().start);
        }
    }

    #[test]
    fn an_entry_that_is_too_large_is_cut_by_its_spans() {
        assert_eq!(check(&spans(0..2, 150), 2 * SLICE_BYTES).len(), 6);
    }
}
