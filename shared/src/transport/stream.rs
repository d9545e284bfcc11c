//! A connection's bytes, with or without TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::socket::Socket;

/// A connection, with or without TLS.
#[derive(Debug)]
pub struct Stream {
    io: Io,
    is_by_proxy: bool,
}

#[derive(Debug)]
enum Io {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// Without TLS.
    pub fn plain(socket: impl Into<Socket>) -> Self {
        Self { io: Io::Plain(socket.into()), is_by_proxy: false }
    }

    /// With TLS.
    pub fn tls(tls: TlsStream<Socket>) -> Self {
        Self { io: Io::Tls(Box::new(tls)), is_by_proxy: false }
    }

    /// The same, which leads to a proxy or through it.
    pub(super) fn by_proxy(self) -> Self {
        Self { is_by_proxy: true, ..self }
    }

    /// Whether it leads to a proxy or through it.
    pub fn is_by_proxy(&self) -> bool {
        self.is_by_proxy
    }

    /// Whether HTTP/2 was agreed on in the TLS handshake.
    pub fn speaks_http2(&self) -> bool {
        match &self.io {
            Io::Plain(_) => false,
            Io::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

/// What a failed write of TLS failed for: the peer may have said why before it hung up, which is
/// how a server refuses a client's certificate.
fn explain<T>(
    tls: &mut TlsStream<Socket>,
    cx: &mut Context<'_>,
    written: Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    let hung_up = |error: &io::Error| matches!(error.kind(), BrokenPipe | ConnectionReset);
    if !matches!(&written, Poll::Ready(Err(error)) if hung_up(error)) {
        return written;
    }
    let mut scratch = [0; 1024];
    match Pin::new(tls).poll_read(cx, &mut ReadBuf::new(&mut scratch)) {
        Poll::Ready(Err(said)) if is_of_tls(&said) => Poll::Ready(Err(said)),
        Poll::Ready(_) => written,
        // That the peer hung up has yet to be noticed on this side too; then we are woken, and
        // the write fails again.
        Poll::Pending => Poll::Pending,
    }
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => {
                let written = Pin::new(&mut **io).poll_write(cx, buf);
                explain(io, cx, written)
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tls(io) => {
                let written = Pin::new(&mut **io).poll_write_vectored(cx, bufs);
                explain(io, cx, written)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => {
                let written = Pin::new(&mut **io).poll_flush(cx);
                explain(io, cx, written)
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
