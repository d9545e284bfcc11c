//! A receiver that misbehaves on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use shared::clock;
use shared::transport::compression::{Coding, inflate};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::protocol::{Got, Metadata, read_v1, read_v2};

/// A request that came in.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) headers: HeaderMap,
    /// Uncompressed.
    pub(super) size: usize,
    pub(super) samples: Vec<Got>,
    pub(super) metadata: Vec<Metadata>,
    pub(super) at: Instant,
    /// Whether it was taken.
    pub(super) taken: bool,
}

/// What the receiver answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
}

impl Answer {
    pub(super) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new() }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Taken, with the counts of all that was in it.
    pub(super) fn written(samples: &[Got]) -> Self {
        let histograms = samples.iter().filter(|got| got.histogram.is_some()).count();
        let exemplars: usize = samples.iter().map(|got| got.exemplars.len()).sum();
        Self::status(204)
            .header("x-prometheus-remote-write-samples-written", samples.len() - histograms)
            .header("x-prometheus-remote-write-histograms-written", histograms)
            .header("x-prometheus-remote-write-exemplars-written", exemplars)
    }
}

type Script = dyn Fn(usize, &[Got]) -> Answer + Send + Sync;

/// A receiver. It serves until it is dropped.
pub(super) struct Receiver {
    pub(super) url: String,
    requests: Arc<watch::Sender<Vec<Request>>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// One that answers what `script` says of the number of a request and its samples.
    pub(super) async fn start(
        script: impl Fn(usize, &[Got]) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap());
        let requests = Arc::new(watch::channel(Vec::new()).0);
        let script: Arc<Script> = Arc::new(script);
        let handler = {
            let (requests, taking) = (Arc::clone(&requests), Arc::new(Mutex::new(())));
            move |headers: HeaderMap, body: Bytes| {
                let _one_at_a_time = taking.lock().unwrap();
                let answer = take(&requests, &script, headers, &body);
                std::future::ready(answer)
            }
        };
        let router = Router::new().route("/api/v1/write", post(handler));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, requests, serving }
    }

    /// One that takes everything.
    pub(super) async fn willing() -> Self {
        Self::start(|_, samples| Answer::written(samples)).await
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.borrow().clone()
    }

    /// Waits until as many requests came in.
    pub(super) async fn came(&self, count: usize) -> Vec<Request> {
        let mut seen = self.requests.subscribe();
        seen.wait_for(|requests| requests.len() >= count).await.unwrap().clone()
    }

    /// Waits until as many samples were taken.
    pub(super) async fn took(&self, count: usize) -> Vec<Got> {
        let mut seen = self.requests.subscribe();
        let requests = seen.wait_for(|requests| taken(requests).len() >= count).await.unwrap();
        taken(&requests)
    }

    /// The values that were taken, by series, in their order.
    pub(super) fn values(&self) -> BTreeMap<String, Vec<f64>> {
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for got in taken(&self.requests()) {
            values.entry(got.series).or_default().push(got.value);
        }
        values
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn taken(requests: &[Request]) -> Vec<Got> {
    let taken = requests.iter().filter(|request| request.taken);
    taken.flat_map(|request| request.samples.clone()).collect()
}

fn take(
    requests: &watch::Sender<Vec<Request>>,
    script: &Arc<Script>,
    headers: HeaderMap,
    body: &[u8],
) -> (StatusCode, HeaderMap) {
    let request = inflate(Coding::Snappy, body, 100 << 20).unwrap();
    let (samples, metadata) = match headers["content-type"].as_bytes() {
        b"application/x-protobuf" => read_v1(&request),
        _ => (read_v2(&request), Vec::new()),
    };
    let answer = script(requests.borrow().len(), &samples);
    let status = StatusCode::from_u16(answer.status).unwrap();
    let taken = status.is_success();
    let (size, at) = (request.len(), clock::now());
    requests.send_modify(|requests| {
        requests.push(Request { headers, size, samples, metadata, at, taken });
    });
    let headers =
        answer.headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    (status, headers.collect())
}
