//! Settings of HTTP clients and servers. Source: collector config/confighttp.

use std::time::Duration;

use super::auth::AuthConfig;
use super::compression::{Compression, CompressionParams};
use super::cors::CorsConfig;
use super::decode::{NotSupported, Section};
use super::grpc::{Transport, validate_listen};
use super::headers::Headers;
use super::problems::{Path, Problems};
use super::proxy::Proxy;
use super::tls::{ClientTlsConfig, Secret, ServerTlsConfig};
use crate::auth::Side;
use crate::config_struct;

config_struct! {
    /// An HTTP server.
    pub struct HttpServerConfig {
        /// Address and port to listen on, or the path of a Unix socket; port 0 takes a free one.
        pub endpoint: String = "localhost:4318".to_owned(),
        /// What it listens on.
        pub transport: Transport = Transport::Tcp,
        /// TLS, on when the section is there.
        pub tls: Section<ServerTlsConfig> = Section::none(),
        /// Largest body in bytes, as sent and decompressed; 0 is 20 MiB.
        pub max_request_body_size: usize = 20 * 1024 * 1024,
        /// Compressions that are taken; an empty text is none at all.
        pub compression_algorithms: Vec<String> = ALGORITHMS.map(str::to_owned).to_vec(),
        /// Ours: connections at a time, above which the longest quiet give way; 0 is as many as an
        /// eighth of the memory limit holds at 40 KiB each, and at most 10,000.
        pub max_connections: u32 = 0,
        /// Time for a request's head, and between two requests; 0 is no limit.
        pub read_header_timeout: Duration = Duration::from_secs(60),
        /// Time for a request's body; 0 is no limit.
        pub read_timeout: Duration = Duration::from_secs(60),
        /// A connection ends when its client takes nothing of an answer for this long; 0 is no limit.
        pub write_timeout: Duration = Duration::from_secs(30),
        /// A connection ends when it had no request for this long; 0 is no limit.
        pub idle_timeout: Duration = Duration::from_secs(60),
        /// Whether a connection serves more than one request.
        pub keep_alives_enabled: bool = true,
        /// Sent with every answer.
        pub response_headers: Headers = Headers::default(),
        /// Whether headers of a request are kept with its batch, as far as a component reads them.
        pub include_metadata: bool = false,
        /// The extension that checks requests; of receivers only.
        pub auth: Section<AuthConfig> = Section::none(),
        /// Of the Collector; there are no such extensions here.
        pub middlewares: NotSupported = NotSupported,
        /// Which pages of other origins a browser lets send here.
        pub cors: Section<CorsConfig> = Section::none(),
    }
}

/// What `compression_algorithms` may list, and does unless it is set.
const ALGORITHMS: [&str; 8] =
    ["", "gzip", "zstd", "zlib", "snappy", "deflate", "lz4", "x-snappy-framed"];

impl HttpServerConfig {
    /// Largest body in bytes.
    pub fn max_body_bytes(&self) -> usize {
        match self.max_request_body_size {
            0 => 20 * 1024 * 1024,
            size => size,
        }
    }

    /// Reports what is wrong, for a server that checks nobody.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.auth.is_on() {
            problems.report(&at.key("auth"), "is not supported here");
        }
        self.validate_rest(at, problems);
    }

    /// Reports what is wrong, for a server that has its clients checked.
    pub fn validate_with_auth(&self, at: &Path<'_>, problems: &mut Problems) {
        self.auth.validate(&at.key("auth"), problems, Side::Server);
        self.validate_rest(at, problems);
    }

    fn validate_rest(&self, at: &Path<'_>, problems: &mut Problems) {
        if let Some(tls) = self.tls.as_ref() {
            tls.validate(&at.key("tls"), problems);
        }
        validate_listen(&self.endpoint, self.transport, &at.key("endpoint"), problems);
        let algorithms = at.key("compression_algorithms");
        for (index, name) in self.compression_algorithms.iter().enumerate() {
            if !ALGORITHMS.contains(&name.as_str()) {
                let known = ALGORITHMS[1..].join(", ");
                let message = format!("unsupported algorithm {name:?}, expected one of {known}");
                problems.report(&algorithms.index(index), message);
            }
        }
        if let Some(cors) = self.cors.as_ref() {
            cors.validate(&at.key("cors"), problems);
        }
    }
}

config_struct! {
    /// An HTTP client.
    pub struct HttpClientConfig {
        /// Base URL; the signal's path is added.
        pub endpoint: String = String::new(),
        /// TLS for `https` endpoints.
        pub tls: ClientTlsConfig = ClientTlsConfig::default(),
        /// How bodies are compressed.
        pub compression: Compression = Compression::None,
        /// How hard they are compressed.
        pub compression_params: CompressionParams = CompressionParams::default(),
        /// Sent with every request; `Host` replaces the URL's.
        pub headers: Headers = Headers::default(),
        /// Connections kept for later when idle.
        pub max_idle_conns: usize = 100,
        /// Of those, to one host; 0 is no limit of its own.
        pub max_idle_conns_per_host: usize = 0,
        /// How long an idle connection is kept; 0 is no limit.
        pub idle_conn_timeout: Duration = Duration::from_secs(90),
        /// Whether each request gets a connection of its own.
        pub disable_keep_alives: bool = false,
        /// Taken for compatibility; hyper sizes its buffers.
        pub read_buffer_size: usize = 0,
        /// Taken for compatibility; hyper sizes its buffers.
        pub write_buffer_size: usize = 0,
        /// The extension that signs requests.
        pub auth: Section<AuthConfig> = Section::none(),
        /// Of the Collector; there are no such extensions here.
        pub middlewares: NotSupported = NotSupported,
        /// Requests go by this proxy.
        pub proxy_url: Secret = Secret::default(),
    }
}

impl HttpClientConfig {
    /// The proxy that requests go by.
    ///
    /// # Errors
    /// Why it is none.
    pub fn proxy(&self) -> Result<Option<Proxy>, &'static str> {
        match self.proxy_url.0.as_str() {
            "" => Ok(None),
            url => Proxy::parse(url).map(Some),
        }
    }

    /// Reports what is wrong; whether an endpoint is needed is the exporter's to say.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.tls.validate(&at.key("tls"), problems);
        self.auth.validate(&at.key("auth"), problems, Side::Client);
        self.compression_params.validate(&at.key("compression_params"), problems, self.compression);
        validate_url(&self.endpoint, &at.key("endpoint"), problems);
        if let Err(problem) = self.proxy() {
            problems.report(&at.key("proxy_url"), problem);
        }
    }
}

/// Reports a URL that is set and is none.
pub(crate) fn validate_url(url: &str, at: &Path<'_>, problems: &mut Problems) {
    if url.is_empty() {
        return;
    }
    let valid = url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    if !valid {
        problems.report(at, format!("{url:?} is not a URL such as https://host:4318"));
    }
}
