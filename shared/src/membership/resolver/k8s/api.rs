//! The Kubernetes API as far as the resolver needs it: one list and one watch of `EndpointSlices`.
//!
//! Everything that rotates is read for every connection: the token, and the certificates of the
//! cluster whenever something had failed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::slices::{EndpointSlice, Event, EventError, List, MAX_SLICES};
use crate::config::{ClientTlsConfig, Endpoint, Process, TlsConfig, World as _};
use crate::membership::resolver::report::Outcome;
use crate::transport::connect::connect;
use crate::transport::tls::{Alpn, ClientTls};

/// Largest page of a list, in bytes: 100 slices of 100 endpoints are some 5 MB.
const MAX_PAGE: usize = 32 << 20;
/// Largest event of a watch, in bytes: a slice has at most 1000 endpoints.
const MAX_EVENT: usize = 4 << 20;
/// Largest explanation that is read of a refused request.
const MAX_REASON: usize = 64 << 10;
/// Slices in a page.
const PAGE: u32 = 100;
/// How much longer than it was told to a watch may last before it is taken for dead.
const GRACE: Duration = Duration::from_secs(10);

/// Why the API did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct ApiError {
    pub(super) outcome: Outcome,
    /// Whether the version that was asked for is no longer known, so that a list is needed.
    pub(super) is_gone: bool,
    pub(super) reason: String,
}

impl ApiError {
    fn failed(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, is_gone: false, reason: reason.into() }
    }

    fn timed_out(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::TimedOut, ..Self::failed(reason) }
    }

    /// What a status says, and the API's own explanation.
    fn of_status(code: u16, explanation: &str) -> Self {
        let outcome = match code {
            500.. => Outcome::ServerFailure,
            _ => Outcome::Failed,
        };
        let hint = match code {
            401 => " (is the service account's token mounted?)",
            403 => " (may the service account list and watch endpointslices.discovery.k8s.io?)",
            _ => "",
        };
        let reason = format!("the API answered {code}: {explanation}{hint}");
        Self { outcome, is_gone: code == 410, reason }
    }
}

/// Which slices.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    pub(super) namespace: String,
    pub(super) service: String,
}

/// A client of one API server.
pub(super) struct Api {
    endpoint: Endpoint,
    tls: Option<ClientTls>,
    /// What stands in front of the API's paths.
    prefix: String,
    token_file: PathBuf,
}

impl Api {
    /// The server at `url`, or the one that a pod finds in its environment.
    ///
    /// # Errors
    /// When there is no such server or its certificates cannot be read.
    pub(super) fn new(url: &str, service_account: &Path) -> Result<Self, ApiError> {
        let url = match url {
            "" => url_of_environment()?,
            url => url.to_owned(),
        };
        let (endpoint, prefix) = read_url(&url).map_err(ApiError::failed)?;
        let tls = endpoint.https.then(|| tls(service_account)).transpose()?;
        Ok(Self { endpoint, tls, prefix, token_file: service_account.join("token") })
    }

    /// All slices, and the version that they are of.
    ///
    /// # Errors
    /// When not all of them could be read within `timeout`.
    pub(super) async fn list(
        &self,
        selection: &Selection,
        timeout: Duration,
    ) -> Result<(Vec<EndpointSlice>, String), ApiError> {
        let pages = self.pages(selection, timeout);
        tokio::time::timeout(timeout, pages)
            .await
            .unwrap_or_else(|_| Err(ApiError::timed_out(format!("no list within {timeout:?}"))))
    }

