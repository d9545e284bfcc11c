//! A codec whose messages are bytes as they stand on the wire.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Length prefix and compression flag of a gRPC message.
const PREFIX: usize = 5;

/// What a message's buffer starts with when its size is not known.
const INITIAL_BUFFER: usize = 8 * 1024;

/// Messages that stay bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opaque {
    buffer: BufferSettings,
}

impl Opaque {
    /// For messages to be received.
    pub(super) fn receiving() -> Self {
        Self { buffer: BufferSettings::new(INITIAL_BUFFER, usize::MAX) }
    }

    /// For a message of this size to be sent: it gets one buffer and leaves in one piece.
    pub(super) fn sending(size: usize) -> Self {
        Self { buffer: BufferSettings::new(size + PREFIX, usize::MAX) }
    }
}

impl Codec for Opaque {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.buffer
    }
}

impl Decoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let size = buffer.remaining();
        // The message takes its part of the buffer along. A small one is copied, so that it does
        // not keep a buffer many times its size while it is queued.
        if size < INITIAL_BUFFER / 2 {
            let message = Bytes::copy_from_slice(buffer.chunk());
            buffer.advance(size);
            return Ok(Some(message));
        }
        Ok(Some(buffer.copy_to_bytes(size)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.buffer
    }
}
