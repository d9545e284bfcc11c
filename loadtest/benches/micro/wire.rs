//! The edge's path: the check at the door, looking keys up on the ring, and cutting by trace id.

use criterion::Criterion;
use shared::membership::{Ring, RingHash};
use shared::wire::export::{ResourceEntry, ScopeEntry, resources};
use shared::{Batch, Signal, wire};

use super::{IS_TRIAL, bench_memcpy, bench_requests, by_span, requests};

pub(super) fn bench(criterion: &mut Criterion) {
    // Few enough bytes for the second level of the cache, as a request has just been received.
    let requests = requests(if IS_TRIAL { 512 } else { 1024 });

    let mut group = by_span(criterion, "scan", &requests);
    bench_requests(&mut group, "check", &requests, |request| {
        wire::check(Signal::Traces, request.bytes()).is_ok()
    });
    bench_memcpy(&mut group, &requests);
    group.finish();

    let mut group = by_span(criterion, "ring", &requests);
    for backends in [5, 300] {
        let ring = ring(backends);
        bench_requests(&mut group, &format!("{backends} backends"), &requests, |request| {
            spans_of(request).fold(0, |sum, span| sum + owner(&ring, request, span))
        });
    }
    bench_requests(&mut group, "walk to each span only", &requests, |request| {
        spans_of(request).fold(0, |sum, span| sum + span.len())
    });
    bench_memcpy(&mut group, &requests);
    group.finish();

    let mut group = by_span(criterion, "regroup", &requests);
    for backends in [5, 300] {
        let ring = ring(backends);
        bench_requests(&mut group, &format!("{backends} backends"), &requests, |request| {
            request.regroup_indexed(|span| owner(&ring, request, span))
        });
    }
    bench_memcpy(&mut group, &requests);
    group.finish();
}

fn ring(backends: usize) -> Ring {
    Ring::new(RingHash::Xxh3, (0..backends).map(|number| format!("backend-{number}:4317")))
}

fn owner(ring: &Ring, request: &Batch, span: &[u8]) -> usize {
    ring.owner(request.trace_id(span)).expect("the ring has backends")
}

fn spans_of(request: &Batch) -> impl Iterator<Item = &[u8]> {
    resources(request.bytes()).flat_map(ResourceEntry::scopes).flat_map(ScopeEntry::records)
}
