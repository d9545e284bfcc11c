//! Settings of gRPC clients and servers. Source: collector config/configgrpc.

use std::time::Duration;

use super::auth::AuthConfig;
use super::compression::{Compression, CompressionParams};
use super::decode::{NotSupported, Section};
use super::endpoint::Target;
use super::headers::Headers;
use super::problems::{Path, Problems};
use super::tls::{ClientTlsConfig, ServerTlsConfig};
use crate::auth::Side;
use crate::{config_enum, config_struct};

config_enum! {
    /// What a server listens on.
    pub enum Transport {
        /// TCP over IPv4 or IPv6.
        Tcp = "tcp",
        /// TCP over IPv4 only.
        Tcp4 = "tcp4",
        /// TCP over IPv6 only.
        Tcp6 = "tcp6",
        /// A Unix socket; the endpoint is its path, or `@name` in Linux's abstract namespace.
        Unix = "unix",
    }
}

config_enum! {
    /// Which of the endpoint's addresses a client connects to.
    pub enum Balancer {
        /// Starts at another of them each time it connects.
        RoundRobin = "round_robin",
        /// The first that answers.
        PickFirst = "pick_first",
    }
}

/// More connections than any process has cores to feed.
const MAX_CONNECTIONS: usize = 256;

config_struct! {
    /// A gRPC client.
    #[derive(PartialEq)]
    pub struct GrpcClientConfig {
        /// Where to: `host:port`, also as `dns:///host:port`, `http://…`, `https://…`, or a Unix
        /// socket as `unix:///path`.
        pub endpoint: String = String::new(),
        /// How messages are compressed.
        pub compression: Compression = Compression::None,
        /// Ours over gRPC: how hard they are compressed.
        pub compression_params: CompressionParams = CompressionParams::default(),
        /// TLS, on unless it is `insecure`.
        pub tls: ClientTlsConfig = ClientTlsConfig::default(),
        /// Pings over a quiet connection.
        pub keepalive: Section<ClientKeepaliveConfig> = Section::none(),
        /// Taken for compatibility; reads are as large as frames.
        pub read_buffer_size: usize = 0,
        /// Bytes of one request that may wait for the socket; 0 is 1 MiB.
        pub write_buffer_size: usize = 0,
        /// Whether a request waits for a connection while none can be made, instead of failing.
        pub wait_for_ready: bool = false,
        /// Sent with every request.
        pub headers: Headers = Headers::default(),
        /// Instead of our own name.
        pub user_agent: String = String::new(),
        /// The `:authority` of requests, instead of the endpoint's host and port.
        pub authority: String = String::new(),
        /// Which of the endpoint's addresses is taken.
        pub balancer_name: Balancer = Balancer::RoundRobin,
        /// Ours: HTTP/2 connections to the endpoint, made as they are needed; a request goes out
        /// on the one with the fewest under way.
        pub connections: usize = 1,
        /// The extension that signs requests.
        pub auth: Section<AuthConfig> = Section::none(),
        /// Of the Collector; there are no such extensions here.
        pub middlewares: NotSupported = NotSupported,
    }
}

config_struct! {
    /// `keepalive` of a client.
    #[derive(PartialEq)]
    pub struct ClientKeepaliveConfig {
        /// Quiet time before a ping.
        pub time: Duration = Duration::from_secs(10),
        /// The connection is given up this long after a ping without an answer.
        pub timeout: Duration = Duration::from_secs(10),
        /// Whether to ping while no request is under way.
        pub permit_without_stream: bool = false,
    }
}

impl GrpcClientConfig {
    /// Reports what is wrong; `endpoint` is looked at only if it is set.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.tls.validate(&at.key("tls"), problems);
        self.auth.validate(&at.key("auth"), problems, Side::Client);
        if self.compression.grpc_name().is_none() {
            problems.report(&at.key("compression"), "gRPC speaks gzip, zstd and snappy");
        }
        self.compression_params.validate(&at.key("compression_params"), problems, self.compression);
        if !self.endpoint.is_empty()
            && let Err(error) = Target::parse(&self.endpoint)
        {
            problems.report(&at.key("endpoint"), error);
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            problems.report(&at.key("connections"), format!("must be from 1 to {MAX_CONNECTIONS}"));
        }
        if http::HeaderValue::from_str(&self.user_agent).is_err() {
            problems.report(&at.key("user_agent"), "holds visible ASCII characters only");
        }
        if !self.authority.is_empty() && self.authority.parse::<http::uri::Authority>().is_err() {
            problems.report(&at.key("authority"), "expected host or host:port");
        }
    }
}

