//! A client of one endpoint, over one HTTP/2 connection or several.
//!
//! Requests are written by hand: a batch's bytes go to the socket as they are.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};

use super::answer::{self, Failure};
use super::connection::{CallError, Connection, Dialer, Patience};
use super::export_path;
use super::message::{Message, Outgoing};
use crate::auth::{ClientAuth, Unsigned};
use crate::batch::Batch;
use crate::config::{Compression, GrpcClientConfig, Target};
use crate::consumer::{Reached, Rejected};
use crate::queue::{Delivered, Sender};
use crate::service::{BuildError, Commons};
use crate::transport::compression::Compressor;
use crate::transport::connect::HostLookup;
use crate::transport::status;
use crate::transport::tls::{Alpn, ClientTls};
use crate::wire::Signal;

/// Sends batches to one endpoint by OTLP/gRPC.
#[derive(Clone)]
pub struct GrpcClient(Arc<Client>);

struct Client {
    dialer: Arc<Dialer>,
    /// At least one.
    connections: Vec<Arc<Connection>>,
    patience: Patience,
    targets: BTreeMap<Signal, Uri>,
    /// Of every request.
    headers: HeaderMap,
    auth: Option<Arc<dyn ClientAuth>>,
    compressor: Compressor,
}

/// Why a message was not taken.
enum Failed {
    /// It never became a request, and never will.
    Unmade(String),
    /// It could not be signed.
    Unsigned(Unsigned),
    /// No connection, or one that was lost.
    Call(CallError),
    /// The answer said so, or ended too early.
    Answer(Failure),
}

impl GrpcClient {
    /// A client of `endpoint`, which may be another one than the settings'. Does not connect.
    ///
    /// # Errors
    /// When the endpoint cannot be read, a TLS file is unusable, or the authenticator is not
    /// there or must not be used without TLS.
    pub fn new(
        config: &GrpcClientConfig,
        endpoint: &str,
        commons: &Commons,
    ) -> Result<Self, BuildError> {
        Self::with_names(config, endpoint, commons, None)
    }

    /// The same, with names looked up by `names` if there is something.
    ///
    /// # Errors
    /// As above.
    pub fn with_names(
        config: &GrpcClientConfig,
        endpoint: &str,
        commons: &Commons,
        names: Option<Arc<dyn HostLookup>>,
    ) -> Result<Self, BuildError> {
        let target = Target::parse(endpoint).map_err(BuildError::new)?;
        let tls = match config.tls.is_on() || target.is_https() {
            true => Some(ClientTls::new(&config.tls, Alpn::Http2)?),
            false => None,
        };
        let auth = match config.auth.authenticator() {
            None => None,
            Some(id) => Some(commons.client_auth(id)?),
        };
        if auth.as_ref().is_some_and(|auth| auth.is_http_only()) {
            return Err(BuildError::new("auth: this extension signs requests over HTTP only"));
        }
        if tls.is_none() && auth.as_ref().is_some_and(|auth| auth.needs_tls()) {
            return Err(BuildError::new(
                "auth: these credentials must not be sent in plain text: gRPC needs TLS for them",
            ));
        }
        let targets = targets(config, &target, tls.is_some())?;
        let headers = headers(config)?;
        let patience = match config.wait_for_ready {
            true => Patience::WaitForReady,
            false => Patience::FailFast,
        };
        let dialer = Arc::new(Dialer::new(config, target, names, tls));
        let connections = (0..config.connections.max(1))
            .map(|_| Arc::new(Connection::new(Arc::clone(&dialer))))
            .collect();
        let compression = match config.compression {
            // What gRPC calls snappy is framed.
            Compression::Snappy => Compression::SnappyFramed,
            other => other,
        };
        let compressor = Compressor::new(compression, &config.compression_params);
        Ok(Self(Arc::new(Client {
            dialer,
            connections,
            patience,
            targets,
            headers,
            auth,
            compressor,
        })))
    }

    /// Where it sends to.
    pub fn target(&self) -> &Target {
        &self.0.dialer.target
    }

    /// Begins to connect, so that the first request need not wait for it. To be called within a
    /// runtime.
    pub fn prepare(&self) {
        self.0.connections.iter().for_each(Connection::prepare);
    }

    /// Connections that can take a request now.
    pub fn open_connections(&self) -> usize {
        self.0.connections.iter().filter(|connection| connection.is_open()).count()
    }

    /// Asks whether the endpoint serves, by a request without content for the traces method. Does
    /// not wait out the time after a failed attempt to connect, and neither does the next request.
    ///
    /// # Errors
    /// Why it does not: no connection, no answer within `timeout`, or one that refuses. The batch
    /// is empty.
    pub async fn probe(&self, timeout: Duration) -> Result<(), Rejected> {
        let empty = Batch::empty(Signal::Traces);
        let message = Message::new(Compressor::NONE, Bytes::new(), []);
        let message = message.expect("an empty message is not too large");
        let connection = self.0.least_loaded();
        connection.retry_now();
        let probing = self.0.call(connection, Patience::FailFast, &empty, message);
        match tokio::time::timeout(timeout, probing).await {
            Ok(Ok(_)) => Ok(()),
            // It has another signal's service only, but it serves.
            Ok(Err(Failed::Answer(Failure::Status(status))))
                if status::is_unknown_method(&status) =>
            {
                Ok(())
            }
            Ok(Err(failed)) => Err(failed.rejected(empty)),
            Err(_) => Err(Rejected::retryable(empty, "the destination did not answer in time")
                .reached(Reached::Unknown)),
        }
    }

