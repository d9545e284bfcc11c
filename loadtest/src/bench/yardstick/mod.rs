//! Yardsticks: what moving the same bytes costs without a gateway.
//!
//! ```text
//! loader ── connections ──▶ station ── one part to each ──▶ destinations
//! ```
//!
//! The station stands where the process under test stands, on its core; loader and destinations
//! have the cores that they have there. It takes every message of the load in, hands its bytes on
//! in equal parts if the route says so, and answers when all parts were answered: what the process
//! under test does, without looking at a byte. Only the station's threads are counted, by their
//! CPU clocks. Over loopback the sender pays for most of the receiver's TCP, here as there.
//!
//! Its figure is a floor: no gateway that is acknowledged end to end over these transports can
//! cost less than the same transport that carries the same bytes.

mod http2;
mod tcp;

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cpu;
use crate::testbed::TestbedError;
use crate::testbed::cores::Cores;

/// How bytes are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Yardstick {
    /// Blocking reads and writes on TCP sockets, a thread for each connection.
    Tcp,
    /// The `h2` crate on both sides, large frames and windows, messages as DATA.
    Http2,
    /// Copying from one buffer to another.
    Memcpy,
}

impl Yardstick {
    /// All of them, the dearest first.
    pub const ALL: [Self; 3] = [Self::Http2, Self::Tcp, Self::Memcpy];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "raw TCP",
            Self::Http2 => "bare HTTP/2",
            Self::Memcpy => "memcpy",
        }
    }

    /// What is measured, in a sentence.
    pub fn meaning(self, route: Route) -> String {
        let way = match route {
            Route::Relay { parts } => format!("in, and out in {parts} parts"),
            Route::Intake => "in".to_owned(),
        };
        match self {
            Self::Tcp => format!("{way}, by blocking reads and writes of a thread a connection"),
            Self::Http2 => format!("{way}, by the h2 crate, frames of 256 KiB, windows of 4 MiB"),
            Self::Memcpy => match route {
                Route::Relay { .. } => "copied twice".to_owned(),
                Route::Intake => "copied once".to_owned(),
            },
        }
    }
}

/// The way of the bytes through what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// In, and out in so many equal parts: a router.
    Relay {
        /// Number of destinations.
        parts: usize,
    },
    /// In only: a destination that keeps what it gets.
    Intake,
}

impl Route {
    fn parts(self) -> usize {
        match self {
            Self::Relay { parts } => parts.max(1),
            Self::Intake => 0,
        }
    }
}

/// The bytes, and how they come.
#[derive(Debug, Clone)]
pub struct Work {
    /// What is sent, over and over, as it is on the wire.
    pub messages: Arc<[Bytes]>,
    /// Spans in all messages together.
    pub spans: u64,
    /// Connections that messages come by, in turns.
    pub connections: usize,
    /// Messages on their way at a time, over all connections; at least one on each.
    pub in_flight: usize,
    /// The way of the bytes.
    pub route: Route,
    /// Where the station runs.
    pub station: Cores,
    /// Where loader and destinations run.
    pub others: Cores,
}

/// What moving the bytes cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// How they were moved.
    pub yardstick: Yardstick,
    /// CPU of the station.
    pub cpu_seconds_per_million_spans: f64,
    /// Bytes that came in, by the clock; 10⁹ a second.
    pub gigabytes_per_second: f64,
    /// Spans that the moved messages hold.
    pub spans: u64,
    /// Bytes that came in.
    pub bytes: u64,
}

impl Limit {
    /// What moving the same bytes in two ways costs together.
    pub fn and(self, other: Self) -> Self {
        Self {
            cpu_seconds_per_million_spans: self.cpu_seconds_per_million_spans
                + other.cpu_seconds_per_million_spans,
            gigabytes_per_second: self.gigabytes_per_second.min(other.gigabytes_per_second),
            ..self
        }
    }

    /// The one whose CPU is the median; none of none.
    pub fn median(mut limits: Vec<Self>) -> Option<Self> {
        let cpu = |limit: &Self| limit.cpu_seconds_per_million_spans;
        limits.sort_by(|a, b| cpu(a).total_cmp(&cpu(b)));
        limits.get(limits.len() / 2).copied()
    }
}

/// What a station used, and how long all of it took.
struct Moved {
    cpu: Duration,
    elapsed: Duration,
}

