//! A connection whose small writes leave together.
//!
//! HTTP/2 says much in few bytes: an answer takes 35 of them, the head of a request 60. Each on its
//! own would be a system call, a packet, and a wake-up of the peer, which cost more than all other
//! work on it. So small writes are held until every task that is ready by then has had its turn:
//!
//! ```text
//! poll 1   write 35, flush     held; the task asks for another turn, behind the others
//!          … others answer their requests on this connection …
//! poll 2   write 70, flush     105 bytes in one call
//! ```
//!
//! A large write takes what is held along at once. Nobody waits for time to pass: in an idle
//! process the next turn is the next thing that happens.
//!
//! Whoever uses it has to flush whenever it is polled, as HTTP/2's connections do once both sides
//! have said hello. Before the peer has spoken nothing is held.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that is held.
const MOST: usize = 2 * 1024;

/// Parts of one write, as many as HTTP/2's library gives and what is held.
const MAX_PARTS: usize = 64 + 1;

/// A connection that gathers small writes.
#[derive(Debug)]
pub(super) struct Gathered<S> {
    stream: S,
    held: Vec<u8>,
    /// Whether the others have had their turn since something is held.
    others_had_their_turn: bool,
    /// Whether the peer has said anything.
    begun: bool,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, held: Vec::new(), others_had_their_turn: false, begun: false }
    }

    /// Writes what is held, and behind it `parts`; says how much was written of those. It is not
    /// ready before all that is held was written, and something of the parts if there are any.
    fn write_through(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut all = [IoSlice::new(&[]); MAX_PARTS];
            all[0] = IoSlice::new(&self.held);
            let count = parts.len().min(MAX_PARTS - 1);
            all[1..=count].copy_from_slice(&parts[..count]);
            let all = if self.held.is_empty() { &all[1..=count] } else { &all[..=count] };
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, all))?;
            if written == 0 && !self.held.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_held = written.min(self.held.len());
            drop(self.held.drain(..of_held));
            if self.held.is_empty() {
                self.others_had_their_turn = false;
                if written > of_held || parts.is_empty() || of_held == 0 {
                    return Poll::Ready(Ok(written - of_held));
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        this.begun |= matches!(read, Poll::Ready(Ok(())));
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let size = bufs.iter().map(|part| part.len()).sum::<usize>();
        if !this.begun || this.held.len() + size > MOST {
            return this.write_through(cx, bufs);
        }
        for part in bufs {
            this.held.extend_from_slice(part);
        }
        Poll::Ready(Ok(size))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.held.is_empty() {
            if !this.others_had_their_turn {
                this.others_had_their_turn = true;
                cx.waker().wake_by_ref();
                return Poll::Ready(Ok(()));
            }
            ready!(this.write_through(cx, &[]))?;
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.held.is_empty() {
            ready!(this.write_through(cx, &[]))?;
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;

    /// Counts writes, of which each takes up to `most` bytes.
    struct Counted {
        stream: DuplexStream,
        most: usize,
        writes: Vec<usize>,
    }

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let most = buf.len().min(self.most);
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &buf[..most]))?;
            self.writes.push(written);
            Poll::Ready(Ok(written))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.poll_write(cx, &bufs.iter().flat_map(|part| part.to_vec()).collect::<Vec<_>>())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    struct Fixture {
        gathered: Gathered<Counted>,
        peer: DuplexStream,
    }

    impl Fixture {
        /// One whose peer has spoken.
        fn begun() -> Self {
            let mut fixture = Self::of(usize::MAX);
            fixture.gathered.begun = true;
            fixture
        }

        fn of(most: usize) -> Self {
            let (stream, peer) = duplex(16 * MOST);
            Self { gathered: Gathered::new(Counted { stream, most, writes: Vec::new() }), peer }
        }

        fn write(&mut self, bytes: &[u8]) {
            let cx = &mut Context::from_waker(Waker::noop());
            let mut left = bytes;
            while !left.is_empty() {
                let written = Pin::new(&mut self.gathered).poll_write(cx, left);
                let Poll::Ready(Ok(count)) = written else { panic!("{written:?}") };
                left = &left[count..];
            }
        }

        fn flush(&mut self) {
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(matches!(Pin::new(&mut self.gathered).poll_flush(cx), Poll::Ready(Ok(()))));
        }

        fn writes(&self) -> &[usize] {
            &self.gathered.stream.writes
        }

        async fn received(mut self) -> Vec<u8> {
            let mut received = Vec::new();
            drop(self.gathered);
            self.peer.read_to_end(&mut received).await.unwrap();
            received
        }
    }

    #[tokio::test]
    async fn small_writes_of_two_turns_leave_as_one() {
        let mut fixture = Fixture::begun();
        fixture.write(b"one ");
        fixture.flush();
        assert_eq!(fixture.writes(), [0; 0]);
        fixture.write(b"two ");
        fixture.write(b"three");
        fixture.flush();
        assert_eq!(fixture.writes(), [13]);
        fixture.write(b" four");
        fixture.flush();
        assert_eq!(fixture.writes(), [13], "the others have their turn again");
        fixture.flush();
        assert_eq!(fixture.received().await, b"one two three four");
    }

    #[tokio::test]
    async fn a_large_write_takes_what_is_held_along() {
        let mut fixture = Fixture::begun();
        fixture.write(b"head");
        fixture.flush();
        fixture.write(&[b'x'; MOST]);
        assert_eq!(fixture.writes(), [4 + MOST]);
        assert_eq!(fixture.received().await, [&b"head"[..], &[b'x'; MOST]].concat());
    }

    #[tokio::test]
    async fn nothing_is_held_before_the_peer_has_spoken() {
        let mut fixture = Fixture::of(usize::MAX);
        fixture.write(b"hello");
        assert_eq!(fixture.writes(), [5]);
        tokio::io::AsyncWriteExt::write_all(&mut fixture.peer, b"hello").await.unwrap();
        fixture.gathered.read_exact(&mut [0; 5]).await.unwrap();
        fixture.write(b"then");
        assert_eq!(fixture.writes(), [5]);
    }

    #[tokio::test]
    async fn order_is_kept_however_little_is_taken_at_a_time() {
        for most in [32, 97, 1000] {
            let mut fixture = Fixture::of(most);
            fixture.gathered.begun = true;
            let bytes: Vec<u8> = (0..=255).cycle().take(MOST + 9).collect();
            fixture.write(&bytes[..7]);
            fixture.flush();
            fixture.write(&bytes[7..]);
            fixture.flush();
            fixture.flush();
            assert_eq!(fixture.received().await, bytes, "{most}");
        }
    }

    #[tokio::test]
    async fn the_end_comes_after_what_is_held() {
        let mut fixture = Fixture::begun();
        fixture.write(b"goodbye");
        tokio::io::AsyncWriteExt::shutdown(&mut fixture.gathered).await.unwrap();
        assert_eq!(fixture.writes(), [7]);
    }

    #[tokio::test]
    async fn the_task_has_another_turn_behind_the_others() {
        let mut fixture = Fixture::begun();
        let mut turns = 0;
        std::future::poll_fn(|cx| {
            turns += 1;
            if turns == 1 {
                fixture.write(b"held");
            }
            assert!(Pin::new(&mut fixture.gathered).poll_flush(cx).is_ready());
            match fixture.gathered.held.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        assert_eq!((turns, fixture.writes()), (2, &[4][..]));
    }
}
