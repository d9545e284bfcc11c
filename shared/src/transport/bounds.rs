//! Bounds that both servers give HTTP/2.

/// Bytes of one request, and of one connection, that may be under way before we have read them.
pub(super) const STREAM_WINDOW: u32 = 1024 * 1024;
pub(super) const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Large frames save work: each is a system call, and a wake-up of the other side, and a request in
/// one frame need not be put together. Clients cut requests into frames of this size, those that
/// heed it. It is less where a connection's window is, since an unfinished frame is held.
pub(super) const MAX_FRAME: u32 = 512 * 1024;
/// The same over HTTP, where requests come by proxies and are put together anyway.
pub(super) const HTTP_FRAME: u32 = 64 * 1024;
/// As HTTP/2 has it.
pub(super) const MIN_FRAME: u32 = 16 * 1024;

/// Requests at a time on one connection, unless configured.
pub(super) const MAX_STREAMS: u32 = 1024;

/// Size of a request's headers, in HTTP/2's way of counting.
pub(super) const MAX_HEADERS: u32 = 16 * 1024;

/// Streams that a client has reset before we looked at them, and streams that we have reset for
/// its errors: above these, the connection is closed (rapid reset, CVE-2023-44487).
pub(super) const MAX_PENDING_RESETS: usize = 20;
pub(super) const MAX_ERROR_RESETS: usize = 256;
