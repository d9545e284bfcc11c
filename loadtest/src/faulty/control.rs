//! The side that the runner talks to: `PUT /fault`, `GET /fault`, `GET /report`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::record::{self, Kind};
use super::serve::Backend;
use crate::testbed::TestbedError;

/// Serves on `address` until the task is aborted.
pub(super) async fn serve(
    address: SocketAddr,
    backend: Arc<Backend>,
    record: PathBuf,
) -> Result<JoinHandle<()>, TestbedError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| TestbedError::new(format!("cannot listen on {address}: {error}")))?;
    let record: Arc<Path> = record.into();
    Ok(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (backend, record) = (Arc::clone(&backend), Arc::clone(&record));
            let service = service_fn(move |request| {
                let (backend, record) = (Arc::clone(&backend), Arc::clone(&record));
                async move { Ok::<_, Infallible>(answer(&backend, &record, request).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Whoever asks sees for themselves whether the answer came.
            drop(tokio::spawn(async move { drop(connection.await) }));
        }
    }))
}

async fn answer(
    backend: &Backend,
    record: &Path,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (status, text) = match (method, path.as_str()) {
        (Method::GET, "/fault") => (StatusCode::OK, backend.fault().to_string()),
        (Method::PUT, "/fault") => {
            let body = match request.into_body().collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => Bytes::new(),
            };
            match String::from_utf8_lossy(&body).parse() {
                Ok(fault) => {
                    backend.set(fault);
                    (StatusCode::OK, fault.to_string())
                }
                Err(error) => (StatusCode::BAD_REQUEST, error),
            }
        }
        (Method::GET, "/report") => match record::read(record) {
            Ok(entries) => (StatusCode::OK, report(&entries).to_string()),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        _ => (StatusCode::NOT_FOUND, "GET or PUT /fault, GET /report".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text + "\n")));
    *response.status_mut() = status;
    response
}

/// The record in numbers, and for every span how often it was taken and when first.
fn report(entries: &[record::Entry]) -> serde_json::Value {
    let count = |kind| entries.iter().filter(|entry| entry.kind == kind).count();
    let mut spans: HashMap<u64, (u64, u64)> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Taken) {
        for item in &entry.items {
            spans.entry(item.span).or_insert((0, entry.time_ns)).0 += 1;
        }
    }
    let rejected = entries.iter().filter(|entry| entry.kind == Kind::Rejected);
    let (taken, distinct) = (spans.values().map(|(times, _)| times).sum::<u64>(), spans.len());
    let spans: serde_json::Map<String, serde_json::Value> = spans
        .into_iter()
        .map(|(span, (times, first_ns))| {
            (format!("{span:016x}"), serde_json::json!({"times": times, "first_ns": first_ns}))
        })
        .collect();
    serde_json::json!({
        "requests_taken": count(Kind::Taken),
        "requests_answered": count(Kind::Answered),
        "connections_cut": count(Kind::Cut),
        "items_taken": taken,
        "items_taken_once_or_more": distinct,
        "items_rejected": rejected.map(|entry| entry.items.len()).sum::<usize>(),
        "spans": spans,
    })
}