impl Work {
    /// Moves the messages of at least `spans` spans. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When there is nothing to send, a connection breaks or a core cannot be had.
    pub fn measure(&self, yardstick: Yardstick, spans: u64) -> Result<Limit, TestbedError> {
        if self.messages.is_empty() || self.spans == 0 {
            return Err(TestbedError::new("a yardstick needs messages with spans"));
        }
        let count = (spans * self.messages.len() as u64).div_ceil(self.spans);
        let count = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
        let moved = match yardstick {
            Yardstick::Tcp => tcp::measure(self, count),
            Yardstick::Http2 => http2::measure(self, count),
            Yardstick::Memcpy => std::thread::scope(|scope| {
                scope.spawn(|| copy(self, count)).join().expect("copying does not panic")
            }),
        };
        let moved = moved.map_err(|error| {
            TestbedError::new(format!("yardstick {}: {error}", yardstick.name()))
        })?;
        Ok(self.limit(yardstick, count, &moved))
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of a round are far below 2^53")]
    fn limit(&self, yardstick: Yardstick, count: usize, moved: &Moved) -> Limit {
        let length = self.messages.len();
        let of = |messages: &[Bytes]| messages.iter().map(|message| message.len() as u64).sum();
        let (whole, rest): (u64, u64) = (of(&self.messages), of(&self.messages[..count % length]));
        let bytes = whole * (count / length) as u64 + rest;
        let spans = (self.spans * count as u64) as f64 / length as f64;
        Limit {
            yardstick,
            cpu_seconds_per_million_spans: moved.cpu.as_secs_f64() * 1e6 / spans,
            gigabytes_per_second: bytes as f64 / 1e9 / moved.elapsed.as_secs_f64().max(1e-9),
            spans: crate::testbed::page::whole(spans),
            bytes,
        }
    }

    /// Message number `index` of the load.
    fn message(&self, index: usize) -> &Bytes {
        &self.messages[index % self.messages.len()]
    }

    /// Numbers of the messages that come by one of the connections, out of `count`.
    fn by(&self, connection: usize, count: usize) -> impl Iterator<Item = usize> + use<> {
        (connection..count).step_by(self.connections.max(1))
    }

    fn largest(&self) -> usize {
        self.messages.iter().map(Bytes::len).max().unwrap_or(0)
    }
}

/// Part number `index` out of `parts` nearly equal ones of a message.
fn part(size: usize, parts: usize, index: usize) -> Range<usize> {
    size * index / parts..size * (index + 1) / parts
}

/// The two ends of a new connection.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    for end in [&near, &far] {
        end.set_nodelay(true)?;
    }
    Ok((near, far))
}

/// Several connections: the ends that send, and the ends that receive.
fn connections(count: usize) -> io::Result<(Vec<TcpStream>, Vec<TcpStream>)> {
    (0..count).map(|_| connection()).collect()
}

/// The answer to a message or a part.
const REPLY: &[u8] = b"received";

fn copy(work: &Work, count: usize) -> Result<Moved, TestbedError> {
    work.station.move_this_thread()?;
    let mut received = vec![0; work.largest()];
    let mut sent = vec![0; work.largest()];
    let (before, started) = (cpu::of_thread()?, shared::clock::now());
    for index in 0..count {
        let message = work.message(index);
        let received = &mut received[..message.len()];
        received.copy_from_slice(message);
        if work.route != Route::Intake {
            sent[..message.len()].copy_from_slice(std::hint::black_box(received));
        }
        std::hint::black_box((&received, &sent));
    }
    let elapsed = shared::clock::now() - started;
    Ok(Moved { cpu: cpu::of_thread()?.saturating_sub(before), elapsed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(route: Route, connections: usize, in_flight: usize) -> Work {
        let messages = [100_000, 1, 3_000_000].map(|size| Bytes::from(vec![7; size]));
        let cores = Cores::available().unwrap();
        Work {
            messages: messages.into(),
            spans: 6,
            connections,
            in_flight,
            route,
            station: cores,
            others: cores,
        }
    }

    #[test]
    fn every_yardstick_moves_the_messages_of_the_spans_that_are_asked_for() {
        for route in [Route::Relay { parts: 5 }, Route::Intake] {
            for (connections, in_flight) in [(1, 1), (2, 8), (3, 1)] {
                let work = work(route, connections, in_flight);
                for yardstick in Yardstick::ALL {
                    let limit = work.measure(yardstick, 19).unwrap();
                    assert_eq!((limit.spans, limit.bytes), (20, 9_400_003), "{yardstick:?}");
                    assert!(limit.cpu_seconds_per_million_spans > 0.0);
                    assert!(limit.gigabytes_per_second > 0.0);
                }
            }
        }
    }

    #[test]
    fn parts_are_nearly_equal_and_make_up_the_whole() {
        for size in [0, 1, 4, 5, 13, 1_000_003] {
            let parts: Vec<_> = (0..5).map(|index| part(size, 5, index)).collect();
            let ends = parts.windows(2).all(|pair| pair[0].end == pair[1].start);
            assert!(ends && parts[0].start == 0 && parts[4].end == size, "{parts:?}");
            let lengths = parts.iter().map(Range::len);
            assert!(lengths.clone().max().unwrap() - lengths.min().unwrap() <= 1, "{parts:?}");
        }
    }

    #[test]
    fn connections_share_the_messages_in_turns() {
        let work = work(Route::Intake, 3, 3);
        let all: Vec<Vec<usize>> = (0..3).map(|one| work.by(one, 7).collect()).collect();
        assert_eq!(all, [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
    }

    #[test]
    fn a_load_without_spans_has_no_yardstick() {
        let nothing = Work { messages: [].into(), ..work(Route::Intake, 1, 1) };
        assert!(nothing.measure(Yardstick::Tcp, 1).is_err());
    }

    #[test]
    fn a_limit_is_read_as_it_was_written() {
        let limit = work(Route::Intake, 1, 1).measure(Yardstick::Memcpy, 6).unwrap();
        let text = serde_json::to_string(&limit).unwrap();
        assert!(text.starts_with(r#"{"yardstick":"memcpy","cpu_seconds_per_"#), "{text}");
        assert_eq!(serde_json::from_str::<Limit>(&text).unwrap(), limit);
    }

    #[test]
    fn the_median_is_by_cpu() {
        let limit = |cpu| Limit {
            yardstick: Yardstick::Tcp,
            cpu_seconds_per_million_spans: cpu,
            gigabytes_per_second: 1.0,
            spans: 1,
            bytes: 1,
        };
        let median = Limit::median(vec![limit(3.0), limit(1.0), limit(2.0)]).unwrap();
        assert!((median.cpu_seconds_per_million_spans - 2.0).abs() < 1e-9);
        assert_eq!(Limit::median(Vec::new()), None);
    }
}
