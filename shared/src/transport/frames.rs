//! What a client's HTTP/2 frames say before the library has them.
//!
//! Only the nine bytes at the head of each frame are looked at, as they pass. That is enough to
//! know whether a frame or a block of headers was begun and not ended, which the library waits
//! for without end; to hold clients to a policy on pings, which it answers without looking at
//! the time; and to bound the frames that cost work and carry nothing (rapid reset,
//! CVE-2023-44487, and its relatives). Pure state, which is told the time.

use std::time::{Duration, Instant};

use super::connections::Cut;

/// What HTTP/2 begins with.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Flags: of `DATA` the end of its stream, of `PING` and `SETTINGS` an acknowledgement.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const ENHANCE_YOUR_CALM: u32 = 11;

/// Idle frames that a client may send each second, on top of a burst.
const IDLE_FRAMES_PER_SECOND: f64 = 100.0;

/// Bad pings that are passed over. Source: grpc-go `internal/transport/http2_server.go`.
const MAX_PING_STRIKES: u32 = 2;

/// How long a client without requests must wait between pings if it may not send any. The same.
const WITHOUT_REQUESTS: Duration = Duration::from_secs(2 * 60 * 60);

/// What stands in front of a frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

enum Event {
    Head(Head),
    End,
}

/// Finds the frames in a stream of bytes.
#[derive(Debug, Default)]
struct Cutter {
    head: [u8; HEAD],
    filled: usize,
    payload_left: usize,
}

impl Cutter {
    /// The next head or end in `bytes`, which lose what was passed over.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Event> {
        if self.filled < HEAD {
            let count = bytes.len().min(HEAD - self.filled);
            let (head, rest) = bytes.split_at(count);
            self.head[self.filled..][..count].copy_from_slice(head);
            self.filled += count;
            *bytes = rest;
            if self.filled < HEAD {
                return None;
            }
            let [high, middle, low, kind, flags, stream @ ..] = self.head;
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
            self.payload_left = length;
            return Some(Event::Head(Head { length, kind, flags, stream }));
        }
        let count = bytes.len().min(self.payload_left);
        *bytes = &bytes[count..];
        self.payload_left -= count;
        if self.payload_left > 0 {
            return None;
        }
        self.filled = 0;
        Some(Event::End)
    }

    fn is_within_a_frame(&self) -> bool {
        self.filled > 0
    }
}

/// What clients may do with pings. Source: collector config/configgrpc, `enforcement_policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingPolicy {
    /// Shortest time between two of them.
    pub min_time: Duration,
    /// Whether they may come while no request is under way.
    pub permit_without_stream: bool,
}

/// Follows what one client sends and gets.
#[derive(Debug)]
pub(super) struct Frames {
    received: Cutter,
    sent: Cutter,
    /// Frames that ended, a block of headers counting as one.
    ended: u64,
    block_is_open: bool,
    last_stream: u32,
    idle_frames: Bucket,
    pings: Option<Pings>,
}

impl Frames {
    /// `burst` is how many idle frames a client may send at once.
    pub(super) fn new(burst: u32, policy: Option<PingPolicy>) -> Self {
        Self {
            received: Cutter::default(),
            sent: Cutter::default(),
            ended: 0,
            block_is_open: false,
            last_stream: 0,
            idle_frames: Bucket { left: f64::from(burst), most: f64::from(burst), last: None },
            pings: policy.map(|policy| Pings { policy, last: None, strikes: 0 }),
        }
    }

    /// Passes over what was received behind the preface; `requests` says whether any are under way.
    ///
    /// # Errors
    /// When the client goes too far.
    pub(super) fn receive(
        &mut self,
        mut bytes: &[u8],
        now: impl Fn() -> Instant,
        requests: bool,
    ) -> Result<(), Cut> {
        while let Some(event) = self.received.next(&mut bytes) {
            match event {
                Event::Head(head) => self.look_at(head, &now, requests)?,
                Event::End if self.block_is_open => {}
                Event::End => self.ended += 1,
            }
        }
        Ok(())
    }