config_struct! {
    /// A gRPC server.
    #[derive(PartialEq)]
    pub struct GrpcServerConfig {
        /// Address and port to listen on, or the path of a Unix socket; port 0 takes a free one.
        pub endpoint: String = "localhost:4317".to_owned(),
        /// What it listens on.
        pub transport: Transport = Transport::Tcp,
        /// TLS, on when the section is there.
        pub tls: Section<ServerTlsConfig> = Section::none(),
        /// Largest message in MiB, as sent and decompressed; 0 is 4.
        pub max_recv_msg_size_mib: u32 = 0,
        /// Requests at a time on one connection; 0 is 1024.
        pub max_concurrent_streams: u32 = 0,
        /// Ours: connections at a time, above which the longest quiet give way; 0 is as many as an
        /// eighth of the memory limit holds at 40 KiB each, and at most 10,000.
        pub max_connections: u32 = 0,
        /// Taken for compatibility, with a warning: reads are as large as frames.
        pub read_buffer_size: usize = 524_288,
        /// The same: answers are small.
        pub write_buffer_size: usize = 0,
        /// Pings and the age of connections.
        pub keepalive: ServerKeepaliveConfig = ServerKeepaliveConfig::default(),
        /// Whether headers of a request are kept with its batch, as far as a component reads them.
        pub include_metadata: bool = false,
        /// The extension that checks requests.
        pub auth: Section<AuthConfig> = Section::none(),
        /// Of the Collector; there are no such extensions here.
        pub middlewares: NotSupported = NotSupported,
    }
}

config_struct! {
    /// `keepalive` of a server.
    #[derive(PartialEq)]
    pub struct ServerKeepaliveConfig {
        /// Pings and the age of connections.
        pub server_parameters: KeepaliveParameters = KeepaliveParameters::default(),
        /// Which pings clients may send; unless it is written any, up to a flood.
        pub enforcement_policy: Section<KeepalivePolicy> = Section::off(),
    }
}

config_struct! {
    /// `keepalive::server_parameters`; 0 is grpc-go's default.
    #[derive(PartialEq)]
    pub struct KeepaliveParameters {
        /// A connection without requests is closed after this time; 0 never does.
        pub max_connection_idle: Duration = Duration::ZERO,
        /// A connection is closed at this age, ± 10 %; 0 never does.
        pub max_connection_age: Duration = Duration::ZERO,
        /// Requests under way may take this long then; 0 is no limit.
        pub max_connection_age_grace: Duration = Duration::ZERO,
        /// Quiet time before a ping; 0 is two hours.
        pub time: Duration = Duration::ZERO,
        /// The connection is given up this long after a ping without an answer; 0 is 20 s.
        pub timeout: Duration = Duration::ZERO,
    }
}

config_struct! {
    /// `keepalive::enforcement_policy`.
    #[derive(PartialEq)]
    pub struct KeepalivePolicy {
        /// Shortest time between a client's pings; 0 is five minutes.
        pub min_time: Duration = DEFAULT_PING_INTERVAL,
        /// Whether a client may ping without requests.
        pub permit_without_stream: bool = false,
    }
}

/// Source: grpc-go `internal/transport/defaults.go`.
const DEFAULT_PING_INTERVAL: Duration = Duration::from_secs(300);

impl KeepalivePolicy {
    /// Shortest time between a client's pings.
    pub fn ping_interval(&self) -> Duration {
        match self.min_time {
            Duration::ZERO => DEFAULT_PING_INTERVAL,
            min_time => min_time,
        }
    }
}

impl GrpcServerConfig {
    /// Largest message in bytes.
    pub fn max_message_bytes(&self) -> usize {
        let mib = if self.max_recv_msg_size_mib == 0 { 4 } else { self.max_recv_msg_size_mib };
        mib as usize * 1024 * 1024
    }

    /// Reports what is wrong.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if let Some(tls) = self.tls.as_ref() {
            tls.validate(&at.key("tls"), problems);
        }
        self.auth.validate(&at.key("auth"), problems, Side::Server);
        validate_listen(&self.endpoint, self.transport, &at.key("endpoint"), problems);
        // A gRPC message's length has 32 bits.
        if self.max_recv_msg_size_mib >= 4096 {
            problems.report(&at.key("max_recv_msg_size_mib"), "must be between 1 and 4095");
        }
        let defaults = Self::default();
        for (key, size, default) in [
            ("read_buffer_size", self.read_buffer_size, defaults.read_buffer_size),
            ("write_buffer_size", self.write_buffer_size, defaults.write_buffer_size),
        ] {
            if size != default {
                let message = "has no effect: buffers are as large as what is in them";
                problems.warn(&at.key(key), message);
            }
        }
    }
}

/// What fits into a socket's address.
const MAX_SOCKET_PATH: usize = 107;

/// Reports an endpoint that cannot be listened on.
pub(super) fn validate_listen(
    endpoint: &str,
    transport: Transport,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    if transport == Transport::Unix {
        match endpoint.len() {
            0 => problems.report(at, "expected the path of a socket"),
            length if length > MAX_SOCKET_PATH => {
                let message =
                    format!("a socket's path has at most {MAX_SOCKET_PATH} bytes, not {length}");
                problems.report(at, message);
            }
            _ => {}
        }
        return;
    }
    let port = endpoint.rsplit_once(':').map(|(_, port)| port);
    match port {
        Some(port) if port.parse::<u16>().is_ok() => {}
        Some(port) => problems.report(at, format!("invalid port {port:?}")),
        None => problems.report(at, "expected host:port"),
    }
}