    async fn pages(
        &self,
        selection: &Selection,
        timeout: Duration,
    ) -> Result<(Vec<EndpointSlice>, String), ApiError> {
        let mut slices = Vec::new();
        let mut page = String::new();
        loop {
            let query = format!("limit={PAGE}&timeoutSeconds={}{page}", seconds(timeout));
            let open = self.get(selection, &query).await?;
            let body = Limited::new(open.response.into_body(), MAX_PAGE).collect().await;
            let body = body.map_err(|error| ApiError::failed(format!("list: {error}")))?;
            let list: List = serde_json::from_slice(&body.to_bytes())
                .map_err(|error| ApiError::failed(format!("list: {error}")))?;
            slices.extend(list.items.into_iter().flatten());
            match list.metadata.r#continue.as_str() {
                "" => return Ok((slices, list.metadata.resource_version)),
                // More are not kept anyway.
                _ if slices.len() > MAX_SLICES => {
                    return Ok((slices, list.metadata.resource_version));
                }
                next => page = format!("&continue={}", percent_encoded(next)),
            }
        }
    }

    /// Begins to watch what comes after a version, for `timeout`.
    ///
    /// # Errors
    /// When the server does not begin within `timeout`.
    pub(super) async fn watch(
        &self,
        selection: &Selection,
        resource_version: &str,
        timeout: Duration,
    ) -> Result<Watch, ApiError> {
        let query = format!(
            "watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
            percent_encoded(resource_version),
            seconds(timeout)
        );
        let open = tokio::time::timeout(timeout, self.get(selection, &query)).await;
        let open = open
            .unwrap_or_else(|_| Err(ApiError::timed_out(format!("no watch within {timeout:?}"))))?;
        let begun = Instant::now();
        let deadline = begun + timeout + GRACE;
        Ok(Watch { open, lines: Lines::default(), begun, deadline })
    }

    async fn get(&self, selection: &Selection, query: &str) -> Result<Open, ApiError> {
        let Selection { namespace, service } = selection;
        let uri = format!(
            "{}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?\
             labelSelector=kubernetes.io%2Fservice-name%3D{service}&{query}",
            self.prefix
        );
        let request = self.request(&uri).await?;
        let stream = connect(&self.endpoint, self.tls.as_ref())
            .await
            .map_err(|error| ApiError::failed(format!("{}: {error}", self.endpoint)))?;
        let failed = |error: hyper::Error| ApiError::failed(format!("{}: {error}", self.endpoint));
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // Whoever reads the response learns of the error.
            drop(connection.await);
        }));
        let response = sender.send_request(request).await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => Ok(Open { response, _connection: connection }),
            status => {
                let body = Limited::new(response.into_body(), MAX_REASON).collect().await;
                let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                Err(ApiError::of_status(status.as_u16(), &explanation(&body)))
            }
        }
    }

    async fn request(&self, uri: &str) -> Result<Request<Empty<Bytes>>, ApiError> {
        let mut request = Request::get(uri)
            .header(header::HOST, self.endpoint.to_string())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("tailrace/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| ApiError::failed(format!("{uri}: {error}")))?;
        // In the clear everybody could read the token.
        if self.tls.is_some()
            && let Ok(token) = tokio::fs::read_to_string(&self.token_file).await
        {
            let mut value =
                HeaderValue::try_from(format!("Bearer {}", token.trim())).map_err(|_| {
                    ApiError::failed(format!("{} has no token", self.token_file.display()))
                })?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}

/// A response, and the connection that it comes from.
struct Open {
    response: Response<Incoming>,
    _connection: AbortOnDropHandle<()>,
}

/// A watch that goes on.
pub(super) struct Watch {
    open: Open,
    lines: Lines,
    begun: Instant,
    deadline: Instant,
}

impl Watch {
    /// The next event; `None` when the server ended the watch. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the connection broke or what it brought cannot be read.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(line) = self.lines.next() {
                return match Event::parse(&line) {
                    Ok(event) => Ok(Some(event)),
                    Err(EventError::Told { code, message }) => {
                        Err(ApiError::of_status(code, &message))
                    }
                    Err(EventError::Unreadable(error)) => {
                        Err(ApiError::failed(format!("watch: {error}")))
                    }
                };
            }
            let frame = self.open.response.body_mut().frame();
            match tokio::time::timeout_at(self.deadline, frame).await {
                Err(_) => return Err(ApiError::timed_out("the watch is silent")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(ApiError::failed(format!("watch: {error}"))),
                Ok(Some(Ok(frame))) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    self.lines.push(&bytes).map_err(ApiError::failed)?;
                }
            }
        }
    }

    /// How long it has lasted.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    /// Up to here there is no end of a line.
    searched: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.buffer.len() + bytes.len() > MAX_EVENT {
            return Err(format!("watch: an event of more than {MAX_EVENT} bytes"));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.searched + end + 1);
        self.searched = 0;
        Some(std::mem::replace(&mut self.buffer, rest))
    }
}

