//! What waits for one backend, and when it goes. Pure: told the time, does no I/O.
//!
//! At most so many requests are under way to a backend at a time. Small parts that wait are joined
//! into one request: when nothing is under way the next part goes at once, else parts wait for
//! each other until they are large enough, the oldest has waited its time, or the way is free.
//! So a quiet backend adds no delay, and a busy one gets few large requests instead of many small
//! ones.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a lane must know of what waits in it.
pub(super) trait Waiting {
    /// Its size, in the unit of the limits.
    fn size(&self) -> usize;

    /// Whether it is to be sent by itself.
    fn alone(&self) -> bool;

    /// Whether it may be in one request with `other`.
    fn joins(&self, other: &Self) -> bool;

    /// Whether nobody wants it sent any more.
    fn given_up(&self) -> bool;
}

/// When parts go, and how many together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Requests under way at a time.
    pub(super) in_flight: usize,
    /// The longest a part waits for others; 0 joins nothing.
    pub(super) max_wait: Duration,
    /// What waits goes when it has this size.
    pub(super) min_size: usize,
    /// No joined request is larger; 0 is no limit.
    pub(super) max_size: usize,
    /// Whether parts wait for each other also when nothing is under way.
    pub(super) patient: bool,
}

/// What waits for one backend.
#[derive(Debug)]
pub(super) struct Lane<T> {
    limits: Limits,
    waiting: VecDeque<T>,
    size: usize,
    /// When the oldest has waited its time.
    due: Option<Instant>,
    in_flight: usize,
    /// The backend asked for a pause.
    paused_until: Option<Instant>,
    /// All that waits is to go now.
    flushing: bool,
}

