//! How often the hot paths allocate. Allocations are counted by thread, so the tests may run side by
//! side.
//!
//! That a span costs none is shown by requests of 100 and of 1,000 spans that cost equally many. The
//! door and the edge's path, and the backend's shards, have such tests of their own beside them.

mod conditions;
mod span_metrics;

/// How often `work` allocates on this thread.
fn allocations_of(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}
