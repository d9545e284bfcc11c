//! How often a request makes the edge allocate, from the door to the lanes.
//!
//! Allocations are counted by thread, and everything here is on one.

use std::future::poll_fn;
use std::task::Poll;

use allocation_counter::measure;
use tokio::runtime::Runtime;

use super::*;

/// So many spans of 60 traces by turns, each with an attribute.
fn request(spans: usize) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"shop"));
        entry.message(2, |scope| {
            scope.message(1, |scope| scope.bytes(1, b"library"));
            for trace in (1..=60).cycle().take(spans) {
                scope.message(2, |span| {
                    span.bytes(1, &[trace; 16]);
                    span.bytes(2, &[trace; 8]);
                    span.bytes(5, b"GET /cart");
                    span.string_attribute(9, b"http.route", b"/cart");
                });
            }
        });
    });
    writer.into_vec()
}

struct Bench {
    rig: Rig,
    runtime: Runtime,
}

impl Bench {
    fn new(endpoints: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let rig = runtime.block_on(Rig::with("join: {timeout: 0s}", endpoints));
        Self { rig, runtime }
    }

    /// How often it is allocated for a request of so many spans until all parts are in their lanes.
    fn allocations(&self, spans: usize) -> u64 {
        let request = request(spans).into();
        let exporter = &self.rig.exporter;
        let mut taking = None;
        let counted = measure(|| {
            let batch = Batch::parse(Signal::Traces, request).unwrap();
            let taking = taking.insert(exporter.consume(batch));
            // One poll: the answer is what it waits for then.
            let polled = poll_fn(|cx| Poll::Ready(taking.as_mut().poll(cx).is_pending()));
            assert!(self.runtime.block_on(polled));
        });
        self.runtime.block_on(taking.unwrap()).unwrap();
        counted.count_total
    }
}

#[test]
fn a_span_costs_no_allocation_and_a_request_to_five_backends_four_for_each() {
    // What a request takes is shared by its backends, so that one by itself costs more.
    for (backends, most) in [("a", 10), ("a b", 13), ("a b c d e", 5 * 4)] {
        let bench = Bench::new(backends);
        // Lanes and the runtime make room when they are first used.
        bench.allocations(1000);
        let (few, many) = (bench.allocations(100), bench.allocations(1000));
        assert_eq!(few, many, "for 100 and for 1,000 spans to {backends}");
        let attempts = bench.rig.attempts(backends);
        assert!(attempts.iter().all(|attempts| *attempts == 3), "each gets some of each request");
        assert!(many <= most, "{many} to {backends}");
    }
}