fn url_of_environment() -> Result<String, ApiError> {
    let variable = |name: &str| Process.variable(name).filter(|value| !value.is_empty());
    let Some(host) = variable("KUBERNETES_SERVICE_HOST") else {
        return Err(ApiError::failed(
            "this is no pod, since KUBERNETES_SERVICE_HOST is not set: set api_server",
        ));
    };
    let port = variable("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
    match host.contains(':') {
        true => Ok(format!("https://[{host}]:{port}")),
        false => Ok(format!("https://{host}:{port}")),
    }
}

/// Where a server's URL leads, and what stands in front of its paths.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_url(url: &str) -> Result<(Endpoint, String), String> {
    let wrong = || format!("{url:?} is not a URL such as https://10.96.0.1:443");
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let (https, port) = match uri.scheme_str() {
        Some("https") => (true, 443),
        Some("http") => (false, 80),
        _ => return Err(wrong()),
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    if host.is_empty() || uri.query().is_some() {
        return Err(wrong());
    }
    let port = uri.port_u16().unwrap_or(port);
    Ok((Endpoint { host, port, https }, uri.path().trim_end_matches('/').to_owned()))
}

fn tls(service_account: &Path) -> Result<ClientTls, ApiError> {
    let ca_file = service_account.join("ca.crt").to_string_lossy().into_owned();
    let common = TlsConfig { ca_file, ..TlsConfig::default() };
    let config = ClientTlsConfig { common, ..ClientTlsConfig::default() };
    ClientTls::new(&config, Alpn::Http1).map_err(|error| ApiError::failed(error.to_string()))
}

/// At least 1, since 0 is no limit.
fn seconds(timeout: Duration) -> u64 {
    timeout.as_secs().max(1)
}

/// The message of a `Status`, or what there is instead.
fn explanation(body: &[u8]) -> String {
    let status: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = match status["message"].as_str() {
        Some(message) => message.into(),
        None => String::from_utf8_lossy(body),
    };
    text.chars().take(300).collect()
}

fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(byte.into());
            }
            other => write!(encoded, "%{other:02X}").expect("a string takes everything"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_with_a_scheme() {
        let read = |url| {
            let (endpoint, prefix) = read_url(url)?;
            Ok::<_, String>(format!("{endpoint} {} {prefix}", endpoint.https))
        };
        assert_eq!(read("https://10.96.0.1"), Ok("10.96.0.1:443 true ".to_owned()));
        assert_eq!(read("http://127.0.0.1:8001/"), Ok("127.0.0.1:8001 false ".to_owned()));
        assert_eq!(read("https://[fd00::1]:6443/k/a"), Ok("[fd00::1]:6443 true /k/a".to_owned()));
        for wrong in ["10.96.0.1:443", "ftp://a", "https://", "https://a/?b", ""] {
            assert!(read(wrong).unwrap_err().contains("is not a URL such as"), "{wrong}");
        }
    }

    #[test]
    fn lines_may_come_in_pieces_and_have_a_bound() {
        let mut lines = Lines::default();
        lines.push(b"one\ntw").unwrap();
        assert_eq!(lines.next().as_deref(), Some(&b"one\n"[..]));
        assert_eq!(lines.next(), None);
        lines.push(b"o\n\n").unwrap();
        assert_eq!(lines.next().as_deref(), Some(&b"two\n"[..]));
        assert_eq!(lines.next().as_deref(), Some(&b"\n"[..]));
        assert_eq!(lines.next(), None);
        lines.push(&vec![b'a'; MAX_EVENT]).unwrap();
        assert!(lines.push(b"a").is_err());
    }

    #[test]
    fn refusals_say_what_may_be_wrong() {
        let body = br#"{"kind":"Status","message":"endpointslices is forbidden"}"#;
        let error = ApiError::of_status(403, &explanation(body));
        assert_eq!(
            error.reason,
            "the API answered 403: endpointslices is forbidden (may the service account list and \
             watch endpointslices.discovery.k8s.io?)"
        );
        assert!(ApiError::of_status(410, "").is_gone);
        assert_eq!(ApiError::of_status(503, "").outcome, Outcome::ServerFailure);
    }

    #[test]
    fn text_in_a_query_is_encoded() {
        assert_eq!(percent_encoded("aZ0-_.~ +/="), "aZ0-_.~%20%2B%2F%3D");
    }
}