impl<T: Waiting> Lane<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            size: 0,
            due: None,
            in_flight: 0,
            paused_until: None,
            flushing: false,
        }
    }

    /// Takes what is to be sent.
    pub(super) fn push(&mut self, part: T, now: Instant) {
        self.size += part.size();
        self.due.get_or_insert(now + self.limits.max_wait);
        self.waiting.push_back(part);
    }

    /// The parts of the next request, which counts as under way from now on. Parts that nobody
    /// wants are handed to `given_up` instead.
    pub(super) fn next(&mut self, now: Instant, given_up: &mut Vec<T>) -> Option<Vec<T>> {
        while self.waiting.front().is_some_and(T::given_up) {
            given_up.extend(self.pop());
        }
        if !self.may_go(now) {
            return None;
        }
        let first = self.pop()?;
        let mut size = first.size();
        let mut parts = vec![first];
        while !self.limits.max_wait.is_zero() && !parts[0].alone() {
            let Some(next) = self.waiting.front() else { break };
            if next.given_up() {
                given_up.extend(self.pop());
                continue;
            }
            let fits = self.limits.max_size == 0 || size + next.size() <= self.limits.max_size;
            if !fits || next.alone() || !parts[0].joins(next) {
                break;
            }
            size += next.size();
            parts.extend(self.pop());
        }
        self.due = (!self.waiting.is_empty()).then_some(now + self.limits.max_wait);
        self.in_flight += 1;
        Some(parts)
    }

    /// A request that was under way has its outcome.
    pub(super) fn ended(&mut self) {
        self.in_flight -= 1;
    }

    /// The backend asked not to be sent anything before `until`.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// What waits is not to wait for others or for the end of a pause any more.
    pub(super) fn flush(&mut self) {
        self.flushing = true;
    }

    /// When [`Lane::next`] is to be asked again, if time alone can make a difference.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() || self.in_flight >= self.limits.in_flight {
            return None;
        }
        match self.paused_until {
            Some(until) if until > now && !self.flushing => Some(until),
            _ => self.due,
        }
    }

    /// All that waits and fulfils `wanted`, which does not wait any more.
    pub(super) fn take(&mut self, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let (taken, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(wanted);
        self.waiting = kept.into();
        self.size = self.waiting.iter().map(T::size).sum();
        if self.waiting.is_empty() {
            self.due = None;
        }
        taken
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// What has waited longest.
    pub(super) fn oldest(&self) -> Option<&T> {
        self.waiting.front()
    }

    fn pop(&mut self) -> Option<T> {
        let part = self.waiting.pop_front()?;
        self.size -= part.size();
        Some(part)
    }

    fn may_go(&self, now: Instant) -> bool {
        let Some(first) = self.waiting.front() else { return false };
        if self.in_flight >= self.limits.in_flight {
            return false;
        }
        if self.flushing {
            return true;
        }
        if self.paused_until.is_some_and(|until| now < until) {
            return false;
        }
        (self.in_flight == 0 && !self.limits.patient)
            || self.limits.max_wait.is_zero()
            || first.alone()
            || self.size >= self.limits.min_size
            || self.due.is_some_and(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(2);

    /// Letters of one case join; a digit goes alone; `-` is wanted by nobody. All have size 1.
    impl Waiting for char {
        fn size(&self) -> usize {
            1
        }

        fn alone(&self) -> bool {
            self.is_ascii_digit()
        }

        fn joins(&self, other: &Self) -> bool {
            self.is_lowercase() == other.is_lowercase()
        }

        fn given_up(&self) -> bool {
            *self == '-'
        }
    }

    fn limits() -> Limits {
        Limits { in_flight: 2, max_wait: WAIT, min_size: 4, max_size: 6, patient: false }
    }

    struct Fixture {
        lane: Lane<char>,
        now: Instant,
        given_up: Vec<char>,
    }

    impl Fixture {
        fn new(limits: Limits) -> Self {
            Self { lane: Lane::new(limits), now: shared::clock::now(), given_up: Vec::new() }
        }

        fn push(&mut self, parts: &str) -> &mut Self {
            parts.chars().for_each(|part| self.lane.push(part, self.now));
            self
        }

        /// All requests that go now.
        fn go(&mut self) -> Vec<String> {
            let next = || self.lane.next(self.now, &mut self.given_up);
            std::iter::from_fn(next).map(|parts| parts.into_iter().collect()).collect()
        }
    }

    #[test]
    fn with_nothing_under_way_the_next_part_goes_at_once() {
        let mut fixture = Fixture::new(limits());
        assert_eq!(fixture.push("a").go(), ["a"]);
        assert_eq!(fixture.lane.in_flight(), 1);
    }

    #[test]
    fn else_parts_wait_for_each_other_but_not_for_long() {
        let mut fixture = Fixture::new(limits());
        fixture.push("a").go();
        assert!(fixture.push("bc").go().is_empty());
        assert_eq!(fixture.lane.due(fixture.now), Some(fixture.now + WAIT));
        fixture.now += WAIT;
        assert_eq!(fixture.go(), ["bc"]);
    }

    #[test]
    fn parts_go_when_they_are_large_enough_and_never_too_large_together() {
        let mut fixture = Fixture::new(limits());
        fixture.push("a").go();
        assert_eq!(fixture.push("bcde").go(), ["bcde"]);
        fixture.push("fghijklmn");
        assert!(fixture.go().is_empty(), "two are under way");
        fixture.lane.ended();
        assert_eq!(fixture.go(), ["fghijk"]);
        fixture.lane.ended();
        fixture.lane.ended();
        assert_eq!(fixture.go(), ["lmn"]);
    }

    #[test]
    fn no_more_than_the_limit_is_under_way() {
        let mut fixture = Fixture::new(Limits { max_wait: Duration::ZERO, ..limits() });
        assert_eq!(fixture.push("abc").go(), ["a", "b"]);
        assert_eq!(fixture.lane.due(fixture.now), None);
        fixture.lane.ended();
        assert_eq!(fixture.go(), ["c"]);
    }

    #[test]
    fn what_must_not_be_joined_is_not() {
        let mut fixture = Fixture::new(Limits { in_flight: 9, ..limits() });
        fixture.push("abAB1cd2");
        fixture.now += WAIT;
        let mut requests = fixture.go();
        fixture.now += WAIT;
        requests.extend(fixture.go());
        fixture.now += WAIT;
        requests.extend(fixture.go());
        assert_eq!(requests, ["ab", "AB", "1", "cd", "2"]);
    }

    #[test]
    fn a_pause_is_kept_unless_all_must_go() {
        let mut fixture = Fixture::new(limits());
        let until = fixture.now + Duration::from_secs(1);
        fixture.lane.pause(until);
        assert!(fixture.push("abcdef").go().is_empty());
        assert_eq!(fixture.lane.due(fixture.now), Some(until));
        fixture.now = until;
        assert_eq!(fixture.go(), ["abcdef"]);
        fixture.lane.pause(until + WAIT);
        fixture.lane.flush();
        assert_eq!(fixture.push("g").go(), ["g"]);
    }

    #[test]
    fn a_patient_lane_waits_also_when_nothing_is_under_way() {
        let mut fixture = Fixture::new(Limits { patient: true, ..limits() });
        assert!(fixture.push("a").go().is_empty());
        assert_eq!(fixture.push("bcd").go(), ["abcd"]);
    }

    #[test]
    fn what_nobody_wants_is_not_sent() {
        let mut fixture = Fixture::new(limits());
        assert_eq!(fixture.push("-a-b-").go(), ["ab"]);
        assert_eq!(fixture.given_up, ['-', '-', '-']);
        assert_eq!(fixture.lane.due(fixture.now), None);
    }

    #[test]
    fn what_is_taken_away_does_not_wait_any_more() {
        let mut fixture = Fixture::new(limits());
        fixture.push("z").go();
        fixture.push("aBc");
        assert_eq!(fixture.lane.take(|part| part.is_lowercase()), ['a', 'c']);
        assert_eq!(fixture.lane.oldest(), Some(&'B'));
        assert_eq!(fixture.lane.take(|_| true), ['B']);
        assert_eq!(fixture.lane.due(fixture.now), None);
    }
}
