//! A connection's bytes, with or without TLS.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_rustls::TlsStream;

use super::socket::Socket;

/// Bytes of HTTP/2's opening; no request of HTTP/1 is shorter.
const OPENING: usize = 24;

/// Time for the opening of an accepted connection.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection, with or without TLS.
#[derive(Debug)]
pub struct Stream {
    io: Io,
    opening: Option<Opening>,
}

#[derive(Debug)]
enum Io {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// What an accepted connection has still to send before its time is up: hyper's own timeouts
/// begin only when it knows which HTTP is spoken.
#[derive(Debug)]
struct Opening {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Stream {
    /// Without TLS.
    pub fn plain(socket: impl Into<Socket>) -> Self {
        Self { io: Io::Plain(socket.into()), opening: None }
    }

    /// With TLS.
    pub fn tls(tls: TlsStream<Socket>) -> Self {
        Self { io: Io::Tls(Box::new(tls)), opening: None }
    }

    /// Fails if its peer does not begin to speak soon.
    pub fn must_open(mut self) -> Self {
        let deadline = Box::pin(tokio::time::sleep(OPENING_TIMEOUT));
        self.opening = Some(Opening { missing: OPENING, deadline });
        self
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
        let stream = self.get_mut();
        let before = buf.filled().len();
        let read = match &mut stream.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        };
        if let Some(opening) = &mut stream.opening {
            opening.missing = opening.missing.saturating_sub(buf.filled().len() - before);
            if opening.missing == 0 {
                stream.opening = None;
            } else if read.is_pending() && opening.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
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