    /// Sends several batches as one request, without joining their bytes.
    ///
    /// # Errors
    /// [`Rejected`] with the batches, which are joined then.
    ///
    /// # Panics
    /// When there is no batch, or they differ in signal or metadata.
    pub async fn send_all(&self, batches: Vec<Batch>) -> Result<Delivered, Rejected> {
        let (first, rest) = batches.split_first().expect("at least one batch is to be sent");
        let is_like =
            |other: &Batch| first.signal() == other.signal() && first.same_metadata(other);
        assert!(rest.iter().all(is_like), "only like batches can be one request");
        let sent = self.0.export(first, rest.iter().map(|batch| batch.bytes().clone())).await;
        sent.map_err(|failed| {
            failed.rejected(Batch::concat_all(batches).expect("at least one batch was sent"))
        })
    }
}

impl fmt::Debug for GrpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrpcClient({})", self.0.dialer.target)
    }
}

#[async_trait]
impl Sender for GrpcClient {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        let sent = self.0.export(&batch, []).await;
        sent.map_err(|failed| failed.rejected(batch))
    }
}

impl Client {
    /// Sends `batch` and the bytes of others like it.
    async fn export(
        &self,
        batch: &Batch,
        rest: impl IntoIterator<Item = Bytes>,
    ) -> Result<Delivered, Failed> {
        let message = Message::new(self.compressor, batch.bytes().clone(), rest)
            .map_err(|error| Failed::Unmade(format!("the batch could not be encoded: {error}")))?;
        let answer = self.call(self.least_loaded(), self.patience, batch, message).await?;
        Ok(crate::otlp::read_answer(&answer))
    }

    async fn call(
        &self,
        connection: &Arc<Connection>,
        patience: Patience,
        like: &Batch,
        message: Message,
    ) -> Result<Bytes, Failed> {
        let mut headers = self.headers.clone();
        if let Some(auth) = &self.auth {
            auth.sign(like.metadata().map(|of| &**of), &mut headers).map_err(Failed::Unsigned)?;
        }
        // Until the answer is read.
        let _in_flight = connection.begin();
        let make = || {
            let mut request = Request::new(Outgoing::new(message.clone()));
            *request.method_mut() = Method::POST;
            *request.version_mut() = Version::HTTP_2;
            *request.uri_mut() = self.targets[&like.signal()].clone();
            *request.headers_mut() = headers.clone();
            request
        };
        let response = connection.call(patience, make).await.map_err(Failed::Call)?;
        answer::read(response).await.map_err(Failed::Answer)
    }

    fn least_loaded(&self) -> &Arc<Connection> {
        match &self.connections[..] {
            [only] => only,
            all => all
                .iter()
                .min_by_key(|connection| connection.load())
                .expect("there is at least one connection"),
        }
    }
}

impl Failed {
    fn rejected(self, batch: Batch) -> Rejected {
        match self {
            Failed::Unmade(reason) => Rejected::permanent(batch, reason),
            Failed::Unsigned(unsigned) => unsigned.rejected(batch),
            Failed::Call(CallError::Connect(error)) => status::connection_failed(batch, &error),
            Failed::Call(CallError::Unsent(error)) => {
                status::connection_failed(batch, &error).reached(Reached::Nobody)
            }
            Failed::Call(CallError::Lost(error)) => status::connection_failed(batch, &error),
            Failed::Answer(Failure::Status(status)) => status::from_grpc(batch, &status),
            Failed::Answer(Failure::CutOff(error)) => {
                let error: &(dyn Error + 'static) = &*error;
                status::connection_failed(batch, error).reached(Reached::Unknown)
            }
        }
    }
}

/// Where each signal is sent to.
fn targets(
    config: &GrpcClientConfig,
    target: &Target,
    is_tls: bool,
) -> Result<BTreeMap<Signal, Uri>, BuildError> {
    let authority = match (config.authority.as_str(), target) {
        ("", Target::Tcp(endpoint)) => endpoint.to_string(),
        ("", Target::Unix(_)) => target.host().to_owned(),
        (authority, _) => authority.to_owned(),
    };
    let uri = |signal| {
        Uri::builder()
            .scheme(if is_tls { "https" } else { "http" })
            .authority(authority.as_str())
            .path_and_query(export_path(signal))
            .build()
            .map_err(|_| BuildError::new(format!("{authority:?} is no authority")))
    };
    Signal::ALL.into_iter().map(|signal| Ok((signal, uri(signal)?))).collect()
}

fn headers(config: &GrpcClientConfig) -> Result<HeaderMap, BuildError> {
    let user_agent = match config.user_agent.as_str() {
        "" => concat!("tailrace/", env!("CARGO_PKG_VERSION")),
        user_agent => user_agent,
    };
    let user_agent = HeaderValue::from_str(user_agent)
        .map_err(|_| BuildError::new("user_agent holds visible ASCII characters only"))?;
    let mut headers = HeaderMap::new();
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::USER_AGENT, user_agent);
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip,zstd,snappy"));
    let encoding = config.compression.grpc_name();
    let encoding = encoding.ok_or_else(|| BuildError::new("gRPC speaks gzip, zstd and snappy"))?;
    if config.compression != Compression::None {
        headers.insert("grpc-encoding", HeaderValue::from_static(encoding));
    }
    for (name, value) in config.headers.iter() {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    Ok(headers)
}