    fn look_at(
        &mut self,
        head: Head,
        now: &impl Fn() -> Instant,
        requests: bool,
    ) -> Result<(), Cut> {
        match head.kind {
            HEADERS | CONTINUATION => {
                self.last_stream = self.last_stream.max(head.stream);
                self.block_is_open = head.flags & END_HEADERS == 0;
                return Ok(());
            }
            DATA if head.length > 0 || head.flags & END_STREAM != 0 => return Ok(()),
            PING | SETTINGS if head.flags & ACK != 0 => return Ok(()),
            // A goodbye ends the work; windows open for answers, of which there is little.
            WINDOW_UPDATE | GOAWAY => return Ok(()),
            PING => {
                if let Some(pings) = &mut self.pings {
                    pings.another(now(), requests)?;
                }
            }
            _ => {}
        }
        match self.idle_frames.take(now()) {
            true => Ok(()),
            false if head.kind == RST_STREAM => Err(Cut::Resets),
            false => Err(Cut::IdleFrames),
        }
    }

    /// Passes over what was sent.
    pub(super) fn send(&mut self, mut bytes: &[u8]) {
        while let Some(event) = self.sent.next(&mut bytes) {
            // Whoever is answered may ping again.
            if let (Event::Head(Head { kind: DATA | HEADERS, .. }), Some(pings)) =
                (event, &mut self.pings)
            {
                pings.last = None;
                pings.strikes = 0;
            }
        }
    }

    /// What is being received, as a number that changes with each frame or block of headers;
    /// none between two of them. The first frame is due as soon as the connection begins.
    pub(super) fn unfinished(&self) -> Option<u64> {
        let begun = self.ended == 0 || self.block_is_open || self.received.is_within_a_frame();
        begun.then_some(self.ended)
    }

    /// The frame that says goodbye for this reason, if none is halfway sent.
    pub(super) fn farewell(&self, cut: Cut) -> Option<Vec<u8>> {
        if self.sent.is_within_a_frame() {
            return None;
        }
        let why = cut.goodbye().as_bytes();
        let mut frame = Vec::with_capacity(HEAD + 8 + why.len());
        let length = u32::try_from(8 + why.len()).expect("a few bytes");
        frame.extend_from_slice(&length.to_be_bytes()[1..]);
        frame.extend_from_slice(&[GOAWAY, 0, 0, 0, 0, 0]);
        frame.extend_from_slice(&self.last_stream.to_be_bytes());
        frame.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
        frame.extend_from_slice(why);
        Some(frame)
    }
}

