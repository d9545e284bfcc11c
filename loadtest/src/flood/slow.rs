//! Connections that say nothing, or too little, or too slowly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::raw::{DATA, END_HEADERS, HEADERS, PREFACE, export_headers, frame, opening};
use super::{Options, Told};
use crate::report::thousands;

/// Connections that are made at the same time; more would wait in the kernel.
const CONNECTING: usize = 200;

/// Time between two pieces of what is trickled.
const PAUSE: Duration = Duration::from_secs(1);

/// How a connection is slow.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Says nothing.
    Silent,
    /// The preface of HTTP/2, byte by byte.
    Preface,
    /// Opened, and nothing more.
    Idle,
    /// Headers of a request that do not end.
    Headers,
    /// A message, byte by byte.
    Message,
    /// As much of a message as the edge takes without being asked, then nothing.
    HalfMessage,
    /// Says nothing to the HTTP port.
    SilentHttp,
    /// The head of an HTTP/1 request, byte by byte.
    HeadHttp,
    /// The body of an HTTP/1 request, byte by byte.
    BodyHttp,
}

const MANNERS: [Manner; 9] = [
    Manner::Silent,
    Manner::Preface,
    Manner::Idle,
    Manner::Headers,
    Manner::Message,
    Manner::HalfMessage,
    Manner::SilentHttp,
    Manner::HeadHttp,
    Manner::BodyHttp,
];

impl Manner {
    fn speaks_to_http(self) -> bool {
        matches!(self, Manner::SilentHttp | Manner::HeadHttp | Manner::BodyHttp)
    }

    /// What is sent at once.
    fn beginning(self) -> Vec<u8> {
        let request = |flags| {
            let mut bytes = opening();
            bytes.extend(frame(HEADERS, flags, 1, &export_headers()));
            bytes
        };
        match self {
            Manner::Silent | Manner::SilentHttp | Manner::Preface => Vec::new(),
            Manner::Idle => opening(),
            Manner::Headers => request(0),
            Manner::Message => request(END_HEADERS),
            Manner::HalfMessage => {
                let mut bytes = request(END_HEADERS);
                // A mebibyte, it says; what is sent stays within HTTP/2's first window.
                bytes.extend(frame(DATA, 0, 1, &[0, 0, 16, 0, 0]));
                bytes.extend(frame(DATA, 0, 1, &[0; 16_000]).repeat(4));
                bytes
            }
            Manner::HeadHttp => b"POST /v1/traces HTTP/1.1\r\nhost: edge\r\nx-long: ".to_vec(),
            Manner::BodyHttp => {
                b"POST /v1/traces HTTP/1.1\r\nhost: edge\r\ncontent-length: 10000\r\n\
                                  content-type: application/x-protobuf\r\n\r\n"
                    .to_vec()
            }
        }
    }

    /// The next piece of what is trickled, if anything is.
    fn piece(self, number: usize) -> Option<Vec<u8>> {
        match self {
            Manner::Preface => PREFACE.get(number).map(|byte| vec![*byte]),
            Manner::Message => {
                // A prefix that announces 1,000 bytes, then some of them.
                let prefix = [0, 0, 0, 3, 0xe8];
                Some(frame(DATA, 0, 1, &[prefix.get(number).copied().unwrap_or(7)]))
            }
            Manner::HeadHttp | Manner::BodyHttp => Some(vec![b'x']),
            Manner::Silent
            | Manner::Idle
            | Manner::Headers
            | Manner::HalfMessage
            | Manner::SilentHttp => None,
        }
    }
}

#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    closed: AtomicU64,
    most: AtomicU64,
}

/// Holds the connections; one that is closed by the edge is made again.
pub(super) async fn flood(grpc: SocketAddr, http: SocketAddr, options: &Options) -> Told {
    let counts = Arc::new(Counts::default());
    let connecting = Arc::new(Semaphore::new(CONNECTING));
    let mut tasks = JoinSet::new();
    for (index, manner) in (0..options.connections).zip(MANNERS.into_iter().cycle()) {
        let address = if manner.speaks_to_http() { http } else { grpc };
        let (counts, connecting) = (Arc::clone(&counts), Arc::clone(&connecting));
        tasks.spawn(async move {
            // Not all in one step.
            sleep(Duration::from_millis(index % 1000)).await;
            loop {
                stand(address, manner, &counts, &connecting).await;
                sleep(PAUSE).await;
            }
        });
    }
    sleep(options.hold).await;
    tasks.shutdown().await;
    let of = |count: &AtomicU64| thousands(count.load(Ordering::Relaxed));
    let most = format!("at most {} at a time", of(&counts.most));
    Told {
        rows: vec![
            ("slow connections made", of(&counts.opened), most),
            ("closed by the edge", of(&counts.closed), String::new()),
        ],
        ..Told::default()
    }
}

/// Makes one connection, and keeps it as long as it is let.
async fn stand(address: SocketAddr, manner: Manner, counts: &Counts, connecting: &Semaphore) {
    let connected = {
        let _permit = connecting.acquire().await;
        timeout(Duration::from_secs(5), TcpStream::connect(address)).await
    };
    let Ok(Ok(mut stream)) = connected else { return };
    counts.opened.fetch_add(1, Ordering::Relaxed);
    let open = counts.opened.load(Ordering::Relaxed) - counts.closed.load(Ordering::Relaxed);
    counts.most.fetch_max(open, Ordering::Relaxed);
    speak(&mut stream, manner).await;
    counts.closed.fetch_add(1, Ordering::Relaxed);
}

/// Sends what there is to send until the other side closes.
async fn speak(stream: &mut TcpStream, manner: Manner) {
    let (mut read, mut write) = stream.split();
    let closed = async {
        let mut scratch = [0; 512];
        while read.read(&mut scratch).await.is_ok_and(|count| count > 0) {}
    };
    let trickle = async {
        if write.write_all(&manner.beginning()).await.is_err() {
            return;
        }
        for number in 0.. {
            sleep(PAUSE).await;
            let Some(piece) = manner.piece(number) else { break };
            if write.write_all(&piece).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = closed => {}
        () = trickle => {}
    }
}
