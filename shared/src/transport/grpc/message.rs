//! A gRPC message: a flag, a length of four bytes, then bytes that stay as they are.
//!
//! What is sent leaves as the pieces that it was given in, none of them copied; what comes in is
//! copied only if it came in several frames, or is so small that it would keep a buffer many
//! times its size.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame};

use crate::transport::budget::{MOST_RESERVED, Ticket};
use crate::transport::compression::{self, Coding, Compressor};
use crate::transport::status::Unread;

/// Compression flag and length.
pub(super) const PREFIX: usize = 5;

/// Below this a message that came in is copied, since its frame may be a small part of a buffer.
const SMALL: usize = 16 * 1024;

/// A message to be sent, from its prefix on.
#[derive(Debug, Clone)]
pub(super) struct Message {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that are gone.
    prefix_gone: usize,
    /// Empty only if all the rest is.
    first: Bytes,
    rest: VecDeque<Bytes>,
    remaining: usize,
}

impl Message {
    /// The message that these parts are when joined.
    ///
    /// # Errors
    /// Of the compressor, and of 4 GiB or more, which gRPC has no number for.
    pub(super) fn new(
        compressor: Compressor,
        first: Bytes,
        rest: impl IntoIterator<Item = Bytes>,
    ) -> io::Result<Self> {
        let (mut first, mut rest): (Bytes, VecDeque<Bytes>) = (first, rest.into_iter().collect());
        if compressor.compresses() {
            let joined = match rest.is_empty() {
                true => first,
                false => join(std::iter::once(first).chain(rest)),
            };
            first = compressor.compress(&joined)?.into();
            rest = VecDeque::new();
        }
        let size = first.len() + rest.iter().map(Bytes::len).sum::<usize>();
        let length = u32::try_from(size)
            .map_err(|_| io::Error::other(format!("{size} bytes are too many for gRPC")))?;
        let [a, b, c, d] = length.to_be_bytes();
        let prefix = [u8::from(compressor.compresses()), a, b, c, d];
        let mut message = Self { prefix, prefix_gone: 0, first, rest, remaining: PREFIX + size };
        message.skip_empty();
        Ok(message)
    }

    fn skip_empty(&mut self) {
        while self.first.is_empty()
            && let Some(next) = self.rest.pop_front()
        {
            self.first = next;
        }
    }
}

impl Buf for Message {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        match &self.prefix[self.prefix_gone..] {
            [] => &self.first,
            prefix => prefix,
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = [&self.prefix[self.prefix_gone..], &self.first[..]].into_iter();
        let parts = parts.chain(self.rest.iter().map(|part| &part[..]));
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "no more than what remains can be taken");
        self.remaining -= count;
        let of_prefix = count.min(PREFIX - self.prefix_gone);
        self.prefix_gone += of_prefix;
        count -= of_prefix;
        while count > 0 {
            let of_first = count.min(self.first.len());
            self.first.advance(of_first);
            count -= of_first;
            self.skip_empty();
        }
    }
}

/// The body of a request with one message.
#[derive(Debug)]
pub(super) struct Outgoing(Option<Message>);

impl Outgoing {
    pub(super) fn new(message: Message) -> Self {
        Self(Some(message))
    }
}

impl Body for Outgoing {
    type Data = Message;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Message>, Infallible>>> {
        Poll::Ready(self.0.take().map(|message| Ok(Frame::data(message))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    // The size is not said: a length of content is not gRPC's way.
}

/// Reads the one message of a body, counting on `ticket`; `coding` is how it is compressed if it is.
///
/// # Errors
/// [`Unread::TooLarge`] above `limit` bytes, as sent or inflated: as soon as it is known.
pub(super) async fn read(
    body: impl Body<Data = Bytes>,
    ticket: &mut Ticket,
    coding: Option<Coding>,
    limit: usize,
) -> Result<Bytes, Unread> {
    let mut body = pin!(body);
    let mut reader = Reader::new(limit);
    while let Some(data) = ticket.next(body.as_mut()).await? {
        reader.take(data)?;
    }
    let (is_compressed, message) = reader.finish()?;
    match (is_compressed, coding) {
        (false, _) => Ok(message),
        (true, None) => Err(Unread::Broken("a compressed message without grpc-encoding".into())),
        (true, Some(coding)) => compression::inflate(coding, &message, limit).map(Bytes::from),
    }
}

/// Puts one message together from the frames that it came in.
#[derive(Debug)]
pub(super) struct Reader {
    limit: usize,
    prefix: [u8; PREFIX],
    prefix_filled: usize,
    message: Incoming,
}

/// What has come of a message.
#[derive(Debug)]
enum Incoming {
    /// Nothing, or all of it in one frame.
    Frame(Bytes),
    /// Several frames; not kept as such, since a sender may make them very small.
    Joined(BytesMut),
}

impl Incoming {
    fn len(&self) -> usize {
        match self {
            Incoming::Frame(bytes) => bytes.len(),
            Incoming::Joined(bytes) => bytes.len(),
        }
    }
}

impl Reader {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            prefix: [0; PREFIX],
            prefix_filled: 0,
            message: Incoming::Frame(Bytes::new()),
        }
    }

    /// The length of the message, once it is known.
    fn length(&self) -> Option<usize> {
        let [_, a, b, c, d] = self.prefix;
        (self.prefix_filled == PREFIX).then(|| u32::from_be_bytes([a, b, c, d]) as usize)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they belong to no message that may be read.
    pub(super) fn take(&mut self, mut data: Bytes) -> Result<(), Unread> {
        if self.prefix_filled < PREFIX {
            let count = data.len().min(PREFIX - self.prefix_filled);
            data.copy_to_slice(&mut self.prefix[self.prefix_filled..][..count]);
            self.prefix_filled += count;
            if self.prefix[0] > 1 {
                return Err(Unread::Broken("not framed as gRPC".into()));
            }
        }
        let Some(length) = self.length() else { return Ok(()) };
        if length > self.limit {
            return Err(Unread::TooLarge(self.limit));
        }
        if self.message.len() + data.len() > length {
            return Err(Unread::Broken("more than one message".into()));
        }
        match &mut self.message {
            Incoming::Joined(joined) => joined.extend_from_slice(&data),
            Incoming::Frame(frame) if data.len() == length => *frame = data,
            Incoming::Frame(_) if data.is_empty() => {}
            Incoming::Frame(_) => {
                let mut joined = BytesMut::with_capacity(length.min(MOST_RESERVED));
                joined.extend_from_slice(&data);
                self.message = Incoming::Joined(joined);
            }
        }
        Ok(())
    }

    /// The message, and whether it is compressed.
    ///
    /// # Errors
    /// When it is not complete.
    pub(super) fn finish(self) -> Result<(bool, Bytes), Unread> {
        match self.length() {
            None if self.prefix_filled == 0 => return Err(Unread::Broken("no message".into())),
            Some(length) if length == self.message.len() => {}
            _ => return Err(Unread::Broken("the message was not sent to its end".into())),
        }
        let message = match self.message {
            Incoming::Frame(frame) if frame.len() < SMALL => Bytes::copy_from_slice(&frame),
            Incoming::Frame(frame) => frame,
            Incoming::Joined(joined) => joined.freeze(),
        };
        Ok((self.prefix[0] == 1, message))
    }
}

fn join(parts: impl Iterator<Item = Bytes>) -> Bytes {
    let parts: Vec<Bytes> = parts.collect();
    let mut joined = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in parts {
        joined.extend_from_slice(&part);
    }
    joined.freeze()
}

#[cfg(test)]
#[path = "message_tests.rs"]
pub(super) mod tests;
