//! As many requests of one span as go, over few connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shared::config::Compression;
use shared::wire::Writer;
use shared::{Batch, Signal};
use tokio_util::sync::CancellationToken;

use super::{Options, Told};
use crate::report::{latency, per_second, thousands};
use crate::send::{Counts, Load, Source};
use crate::testbed::cluster::client;

const CONNECTIONS: usize = 4;

/// Requests on their way at a time, over all connections.
const CONCURRENCY: usize = 512;

/// Requests of one span, each of a trace of its own.
struct OneSpan {
    made: u64,
    left: u64,
}

impl Source for OneSpan {
    fn next_request(&mut self) -> Option<Batch> {
        self.left = self.left.checked_sub(1)?;
        self.made += 1;
        Some(request(self.made))
    }

    fn finish(&mut self) {
        self.left = 0;
    }
}

fn request(number: u64) -> Batch {
    let mut trace_id = [0xf1; 16];
    trace_id[8..].copy_from_slice(&number.to_be_bytes());
    let mut writer = Writer::new();
    writer.message(1, |resource| {
        resource.message(2, |scope| {
            scope.message(2, |span| {
                span.bytes(1, &trace_id);
                span.bytes(2, &number.to_be_bytes());
                span.bytes(5, b"flood");
            });
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).expect("one span is a request")
}

/// Sends them all.
pub(super) async fn flood(endpoint: SocketAddr, options: &Options) -> Told {
    let targets = (0..CONNECTIONS).map(|_| client(endpoint, Compression::None));
    let targets = match targets.collect::<Result<Vec<_>, _>>() {
        Ok(targets) => targets,
        Err(error) => return Told { failure: Some(error.to_string()), ..Told::default() },
    };
    let patience = Duration::from_secs(60);
    let load = Load { targets, concurrency: CONCURRENCY, rate: None, patience };
    let counts = Arc::new(Counts::default());
    let source = OneSpan { made: 0, left: options.requests };
    let outcome = load.run(source, Arc::clone(&counts), CancellationToken::new()).await;
    let rate = thousands(per_second(counts.sent(), outcome.elapsed));
    let retries = thousands(counts.retries.load(Ordering::Relaxed));
    let given_up = counts.failed_spans.load(Ordering::Relaxed);
    let note = format!("{rate} a second, {retries} retries; {}", latency(&outcome.latency));
    Told {
        rows: vec![("flood's requests acknowledged", thousands(counts.sent()), note)],
        acknowledged_spans: counts.sent(),
        failure: (given_up > 0).then(|| format!("{} requests given up", thousands(given_up))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_a_span_of_a_trace_of_its_own() {
        let mut source = OneSpan { made: 0, left: 2 };
        let (first, second) = (source.next_request().unwrap(), source.next_request().unwrap());
        assert_eq!((first.items(), second.items()), (1, 1));
        assert_ne!(first, second);
        assert!(source.next_request().is_none());
    }
}
