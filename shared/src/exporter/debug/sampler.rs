//! Which requests are written when there are many. Told the time.

use std::time::{Duration, Instant};

/// The time that counts begin anew in.
const PERIOD: Duration = Duration::from_secs(1);

/// Passes the first few of each second, then every how-manieth.
#[derive(Debug)]
pub(super) struct Sampler {
    initial: u64,
    thereafter: u64,
    began: Option<Instant>,
    seen: u64,
}

impl Sampler {
    /// Passes `initial` in each second and then each `thereafter`th; 0 passes none of those.
    pub(super) fn new(initial: u32, thereafter: u32) -> Self {
        Self { initial: initial.into(), thereafter: thereafter.into(), began: None, seen: 0 }
    }

    /// Whether the request that comes now is written.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        if now.saturating_duration_since(began) >= PERIOD {
            (self.began, self.seen) = (Some(now), 0);
        }
        self.seen += 1;
        match self.seen.checked_sub(self.initial) {
            None | Some(0) => true,
            Some(further) => self.thereafter > 0 && further % self.thereafter == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(initial: u32, thereafter: u32, expected: &str) {
        let (mut sampler, now) = (Sampler::new(initial, thereafter), crate::clock::now());
        let mut passed = String::new();
        for _ in 0..expected.len() {
            passed.push(if sampler.pass(now) { '+' } else { '.' });
        }
        assert_eq!(passed, expected);
        assert_eq!(sampler.pass(now + PERIOD), initial > 0 || thereafter == 1, "counts begin anew");
    }

    #[test]
    fn the_first_few_of_each_second_pass_and_then_some() {
        check(2, 1, "++++++");
        check(2, 3, "++..+..+");
        check(2, 0, "++....");
        check(0, 2, ".+.+");
    }
}
