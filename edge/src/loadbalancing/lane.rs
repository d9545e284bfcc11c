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

    /// Since when it waits here.
    fn since(&self) -> Instant;

    /// Whether it has waited for others before, and goes without waiting again.
    fn urgent(&self) -> bool;

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
    /// No joined request is larger; 0 joins until `min_size` is reached.
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
    in_flight: usize,
    /// The backend asked for a pause.
    paused_until: Option<Instant>,
    /// All that waits is to go now.
    flushing: bool,
}

impl<T: Waiting> Lane<T> {
    /// An empty one, with so many requests under way already.
    pub(super) fn new(limits: Limits, in_flight: usize) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            size: 0,
            in_flight,
            paused_until: None,
            flushing: false,
        }
    }

    /// Takes what is to be sent.
    pub(super) fn push(&mut self, part: T) {
        self.size += part.size();
        self.waiting.push_back(part);
    }

    /// The parts of the next request, which counts as under way from now on. With `pressed`, the
    /// room for what waits is running out, so that nothing waits for others. Parts that nobody
    /// wants are left to [`Lane::take`].
    pub(super) fn next(&mut self, now: Instant, pressed: bool) -> Option<Vec<T>> {
        if !self.may_go(now, pressed) {
            return None;
        }
        let first = self.pop()?;
        let mut size = first.size();
        let mut parts = vec![first];
        while !self.limits.max_wait.is_zero() {
            let Some(next) = self.waiting.front() else { break };
            if !parts[0].joins(next) || !self.fits(size, next.size()) {
                break;
            }
            size += next.size();
            parts.extend(self.pop());
        }
        self.in_flight += 1;
        Some(parts)
    }

    fn fits(&self, size: usize, more: usize) -> bool {
        match self.limits.max_size {
            0 => size < self.limits.min_size,
            most => size + more <= most,
        }
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
            _ => self.oldest().map(|part| part.since() + self.limits.max_wait),
        }
    }

    /// All that waits and fulfils `wanted`, which does not wait any more.
    pub(super) fn take(&mut self, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let (taken, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(wanted);
        self.waiting = kept.into();
        self.size = self.waiting.iter().map(T::size).sum();
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

    fn may_go(&self, now: Instant, pressed: bool) -> bool {
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
            || pressed
            || first.urgent()
            || self.size >= self.limits.min_size
            || first.since() + self.limits.max_wait <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(2);

    /// A letter, and since when it waits. Letters of one case join; digits of one value do, and
    /// go at once; `-` is wanted by nobody. All have size 1.
    type Letter = (char, Instant);

    impl Waiting for Letter {
        fn size(&self) -> usize {
            1
        }

        fn since(&self) -> Instant {
            self.1
        }

        fn urgent(&self) -> bool {
            self.0.is_ascii_digit()
        }

        fn joins(&self, other: &Self) -> bool {
            let kind = |letter: char| match letter.is_ascii_digit() {
                true => letter,
                false if letter.is_lowercase() => 'a',
                false => 'A',
            };
            kind(self.0) == kind(other.0)
        }

        fn given_up(&self) -> bool {
            self.0 == '-'
        }
    }

    fn limits() -> Limits {
        Limits { in_flight: 2, max_wait: WAIT, min_size: 4, max_size: 6, patient: false }
    }

    struct Fixture {
        lane: Lane<Letter>,
        now: Instant,
        pressed: bool,
    }

    impl Fixture {
        fn new(limits: Limits) -> Self {
            Self { lane: Lane::new(limits, 0), now: shared::clock::now(), pressed: false }
        }

        fn push(&mut self, parts: &str) -> &mut Self {
            parts.chars().for_each(|part| self.lane.push((part, self.now)));
            self
        }

        /// All requests that go now.
        fn go(&mut self) -> Vec<String> {
            let next = || self.lane.next(self.now, self.pressed);
            std::iter::from_fn(next)
                .map(|parts| parts.into_iter().map(|part| part.0).collect())
                .collect()
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
    fn no_part_waits_longer_than_its_time_whatever_goes_before_it() {
        let mut fixture = Fixture::new(Limits { in_flight: 9, ..limits() });
        fixture.push("z").go();
        fixture.push("aAaA");
        fixture.now += WAIT;
        assert_eq!(fixture.go(), ["a", "A", "a", "A"], "all have waited their time");
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
    fn without_a_largest_size_parts_are_joined_until_they_are_large_enough() {
        let mut fixture = Fixture::new(Limits { max_size: 0, ..limits() });
        assert_eq!(fixture.push("abcdefghi").go(), ["abcd", "efgh"]);
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
    fn only_what_may_be_joined_is_and_what_has_waited_before_goes_at_once() {
        let mut fixture = Fixture::new(Limits { in_flight: 9, ..limits() });
        fixture.push("z").go();
        assert_eq!(fixture.push("1122").go(), ["11", "22"]);
        fixture.push("abAB");
        fixture.now += WAIT;
        assert_eq!(fixture.go(), ["ab", "AB"]);
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
    fn a_patient_lane_waits_also_when_nothing_is_under_way_unless_room_runs_out() {
        let mut fixture = Fixture::new(Limits { patient: true, ..limits() });
        assert!(fixture.push("a").go().is_empty());
        assert_eq!(fixture.push("bcd").go(), ["abcd"]);
        assert!(fixture.push("e").go().is_empty());
        fixture.pressed = true;
        assert_eq!(fixture.go(), ["e"]);
    }

    #[test]
    fn what_is_taken_away_does_not_wait_any_more() {
        let mut fixture = Fixture::new(limits());
        fixture.push("z").go();
        fixture.push("aB-c");
        let given_up = fixture.lane.take(Waiting::given_up);
        assert_eq!(given_up.len(), 1);
        let taken = fixture.lane.take(|part| part.0.is_lowercase());
        assert_eq!(taken.iter().map(|part| part.0).collect::<String>(), "ac");
        assert_eq!(fixture.lane.oldest().map(|part| part.0), Some('B'));
        assert_eq!(fixture.lane.take(|_| true).len(), 1);
        assert_eq!(fixture.lane.due(fixture.now), None);
    }
}
