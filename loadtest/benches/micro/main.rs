//! Micro-benchmarks of what is done for each span, and beside each what copying the same bytes costs.
//!
//! `cargo bench -p loadtest --bench micro`, with a filter such as `admit` behind `--`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use loadtest::generate::Generator;
use loadtest::oracle::Policies;
use loadtest::plan::Plan;
use shared::Batch;

mod metrics;
mod sampling;
mod wire;

/// The same allocator as in the tiers.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    wire::bench(&mut criterion);
    sampling::bench(&mut criterion);
    metrics::bench(&mut criterion);
    criterion.final_summary();
}

/// Without optimization nobody looks at the figures, so it is tried on less.
const IS_TRIAL: bool = cfg!(debug_assertions);

/// Requests of 512 spans as `loadtest measure` sends them, with at least so many spans.
fn requests(spans: usize) -> Vec<Batch> {
    let mut generator = generator();
    let (mut requests, mut made) = (Vec::new(), 0);
    while made < spans
        && let Some(request) = generator.next_request()
    {
        made += request.items();
        requests.push(request);
    }
    requests
}

/// An endless source of such requests.
fn generator() -> Generator {
    let plan = Plan { services: 8, spans_per_request: 512, ..Plan::new(1, u64::MAX) };
    Generator::new(plan, Arc::new(Policies::default()))
}

/// Spans in requests.
fn spans(requests: &[Batch]) -> usize {
    requests.iter().map(Batch::items).sum()
}

/// A group whose figures are spans a second.
fn by_span<'c>(
    criterion: &'c mut Criterion,
    name: &str,
    requests: &[Batch],
) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(spans(requests) as u64));
    group
}

/// Measures something done to each request by turns.
fn bench_requests<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    requests: &[Batch],
    mut work: impl FnMut(&Batch) -> T,
) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            for request in requests {
                black_box(work(request));
            }
        });
    });
}

/// Measures the copying of the same bytes.
fn bench_memcpy(group: &mut BenchmarkGroup<'_, WallTime>, requests: &[Batch]) {
    let longest = requests.iter().map(|request| request.bytes().len()).max();
    let mut copy = Vec::with_capacity(longest.unwrap_or_default());
    bench_requests(group, "memcpy", requests, |request| {
        copy.clear();
        copy.extend_from_slice(request.bytes());
        copy.last().copied()
    });
}
