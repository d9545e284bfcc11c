//! One HTTP/1.1 exchange with an address.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::TestbedError;

/// An answer is waited for this long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Status and body of `GET path`.
///
/// # Errors
/// When there is no answer.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String), TestbedError> {
    let request = http::Request::get(path).body(Bytes::new());
    exchange(address, request.expect("paths are valid")).await
}

/// Status and body of the answer to `request`.
///
/// # Errors
/// When there is no answer.
pub async fn exchange(
    address: SocketAddr,
    request: http::Request<Bytes>,
) -> Result<(u16, String), TestbedError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        TestbedError::new(format!("{what} {address}: {error}"))
    };
    let answer = async {
        let stream =
            TcpStream::connect(address).await.map_err(|error| failed("cannot reach", &error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed("cannot speak HTTP with", &error))?;
        let connection = tokio::spawn(connection);
        let mut request = request.map(Full::new);
        let host = address.to_string().parse().expect("an address is a header value");
        request.headers_mut().insert(http::header::HOST, host);
        let response =
            sender.send_request(request).await.map_err(|error| failed("no answer of", &error))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| failed("broken answer of", &error))?.to_bytes();
        connection.abort();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(TestbedError::new(format!("{address} did not answer within {TIMEOUT:?}"))),
    }
}
