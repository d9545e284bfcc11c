//! A way through a proxy to a destination that speaks TLS.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connect::ConnectError;
use crate::config::{Endpoint, Proxy};

/// Largest head of a proxy's answer.
const MAX_HEAD: usize = 8 * 1024;

/// Asks the proxy at the other end of `socket` for a tunnel to `endpoint`.
///
/// # Errors
/// When there is none; the proxy's answer is for the log only.
pub(super) async fn open(
    socket: &mut TcpStream,
    proxy: &Proxy,
    endpoint: &Endpoint,
) -> Result<(), ConnectError> {
    let head = match ask(socket, proxy, endpoint).await {
        Ok(head) => head,
        Err(error) => {
            let detail = format!("proxy {}: {error}", proxy.endpoint);
            return Err(ConnectError::new("the proxy did not answer", detail));
        }
    };
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    // HTTP/1.1 200 Connection established
    let status = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    match status {
        Some([b'2', _, _]) => Ok(()),
        Some(status) => {
            let status = String::from_utf8_lossy(status).into_owned();
            let line = String::from_utf8_lossy(line);
            let detail = format!("proxy {}: no tunnel to {endpoint}: {line}", proxy.endpoint);
            Err(ConnectError::new(format!("the proxy answered with HTTP status {status}"), detail))
        }
        None => {
            let detail = format!("proxy {}: its answer is not HTTP/1", proxy.endpoint);
            Err(ConnectError::new("the proxy does not speak HTTP", detail))
        }
    }
}

/// The head of the answer. What comes behind it comes through the tunnel, where the client speaks
/// first.
async fn ask(socket: &mut TcpStream, proxy: &Proxy, endpoint: &Endpoint) -> io::Result<Vec<u8>> {
    let mut request = format!("CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\n").into_bytes();
    if let Some(value) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    socket.write_all(&request).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is too long"));
        }
        // Heads are short, and come once for each connection.
        head.push(socket.read_u8().await?);
    }
    Ok(head)
}
