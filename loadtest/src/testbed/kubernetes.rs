//! A Kubernetes API server, as far as `EndpointSlices` go: lists in pages, watches with bookmarks,
//! old versions that are gone, and failures as told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::TestbedError;

/// Where the slices are.
pub const NAMESPACE: &str = "observability";
/// The service that they belong to.
pub const SERVICE: &str = "backend";
/// Slices in a page, however many were asked for.
const PAGE: usize = 2;

/// The server; it stops when this is dropped.
pub struct ApiServer {
    address: SocketAddr,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

struct State {
    cluster: Mutex<Cluster>,
    /// Wakes the watches.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Cluster {
    version: u64,
    slices: BTreeMap<String, Value>,
    /// Each with the version that it led to.
    events: Vec<(u64, Value)>,
    /// Watches from before this version are refused.
    oldest: u64,
    /// What every request is answered with instead.
    refusal: Option<u16>,
    /// Counts how often all watches were cut off.
    cut: u64,
    requests: Vec<String>,
}

impl ApiServer {
    /// Serves on a free port of `host`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(host: Ipv4Addr) -> Result<Self, TestbedError> {
        let failed =
            |error: io::Error| TestbedError::new(format!("cannot serve an API on {host}: {error}"));
        let listener = TcpListener::bind((host, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let cluster = Mutex::new(Cluster { version: 100, ..Cluster::default() });
        let state = Arc::new(State { cluster, changed: watch::Sender::new(()) });
        let task = AbortOnDropHandle::new(tokio::spawn(serve(listener, Arc::clone(&state))));
        Ok(Self { address, state, _task: task })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A slice is these endpoints now: `address`, `hostname@address`, with `!` in front if it is
    /// not ready.
    pub fn put(&self, name: &str, endpoints: &[&str]) {
        let endpoints: Vec<Value> = endpoints.iter().map(|text| endpoint(text)).collect();
        let mut cluster = self.state.cluster();
        cluster.version += 1;
        let version = cluster.version;
        let slice = json!({
            "metadata": {
                "name": name,
                "resourceVersion": version.to_string(),
                "labels": {"kubernetes.io/service-name": SERVICE},
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
        });
        let old = cluster.slices.insert(name.to_owned(), slice.clone());
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        cluster.events.push((version, json!({"type": kind, "object": slice})));
        drop(cluster);
        self.state.changed.send_replace(());
    }

    /// A slice is gone.
    pub fn delete(&self, name: &str) {
        let mut cluster = self.state.cluster();
        cluster.version += 1;
        let version = cluster.version;
        if let Some(mut slice) = cluster.slices.remove(name) {
            slice["metadata"]["resourceVersion"] = json!(version.to_string());
            cluster.events.push((version, json!({"type": "DELETED", "object": slice})));
        }
        drop(cluster);
        self.state.changed.send_replace(());
    }

    /// Something else changed, which a bookmark tells the watches.
    pub fn bookmark(&self) {
        let mut cluster = self.state.cluster();
        cluster.version += 1;
        let version = cluster.version;
        let object = json!({"metadata": {"resourceVersion": version.to_string()}});
        cluster.events.push((version, json!({"type": "BOOKMARK", "object": object})));
        drop(cluster);
        self.state.changed.send_replace(());
    }

    /// All versions before the present one are gone: a watch that is at one is told so.
    pub fn forget(&self) {
        let mut cluster = self.state.cluster();
        cluster.oldest = cluster.version;
        cluster.events.clear();
        drop(cluster);
        self.hang_up();
    }

    /// Answers every request with this status from now on; `None` ends that.
    pub fn refuse(&self, status: Option<u16>) {
        self.state.cluster().refusal = status;
    }

    /// Cuts all watches off, in the middle of what they say.
    pub fn hang_up(&self) {
        self.state.cluster().cut += 1;
        self.state.changed.send_replace(());
    }

    /// The queries of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.state.cluster().requests.clone()
    }
}

fn endpoint(text: &str) -> Value {
    let (ready, text) = match text.strip_prefix('!') {
        Some(text) => (false, text),
        None => (true, text),
    };
    let (hostname, address) = match text.split_once('@') {
        Some((hostname, address)) => (Some(hostname), address),
        None => (None, text),
    };
    json!({"addresses": [address], "hostname": hostname, "conditions": {"ready": ready}})
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = state.answer(&request);
                async { Ok::<_, Infallible>(answer) }
            });
            // A client that hangs up needs no answer.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

impl State {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(self: &Arc<Self>, request: &Request<Incoming>) -> Response<Feed> {
        let query = request.uri().query().unwrap_or_default();
        let parameter = |name: &str| {
            let of_name =
                |pair: &str| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
            query.split('&').find_map(of_name)
        };
        let mut cluster = self.cluster();
        cluster.requests.push(query.to_owned());
        if let Some(status) = cluster.refusal {
            return refusal(status, "as told");
        }
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices");
        let selector = format!("kubernetes.io%2Fservice-name%3D{SERVICE}");
        if request.uri().path() != path || parameter("labelSelector") != Some(selector) {
            return refusal(404, "no such slices");
        }
        if parameter("watch").is_none() {
            let from = parameter("continue").and_then(|from| from.parse().ok()).unwrap_or(0);
            return Response::new(Feed::whole(&cluster.list(from)));
        }
        let version = parameter("resourceVersion").and_then(|version| version.parse().ok());
        let seconds = parameter("timeoutSeconds").and_then(|seconds| seconds.parse().ok());
        let (Some(version), Some(seconds)) = (version, seconds) else {
            return refusal(400, "no version or no time");
        };
        if version < cluster.oldest {
            return refusal(410, "too old resource version");
        }
        let (sender, receiver) = mpsc::channel(16);
        let ends = Instant::now() + Duration::from_secs(seconds);
        let (state, cut) = (Arc::clone(self), cluster.cut);
        tokio::spawn(async move {
            // When the client is gone there is nobody to tell.
            drop(tokio::time::timeout_at(ends, state.feed(version, cut, sender)).await);
        });
        Response::new(Feed(receiver))
    }