/// So many at once, and a few more each second.
#[derive(Debug)]
struct Bucket {
    left: f64,
    most: f64,
    last: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let passed = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        self.left = (self.left + passed.as_secs_f64() * IDLE_FRAMES_PER_SECOND).min(self.most);
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

/// A client's pings. Source: grpc-go `internal/transport/http2_server.go`, `handlePing`.
#[derive(Debug)]
struct Pings {
    policy: PingPolicy,
    /// None since an answer was sent.
    last: Option<Instant>,
    strikes: u32,
}

impl Pings {
    fn another(&mut self, now: Instant, requests: bool) -> Result<(), Cut> {
        let pause = match requests || self.policy.permit_without_stream {
            true => self.policy.min_time,
            false => WITHOUT_REQUESTS,
        };
        let last = self.last.replace(now);
        if last.is_some_and(|last| now.saturating_duration_since(last) < pause) {
            self.strikes += 1;
        }
        match self.strikes > MAX_PING_STRIKES {
            true => Err(Cut::Pings),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::clock;

    const BURST: u32 = 10;

    /// A frame with a payload of zeros.
    pub(crate) fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.resize(HEAD + length, 0);
        frame
    }

    /// Behind the settings.
    fn begun(policy: Option<PingPolicy>) -> Frames {
        let mut frames = Frames::new(BURST, policy);
        receive(&mut frames, &frame(SETTINGS, 0, 0, 18)).unwrap();
        frames
    }

    fn receive(frames: &mut Frames, bytes: &[u8]) -> Result<(), Cut> {
        let now = clock::now();
        frames.receive(bytes, || now, false)
    }

    #[test]
    fn a_frame_and_a_block_of_headers_are_unfinished_to_their_last_byte() {
        let mut frames = Frames::new(BURST, None);
        assert_eq!(frames.unfinished(), Some(0), "the settings are due at once");
        for byte in &frame(SETTINGS, 0, 0, 6) {
            assert_eq!(frames.unfinished(), Some(0));
            receive(&mut frames, &[*byte]).unwrap();
        }
        assert_eq!(frames.unfinished(), None);
        // Headers, and two continuations: one unit.
        receive(&mut frames, &frame(HEADERS, 0, 1, 3)).unwrap();
        assert_eq!(frames.unfinished(), Some(1));
        receive(&mut frames, &frame(CONTINUATION, 0, 1, 3)).unwrap();
        assert_eq!(frames.unfinished(), Some(1));
        receive(&mut frames, &frame(CONTINUATION, END_HEADERS, 1, 0)).unwrap();
        assert_eq!(frames.unfinished(), None);
        let data = frame(DATA, 0, 1, 5);
        receive(&mut frames, &data[..13]).unwrap();
        assert_eq!(frames.unfinished(), Some(2));
        receive(&mut frames, &data[13..]).unwrap();
        assert_eq!(frames.unfinished(), None);
    }

    #[test]
    fn idle_frames_are_bounded_and_come_back_with_time() {
        for (kind, cut) in [(RST_STREAM, Cut::Resets), (PING, Cut::IdleFrames)] {
            let start = clock::now();
            let mut frames = Frames::new(BURST, None);
            frames.receive(&frame(SETTINGS, 0, 0, 0), || start, true).unwrap();
            let flood = frame(kind, 0, 1, 8).repeat(BURST as usize - 1);
            frames.receive(&flood, || start, true).unwrap();
            let one = frame(kind, 0, 1, 8);
            let later = start + Duration::from_millis(11);
            frames.receive(&one, || later, true).unwrap();
            assert_eq!(frames.receive(&one, || later, true), Err(cut));
        }
    }

    #[test]
    fn frames_that_carry_something_are_not_bounded() {
        let mut frames = begun(None);
        for _ in 0..100 {
            receive(&mut frames, &frame(HEADERS, END_HEADERS, 1, 40)).unwrap();
            receive(&mut frames, &frame(DATA, 0, 1, 1)).unwrap();
            receive(&mut frames, &frame(DATA, END_STREAM, 1, 0)).unwrap();
            receive(&mut frames, &frame(WINDOW_UPDATE, 0, 0, 4)).unwrap();
            receive(&mut frames, &frame(PING, ACK, 0, 8)).unwrap();
        }
        let empty = frame(DATA, 0, 1, 0).repeat(BURST as usize + 1);
        assert_eq!(receive(&mut frames, &empty), Err(Cut::IdleFrames));
    }

    /// How many pings in a row, so far apart, end the connection; none of a dozen if none does.
    fn fatal_ping(policy: PingPolicy, apart: Duration, requests: bool) -> Option<u32> {
        let mut frames = begun(Some(policy));
        let mut now = clock::now();
        for number in 1..=8 {
            if frames.receive(&frame(PING, 0, 0, 8), || now, requests).is_err() {
                return Some(number);
            }
            now += apart;
        }
        None
    }

    #[test]
    fn pings_keep_to_the_policy() {
        let second = Duration::from_secs(1);
        let policy = PingPolicy { min_time: 10 * second, permit_without_stream: false };
        assert_eq!(fatal_ping(policy, 10 * second, true), None);
        assert_eq!(fatal_ping(policy, 9 * second, true), Some(4), "the third bad one");
        assert_eq!(fatal_ping(policy, 10 * second, false), Some(4));
        assert_eq!(fatal_ping(policy, WITHOUT_REQUESTS, false), None);
        let permitted = PingPolicy { permit_without_stream: true, ..policy };
        assert_eq!(fatal_ping(permitted, 10 * second, false), None);
    }

    #[test]
    fn an_answer_forgives_the_pings_before_it() {
        let policy = PingPolicy { min_time: WITHOUT_REQUESTS, permit_without_stream: false };
        let mut frames = begun(Some(policy));
        for _ in 0..4 {
            // The first is free, and two strikes are.
            receive(&mut frames, &frame(PING, 0, 0, 8)).unwrap();
            receive(&mut frames, &frame(PING, 0, 0, 8)).unwrap();
            frames.send(&frame(HEADERS, END_HEADERS, 1, 20));
        }
    }

    #[test]
    fn goodbye_is_said_between_two_frames_only() {
        let mut frames = begun(None);
        receive(&mut frames, &frame(HEADERS, END_HEADERS, 7, 1)).unwrap();
        let farewell = frames.farewell(Cut::Pings).unwrap();
        let mut expected = frame(GOAWAY, 0, 0, 8 + "too_many_pings".len());
        expected.truncate(HEAD);
        expected.extend([0, 0, 0, 7, 0, 0, 0, 11]);
        expected.extend(b"too_many_pings");
        assert_eq!(farewell, expected);
        frames.send(&frame(DATA, 0, 7, 5)[..10]);
        assert!(frames.farewell(Cut::Pings).is_none());
    }
}
