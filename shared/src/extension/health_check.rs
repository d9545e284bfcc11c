//! `health_check`: tells probes whether the pipelines run.
//!
//! Answers on a thread of its own, so that a probe is answered while the workers are busy.
//! Source: contrib extension/healthcheckextension.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::clock;
use crate::config::{HttpServerConfig, Path, Problems};
use crate::config_struct;
use crate::service::{BuildError, ComponentId, Extension, ExtensionConfig};
use crate::telemetry::config::{Ignored, host_and_port};
use crate::telemetry::server::Server;

config_struct! {
    /// `health_check`.
    pub struct HealthCheckConfig {
        /// Where it is asked.
        pub path: String = "/".to_owned(),
        /// Texts to answer with instead of JSON.
        pub response_body: ResponseBodyConfig = ResponseBodyConfig::default(),
        /// Accepted; the Collector ignores it too.
        pub check_collector_pipeline: Ignored = Ignored::default(),
        /// The later shape of this extension; only `false` is accepted.
        pub use_v2: bool = false,
    }
    flatten {
        /// Where to listen; of the other keys of a server only `tls` is looked at, to refuse it.
        pub server: HttpServerConfig = HttpServerConfig {
            endpoint: "localhost:13133".to_owned(),
            ..HttpServerConfig::default()
        },
    }
}

config_struct! {
    /// `response_body`.
    pub struct ResponseBodyConfig {
        /// While the pipelines run.
        pub healthy: String = String::new(),
        /// Before and after.
        pub unhealthy: String = String::new(),
    }
}

#[async_trait]
impl ExtensionConfig for HealthCheckConfig {
    const TYPE: &'static str = "health_check";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.server.validate(at, problems);
        if !self.path.starts_with('/') || self.path.contains(['{', '}']) {
            problems.report(&at.key("path"), "must start with / and hold no braces");
        }
        if self.use_v2 {
            problems.report(&at.key("use_v2"), "is not supported");
        }
        if self.server.tls.is_on() {
            problems.report(&at.key("tls"), "is not supported here; probes are answered in plain");
        }
    }

    async fn start(&self, id: &ComponentId) -> Result<Box<dyn Extension>, BuildError> {
        let endpoint = &self.server.endpoint;
        let state = Arc::new(State { bodies: self.response_body.clone(), since: Mutex::new(None) });
        let answering = Arc::clone(&state);
        let router = Router::new().route(
            &self.path,
            get(move || {
                let response = answering.answer(clock::now());
                async move { response }
            }),
        );
        let (host, port) = host_and_port(endpoint)
            .ok_or_else(|| BuildError::new(format!("{id}: {endpoint:?} is not host:port")))?;
        let server = Server::start("health", (host.as_str(), port), router).map_err(|error| {
            BuildError::new(format!("{id}: cannot listen on {endpoint}: {error}"))
        })?;
        Ok(Box::new(HealthCheck { server, state }))
    }
}

struct HealthCheck {
    server: Server,
    state: Arc<State>,
}

#[async_trait]
impl Extension for HealthCheck {
    fn ready(&self) {
        self.state.set(Some(Up { since: clock::now(), since_unix_ns: clock::unix_ns() }));
    }

    fn not_ready(&self) {
        self.state.set(None);
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.server.address()]
    }

    async fn shutdown(self: Box<Self>) {}
}

/// What probes are told.
struct State {
    bodies: ResponseBodyConfig,
    since: Mutex<Option<Up>>,
}

/// Since when all pipelines run.
#[derive(Debug, Clone, Copy)]
struct Up {
    since: Instant,
    since_unix_ns: u64,
}

impl State {
    fn set(&self, up: Option<Up>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = up;
    }

    fn answer(&self, now: Instant) -> Response {
        let up = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let (code, body, status) = match up {
            Some(_) => (StatusCode::OK, &self.bodies.healthy, "Server available"),
            None => {
                (StatusCode::SERVICE_UNAVAILABLE, &self.bodies.unhealthy, "Server not available")
            }
        };
        if !body.is_empty() {
            return (code, body.clone()).into_response();
        }
        let json = match up {
            Some(up) => json!({
                "status": status,
                "upSince": clock::rfc3339(up.since_unix_ns),
                "uptime": format!("{:?}", now.saturating_duration_since(up.since)),
            }),
            None => json!({"status": status, "upSince": null, "uptime": ""}),
        };
        (code, [(CONTENT_TYPE, "application/json")], json.to_string()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::config::testing::section;

    async fn start(json: &Value) -> Box<dyn Extension> {
        let (config, problems, _) = section(json, HealthCheckConfig::validate);
        assert_eq!(problems, [""; 0]);
        config.start(&ComponentId::parse("health_check").unwrap()).await.unwrap()
    }

    /// The response to a GET, head and body.
    async fn ask(extension: &dyn Extension, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(extension.addresses()[0]).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    #[track_caller]
    fn check(response: &str, code: &str, body: &str) {
        assert!(response.starts_with(&format!("HTTP/1.1 {code} ")), "{response}");
        assert!(response.contains(body), "{response}");
    }

    #[tokio::test]
    async fn probes_learn_when_the_pipelines_run() {
        let extension = start(&json!({"endpoint": "localhost:0"})).await;
        let (up, down) =
            ("{\"status\":\"Server available\",", "{\"status\":\"Server not available\",");
        check(&ask(&*extension, "/").await, "503", down);
        extension.ready();
        let response = ask(&*extension, "/").await;
        check(&response, "200", up);
        check(&response, "200", "\"upSince\":\"20");
        extension.not_ready();
        check(&ask(&*extension, "/").await, "503", down);
        check(&ask(&*extension, "/other").await, "404", "");
    }

    #[tokio::test]
    async fn path_and_texts_can_be_chosen() {
        let bodies = json!({"healthy": "fine", "unhealthy": "wait"});
        let json = json!({"endpoint": "localhost:0", "path": "/health", "response_body": bodies});
        let extension = start(&json).await;
        check(&ask(&*extension, "/health").await, "503", "\r\n\r\nwait");
        extension.ready();
        check(&ask(&*extension, "/health").await, "200", "\r\n\r\nfine");
    }

    #[tokio::test]
    async fn probes_are_answered_while_every_worker_is_busy() {
        let extension = start(&json!({"endpoint": "127.0.0.1:0"})).await;
        extension.ready();
        // This runtime has one thread, and a blocking client keeps it until it has its answer.
        let mut stream = std::net::TcpStream::connect(extension.addresses()[0]).unwrap();
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut response = String::new();
        std::io::Read::read_to_string(&mut stream, &mut response).unwrap();
        assert!(response.contains(" 200 "), "{response}");
    }

    #[test]
    fn every_problem_is_named() {
        let json = json!({"path": "health", "use_v2": true, "tls": {}});
        let problems = section(&json, HealthCheckConfig::validate).1;
        let at = ["a::path: must start with /", "a::use_v2: ", "a::tls: is not supported here"];
        for start in at {
            assert!(problems.iter().any(|problem| problem.starts_with(start)), "{problems:?}");
        }
    }
}
