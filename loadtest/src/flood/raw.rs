//! HTTP/2 by hand, as no client should speak it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small");
    let mut frame = Vec::with_capacity(9 + payload.len());
    frame.extend_from_slice(&length.to_be_bytes()[1..]);
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Preface and settings.
pub(super) fn opening() -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes
}

/// The header block of an export of traces: names of HPACK's static table, nothing remembered.
pub(super) fn export_headers() -> Vec<u8> {
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    // POST, http
    let mut block = vec![0x83, 0x86];
    // :path, :authority, content-type
    for (name, value) in
        [(&[0x04][..], path), (&[0x01], "edge"), (&[0x0f, 0x10], "application/grpc")]
    {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).expect("values are short"));
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// Writes `bytes` to a new connection; what is answered is read and thrown away, as long as this
/// task lives.
pub(super) async fn connect(
    address: SocketAddr,
    bytes: &[u8],
) -> std::io::Result<(tokio::net::tcp::OwnedWriteHalf, tokio::task::JoinHandle<()>)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    write.write_all(bytes).await?;
    Ok((write, tokio::spawn(read_to_end(read))))
}

/// Reads until the other side has closed.
pub(super) async fn read_to_end(mut read: OwnedReadHalf) {
    let mut scratch = [0; 4096];
    while read.read(&mut scratch).await.is_ok_and(|count| count > 0) {}
}
