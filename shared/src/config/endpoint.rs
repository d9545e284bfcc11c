//! The place that a client connects to.

use std::fmt;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether it was written as `https://`, which means TLS whatever `tls` says.
    pub https: bool,
}

/// Where a gRPC client connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Over TCP.
    Tcp(Endpoint),
    /// A Unix socket, by its path.
    Unix(String),
}

impl Target {
    /// Reads an endpoint, or a path as `unix:path` or `unix:///path`.
    /// Source: grpc doc/naming.md.
    ///
    /// # Errors
    /// What is wrong with it, for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = match (text.strip_prefix("unix://"), text.strip_prefix("unix:")) {
            (Some(path), _) if !path.starts_with('/') => {
                return Err(format!("{text:?} has no absolute path, expected unix:///path"));
            }
            (Some(path), _) | (None, Some(path)) => path,
            (None, None) => return Endpoint::parse(text).map(Target::Tcp),
        };
        match path {
            "" => Err(format!("{text:?} has no path, expected unix:///path")),
            path => Ok(Target::Unix(path.to_owned())),
        }
    }

    /// Whether it was written as `https://`.
    pub fn is_https(&self) -> bool {
        matches!(self, Target::Tcp(endpoint) if endpoint.https)
    }

    /// The host, whose name a certificate must have.
    pub fn host(&self) -> &str {
        match self {
            Target::Tcp(endpoint) => &endpoint.host,
            Target::Unix(_) => "localhost",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(endpoint) => write!(f, "{endpoint}"),
            Target::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl Endpoint {
    /// Reads `host:port`, also behind `http://`, `https://`, `dns:///` or `passthrough:///`.
    ///
    /// # Errors
    /// What is wrong with it, for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text, None)
    }

    /// The same, where `port` stands for a port that is not written.
    ///
    /// # Errors
    /// What is wrong with it, for the user.
    pub fn parse_with_port(text: &str, port: u16) -> Result<Self, String> {
        Self::read(text, Some(port))
    }

    fn read(text: &str, default_port: Option<u16>) -> Result<Self, String> {
        let (rest, https) = match text.split_once("://") {
            None => (text, false),
            Some(("http", rest)) => (rest.trim_end_matches('/'), false),
            Some(("https", rest)) => (rest.trim_end_matches('/'), true),
            Some(("dns" | "passthrough", rest)) => match rest.split_once('/') {
                Some(("", rest)) => (rest, false),
                _ => return Err(format!("{text:?}: a name server of its own is not supported")),
            },
            Some((scheme, _)) => return Err(format!("unsupported scheme {scheme:?}")),
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match rest.split_once(':') {
                // More than one colon is an IPv6 address without a port.
                Some((_, port)) if port.contains(':') => (rest, None),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.is_empty() || host.contains('/') {
            return Err(format!("{text:?} is not host:port"));
        }
        let port = match (port, default_port) {
            (Some(port), _) => port.parse().map_err(|_| format!("invalid port {port:?}"))?,
            (None, Some(port)) => port,
            (None, None) => return Err(format!("{text:?} has no port, expected host:port")),
        };
        Ok(Self { host: host.to_owned(), port, https })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, u16, bool), &str>) {
        let read = Endpoint::parse(text);
        match (&read, expected) {
            (Ok(endpoint), Ok(expected)) => {
                assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.https), expected);
            }
            (Err(error), Err(expected)) => assert_eq!(error, expected),
            _ => panic!("{text}: {read:?}"),
        }
    }

    #[test]
    fn an_endpoint_is_written_in_many_ways() {
        check("backend:4317", Ok(("backend", 4317, false)));
        check("http://backend:4317/", Ok(("backend", 4317, false)));
        check("https://backend:4317", Ok(("backend", 4317, true)));
        check("dns:///backend:4317", Ok(("backend", 4317, false)));
        check("passthrough:///10.0.0.1:4317", Ok(("10.0.0.1", 4317, false)));
        check("[::1]:4317", Ok(("::1", 4317, false)));
    }

    #[test]
    fn a_bad_endpoint_is_explained() {
        check("backend", Err("\"backend\" has no port, expected host:port"));
        check("backend:http", Err("invalid port \"http\""));
        check("backend:70000", Err("invalid port \"70000\""));
        check(":4317", Err("\":4317\" is not host:port"));
        check("http://backend:4317/v1", Err("invalid port \"4317/v1\""));
        check("unix:///run/otel.sock", Err("unsupported scheme \"unix\""));
        check(
            "dns://10.0.0.2/x:1",
            Err("\"dns://10.0.0.2/x:1\": a name server of its own is not supported"),
        );
    }

    #[test]
    fn a_unix_socket_is_named_by_its_path() {
        let unix = |path: &str| Ok(Target::Unix(path.to_owned()));
        assert_eq!(Target::parse("unix:///run/otel.sock"), unix("/run/otel.sock"));
        assert_eq!(Target::parse("unix:/run/otel.sock"), unix("/run/otel.sock"));
        assert_eq!(Target::parse("unix:otel.sock"), unix("otel.sock"));
        assert!(Target::parse("unix:").is_err() && Target::parse("unix://").is_err());
        assert!(Target::parse("unix://otel.sock").unwrap_err().contains("absolute"));
        assert_eq!(Target::parse("a:1"), Endpoint::parse("a:1").map(Target::Tcp));
    }

    #[test]
    fn a_missing_port_may_have_a_default() {
        let port = |text| Endpoint::parse_with_port(text, 4317).unwrap();
        assert_eq!(port("10.0.0.1").to_string(), "10.0.0.1:4317");
        assert_eq!(port("::1").to_string(), "[::1]:4317");
        assert_eq!(port("10.0.0.1:9").to_string(), "10.0.0.1:9");
    }
}
