//! An accepted connection whose client has to keep moving.
//!
//! hyper's own time-outs begin when it knows which HTTP is spoken, and for HTTP/2 there are none.
//! So the bytes are watched on their way: the opening must come in time, a frame or a block of
//! headers that was begun must end in time, and answers must be taken in time. What the frames
//! themselves say is judged by `Frames`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::connections::{Connection, Cut};
use super::frames::{Frames, PREFACE, PingPolicy};
use super::stream::Stream;
use crate::clock;

/// How long a client may take, and what it may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the first bytes, up to HTTP/2's settings.
    pub opening: Duration,
    /// Time for a frame or a block of headers of HTTP/2, from its first byte; 0 is no limit.
    pub frame: Duration,
    /// Time for a message, from its headers to its end; 0 is no limit.
    pub message: Duration,
    /// Time without a byte of an answer being taken; 0 is no limit.
    pub stall: Duration,
    /// A connection does not give way to others before it was quiet for this long.
    pub min_stay: Duration,
    /// Frames of HTTP/2 that carry nothing: so many at once.
    pub idle_frames: u32,
    /// What pings are allowed; any within `idle_frames` if there is none.
    pub pings: Option<PingPolicy>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            opening: Duration::from_secs(10),
            frame: Duration::from_secs(60),
            message: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            // Time for a handshake and a request over a network that is not slow; more would let
            // newcomers keep out newcomers.
            min_stay: Duration::from_millis(300),
            idle_frames: 2048,
            pings: None,
        }
    }
}

/// A connection that is watched.
pub struct Guarded {
    stream: Stream,
    limits: Limits,
    connection: Arc<Connection>,
    speaks: Speaks,
    reading: Deadline,
    writing: Deadline,
}

enum Speaks {
    /// So many bytes were those of HTTP/2's preface.
    Unknown(usize),
    Http2(Box<Frames>),
    /// HTTP/1, which hyper watches itself, or nothing known.
    Other,
}

/// What the reading deadline is for before it is known which HTTP is spoken.
const OPENING: u64 = u64::MAX;

impl Guarded {
    pub(super) fn new(stream: Stream, limits: Limits, connection: Arc<Connection>) -> Self {
        Self {
            stream,
            limits,
            connection,
            speaks: Speaks::Unknown(0),
            reading: Deadline::begin(OPENING, limits.opening),
            writing: Deadline::default(),
        }
    }

    /// Watches what was received.
    fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Cut> {
        if let Speaks::Unknown(matched) = &mut self.speaks {
            let count = bytes.len().min(PREFACE.len() - *matched);
            let (opening, rest) = bytes.split_at(count);
            if *opening != PREFACE[*matched..][..count] {
                self.speaks = Speaks::Other;
                return Ok(());
            }
            *matched += count;
            if *matched < PREFACE.len() {
                return Ok(());
            }
            bytes = rest;
            let frames = Frames::new(self.limits.idle_frames, self.limits.pings);
            self.speaks = Speaks::Http2(Box::new(frames));
        }
        match &mut self.speaks {
            Speaks::Http2(frames) => {
                frames.receive(bytes, clock::now, self.connection.has_requests())
            }
            Speaks::Unknown(_) | Speaks::Other => Ok(()),
        }
    }

    /// Whether what is being received takes too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Option<Cut> {
        let unfinished = match &self.speaks {
            Speaks::Unknown(_) => Some(OPENING),
            Speaks::Http2(frames) => frames.unfinished(),
            Speaks::Other => None,
        };
        let (limit, cut) = match unfinished {
            None => {
                self.reading.disarm();
                return None;
            }
            Some(OPENING | 0) => (self.limits.opening, Cut::SlowStart),
            Some(_) => (self.limits.frame, Cut::SlowRequest),
        };
        self.reading.poll(cx, unfinished?, limit).is_ready().then_some(cut)
    }

    /// Ends the connection, with a word for the client where there is a way.
    fn end(&mut self, cx: &mut Context<'_>, cut: Cut) -> io::Error {
        self.connection.cut(cut);
        if let Speaks::Http2(frames) = &self.speaks
            && cut != Cut::Stalled
            && let Some(farewell) = frames.farewell(cut)
        {
            // Whoever does not take it at once does without.
            let written = Pin::new(&mut self.stream).poll_write(cx, &farewell);
            if matches!(written, Poll::Ready(Ok(_))) {
                drop(Pin::new(&mut self.stream).poll_flush(cx));
            }
        }
        io::Error::new(io::ErrorKind::TimedOut, cut.name())
    }

    /// Watches a write: `written` is what came of it, `bytes` is what was to be written.
    fn sent<'b>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        bytes: impl Iterator<Item = &'b [u8]>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => match self.writing.poll(cx, 0, self.limits.stall) {
                Poll::Ready(()) => Poll::Ready(Err(self.end(cx, Cut::Stalled))),
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(Ok(count)) => {
                self.writing.disarm();
                if let Speaks::Http2(frames) = &mut self.speaks {
                    let mut left = count;
                    for part in bytes {
                        let count = left.min(part.len());
                        frames.send(&part[..count]);
                        left -= count;
                    }
                }
                Poll::Ready(Ok(count))
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let guarded = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut guarded.stream).poll_read(cx, buf);
        let cut = match &read {
            Poll::Ready(Ok(())) => guarded.receive(&buf.filled()[before..]).err(),
            Poll::Ready(Err(_)) => None,
            Poll::Pending => guarded.poll_late(cx),
        };
        match cut {
            None => read,
            Some(cut) => Poll::Ready(Err(guarded.end(cx, cut))),
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let guarded = self.get_mut();
        let written = Pin::new(&mut guarded.stream).poll_write(cx, buf);
        guarded.sent(cx, written, std::iter::once(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let guarded = self.get_mut();
        let written = Pin::new(&mut guarded.stream).poll_write_vectored(cx, bufs);
        guarded.sent(cx, written, bufs.iter().map(|part| &**part))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guarded = self.get_mut();
        let flushed = Pin::new(&mut guarded.stream).poll_flush(cx);
        match flushed {
            Poll::Pending => match guarded.writing.poll(cx, 0, guarded.limits.stall) {
                Poll::Ready(()) => Poll::Ready(Err(guarded.end(cx, Cut::Stalled))),
                Poll::Pending => Poll::Pending,
            },
            flushed @ Poll::Ready(_) => flushed,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// A time limit for one thing at a time; its timer is made once.
#[derive(Debug, Default)]
struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
    /// For what it was set, if for anything.
    armed: Option<u64>,
}

impl Deadline {
    /// One that runs from now on.
    fn begin(what: u64, limit: Duration) -> Self {
        Self { timer: Some(Box::pin(tokio::time::sleep(limit))), armed: Some(what) }
    }

    fn disarm(&mut self) {
        self.armed = None;
    }

    /// Ready when `what` was waited for longer than `limit`, since it was first asked about.
    fn poll(&mut self, cx: &mut Context<'_>, what: u64, limit: Duration) -> Poll<()> {
        if limit.is_zero() {
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if self.armed != Some(what) {
            self.armed = Some(what);
            timer.as_mut().reset((clock::now() + limit).into());
        }
        timer.as_mut().poll(cx)
    }
}
