//! What authenticators do for clients and servers; the extensions that do it are in
//! [`extension`](crate::extension).

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, Method, Uri};

use crate::batch::Batch;
use crate::consumer::Rejected;
use crate::metadata::{Attributes, Metadata};

/// Signs requests that go out.
pub trait ClientAuth: Send + Sync {
    /// Sets headers of a request for a batch that came with `metadata`.
    ///
    /// # Errors
    /// Why it cannot.
    fn sign(&self, metadata: Option<&Metadata>, headers: &mut HeaderMap) -> Result<(), Unsigned>;

    /// The same for a request over HTTP, all of which is known; some sign more than its headers.
    ///
    /// # Errors
    /// Why it cannot.
    fn sign_http(
        &self,
        metadata: Option<&Metadata>,
        request: &mut HttpRequest<'_>,
    ) -> Result<(), Unsigned> {
        self.sign(metadata, request.headers)
    }

    /// Whether gRPC must not carry these headers in plain text.
    fn needs_tls(&self) -> bool;

    /// Whether it signs nothing but HTTP.
    fn is_http_only(&self) -> bool {
        false
    }
}

/// A request over HTTP that is about to go out.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Where it goes.
    pub url: &'a Uri,
    /// Its body as it is sent, compressed.
    pub body: &'a [u8],
    /// Its headers, without those that the connection adds.
    pub headers: &'a mut HeaderMap,
}

/// Checks who sends requests that come in.
#[async_trait]
pub trait ServerAuth: Send + Sync {
    /// Checks the headers of a request, and says what is known of its sender.
    ///
    /// # Errors
    /// Why it is turned away.
    async fn check(&self, headers: &HeaderMap) -> Result<Attributes, Unauthenticated>;
}

/// Why a request cannot be signed; the reason goes to the sender, so it names no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsigned {
    /// Credentials may come, as a file that is not written yet.
    ForNow(String),
    /// For what the batch came with.
    ForEver(String),
}

impl Unsigned {
    /// The batch that does not go out.
    pub fn rejected(self, batch: Batch) -> Rejected {
        match self {
            Unsigned::ForNow(reason) => Rejected::retryable(batch, reason),
            Unsigned::ForEver(reason) => Rejected::permanent(batch, reason),
        }
    }
}

/// Why a request is turned away; for its sender, so it names no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthenticated(pub Cow<'static, str>);

/// What an extension can do of both.
#[derive(Clone, Default)]
pub struct Authenticator {
    /// For clients.
    pub client: Option<Arc<dyn ClientAuth>>,
    /// For servers.
    pub server: Option<Arc<dyn ServerAuth>>,
}

/// The two kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Signs requests.
    Client,
    /// Checks requests.
    Server,
}

impl Side {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }
}
