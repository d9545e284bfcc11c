//! The backend's sampler: taking in, deciding, sealing, letting go.

use std::hint::black_box;
use std::time::{Duration, Instant};

use backend::Sampler;
use criterion::{Bencher, Criterion, Throughput};
use shared::Batch;
use shared::clock::now;

use super::{IS_TRIAL, bench_memcpy, by_span, generator, requests};

/// What nothing is kept by.
const NONE: &str = "{name: none, type: span_count, span_count: {min_spans: 1000000}}";

/// As in `loadtest/bench/policies-ten.json`.
const TEN: &str = "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}, \
    {name: slow, type: latency, latency: {threshold_ms: 1000}}, \
    {name: one-in-hundred, type: probabilistic, probabilistic: {sampling_percentage: 1}}, \
    {name: some-checkouts, type: and, and: {and_sub_policy: [\
        {name: checkout, type: string_attribute, \
            string_attribute: {key: service.name, values: [checkout]}}, \
        {name: share, type: probabilistic, \
            probabilistic: {sampling_percentage: 1, hash_salt: checkout}}]}}, \
    {name: admin-routes, type: string_attribute, string_attribute: \
        {key: http.route, values: ['^/admin/', '^/internal/'], enabled_regex_matching: true}}, \
    {name: huge-uploads, type: numeric_attribute, numeric_attribute: \
        {key: http.request.body.size, min_value: 1000000000, max_value: 2000000000}}, \
    {name: marked, type: boolean_attribute, boolean_attribute: {key: app.debug, value: true}}, \
    {name: vendor, type: trace_state, trace_state: {key: vendor, values: [keep]}}, \
    {name: very-long, type: span_count, span_count: {min_spans: 100000}}, \
    {name: failed-payments, type: ottl_condition, ottl_condition: {span: [\
        'attributes[\"rpc.method\"] == \"Charge\" and attributes[\"rpc.grpc.status_code\"] == 99']}}";

/// Nothing is remembered, so that the same traces may come again.
const FORGETFUL: &str =
    "decision_cache: {sampled_cache_size: 0, non_sampled_cache_size: 0}, num_traces: 10000000";

fn sampler(policies: &str, keys: &str) -> Sampler {
    let section = format!("{{{keys}, early_release: false, policies: [{policies}]}}");
    Sampler::new(&section).expect("the section is right")
}

pub(super) fn bench(criterion: &mut Criterion) {
    // More bytes than the second level of the cache has, so most of the buffer is elsewhere.
    let requests = requests(if IS_TRIAL { 512 } else { 50_000 });
    let sizes = [("one policy", NONE), ("ten policies", TEN)];

    let mut group = by_span(criterion, "admit", &requests);
    for (name, policies) in sizes {
        let mut sampler = sampler(policies, FORGETFUL);
        group.bench_function(name, |bencher| {
            timed(bencher, &mut sampler, |sampler| {
                let took = time(|| requests.iter().for_each(|request| sampler.admit(request)));
                let_go(sampler);
                took
            });
        });
    }
    bench_memcpy(&mut group, &requests);
    group.finish();

    let mut group = by_span(criterion, "decide", &requests);
    for (name, policies) in sizes {
        let mut sampler = sampler(policies, FORGETFUL);
        group.bench_function(name, |bencher| {
            timed(bencher, &mut sampler, |sampler| {
                for request in &requests {
                    sampler.admit(request);
                }
                time(|| let_go(sampler))
            });
        });
    }
    bench_memcpy(&mut group, &requests);
    group.finish();

    bench_sealing(criterion, &requests);
    bench_letting_go(criterion);
}

fn bench_sealing(criterion: &mut Criterion, requests: &[Batch]) {
    let mut group = criterion.benchmark_group("seal");
    let bytes: usize = requests.iter().map(|request| request.bytes().len()).sum();
    group.throughput(Throughput::Bytes(bytes as u64));
    let mut sampler = sampler(NONE, &format!("buffer_compression: lz4, {FORGETFUL}"));
    group.bench_function("lz4", |bencher| {
        timed(bencher, &mut sampler, |sampler| {
            for request in requests {
                sampler.admit(request);
            }
            let took = time(|| while sampler.upkeep() {});
            let_go(sampler);
            took
        });
    });
    bench_memcpy(&mut group, requests);
    group.finish();
}

/// A million spans that none keeps, and what is done at a stretch while they are let go.
fn bench_letting_go(criterion: &mut Criterion) {
    let count = if IS_TRIAL { 512 } else { 1_000_000 };
    let mut group = criterion.benchmark_group("let go of a million spans");
    group.sample_size(10).warm_up_time(Duration::from_millis(1));
    let mut generator = generator();
    let mut sampler = sampler(NONE, "num_traces: 10000000, max_buffer_bytes: 8000000000");
    let mut fill = |sampler: &mut Sampler| {
        while sampler.spans() < count {
            sampler.admit(&generator.next_request().expect("it is endless"));
        }
        sampler.pass();
    };
    group.bench_function("in all", |bencher| {
        timed(bencher, &mut sampler, |sampler| {
            fill(sampler);
            time(|| while sampler.judge() {})
        });
    });
    group.bench_function("the longest slice", |bencher| {
        timed(bencher, &mut sampler, |sampler| {
            fill(sampler);
            let mut longest = Duration::ZERO;
            let mut goes_on = true;
            while goes_on {
                longest = longest.max(time(|| goes_on = sampler.judge()));
            }
            longest
        });
    });
    group.finish();
}

/// Lets all that waits leave.
fn let_go(sampler: &mut Sampler) {
    sampler.pass();
    while sampler.judge() {
        while sampler.take().is_some() {}
    }
    while let Some(request) = sampler.take() {
        drop(black_box(request));
    }
}

/// Measures what `round` says that it took.
fn timed(
    bencher: &mut Bencher<'_>,
    sampler: &mut Sampler,
    mut round: impl FnMut(&mut Sampler) -> Duration,
) {
    bencher.iter_custom(|rounds| (0..rounds).map(|_| round(sampler)).sum());
}

fn time(work: impl FnOnce()) -> Duration {
    let begun: Instant = now();
    work();
    now() - begun
}