    /// Tells what comes after a version, until all watches are cut off.
    async fn feed(&self, mut version: u64, cut: u64, sender: mpsc::Sender<io::Result<Bytes>>) {
        let mut changed = self.changed.subscribe();
        loop {
            let (lines, is_cut) = {
                let cluster = self.cluster();
                let new = cluster.events.iter().filter(|(of, _)| *of > version);
                let lines: Vec<_> = new.map(|(of, event)| (*of, format!("{event}\n"))).collect();
                (lines, cluster.cut != cut)
            };
            if is_cut {
                // The beginning of a line, and then nothing.
                let half = Ok(Bytes::from_static(b"{\"type\":"));
                let broken = Err(io::ErrorKind::ConnectionReset.into());
                for frame in [half, broken] {
                    drop(sender.send(frame).await);
                }
                return;
            }
            for (of, line) in lines {
                version = of;
                if sender.send(Ok(line.into())).await.is_err() {
                    return;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Cluster {
    fn list(&self, from: usize) -> Value {
        let items: Vec<&Value> = self.slices.values().skip(from).take(PAGE).collect();
        let to = from + items.len();
        let next = if to < self.slices.len() { to.to_string() } else { String::new() };
        let metadata = json!({"resourceVersion": self.version.to_string(), "continue": next});
        json!({"kind": "EndpointSliceList", "metadata": metadata, "items": items})
    }
}

fn refusal(status: u16, message: &str) -> Response<Feed> {
    let body = Feed::whole(&json!({"kind": "Status", "code": status, "message": message}));
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    response
}

/// A body that goes on for as long as somebody feeds it.
struct Feed(mpsc::Receiver<io::Result<Bytes>>);

impl Feed {
    fn whole(value: &Value) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        drop(sender.try_send(Ok(value.to_string().into())));
        Self(receiver)
    }
}

impl Body for Feed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.get_mut().0.poll_recv(cx).map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }
}
