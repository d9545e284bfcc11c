//! Who is a member, as a sequence of DNS answers tells it. Pure: told answers, does no I/O.
//!
//! Joining is quick and leaving is slow. An address that is new joins at once. One that is missing
//! leaves only after several answers in a row without it, since a partial answer looks the same,
//! and every wrong move splits traces. An answer that failed or is empty says nothing at all.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::MAX_ENDPOINTS;

/// What a lookup found out. IPv4 and IPv6 are asked separately, and each may fail by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// IPv4 addresses; `None` when that question got no answer.
    pub v4: Option<Vec<IpAddr>>,
    /// IPv6 addresses; `None` when that question got no answer.
    pub v6: Option<Vec<IpAddr>>,
}

impl Answer {
    /// Whether there is no address in it, for whatever reason.
    pub fn is_empty(&self) -> bool {
        self.addresses().next().is_none()
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.iter().chain(&self.v6).flatten().map(IpAddr::to_canonical)
    }

    /// Whether the question that would have given `address` was answered.
    fn speaks_of(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4.is_some(),
            IpAddr::V6(_) => self.v6.is_some(),
        }
    }
}

/// What an answer changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Addresses that joined.
    pub joined: Vec<IpAddr>,
    /// Addresses that left.
    pub left: Vec<IpAddr>,
    /// How many new addresses were passed over, since the set is as large as it may be.
    pub passed_over: usize,
}

impl Change {
    /// Whether the set is another one now.
    pub fn any(&self) -> bool {
        !self.joined.is_empty() || !self.left.is_empty()
    }
}

/// The present members, each with the number of answers in a row that were without it.
#[derive(Debug, Clone)]
pub struct Members {
    misses_before_removal: u32,
    misses: BTreeMap<IpAddr, u32>,
}

impl Members {
    /// No members yet. One leaves when this many answers in a row were without it.
    pub fn new(misses_before_removal: u32) -> Self {
        Self { misses_before_removal, misses: BTreeMap::new() }
    }

    /// Learns from an answer.
    pub fn learn(&mut self, answer: &Answer) -> Change {
        let mut change = Change::default();
        if answer.is_empty() {
            return change;
        }
        for (address, misses) in &mut self.misses {
            if answer.speaks_of(*address) {
                *misses += 1;
            }
        }
        for address in answer.addresses() {
            if self.misses.len() >= MAX_ENDPOINTS && !self.misses.contains_key(&address) {
                change.passed_over += 1;
            } else if self.misses.insert(address, 0).is_none() {
                change.joined.push(address);
            }
        }
        self.misses.retain(|address, misses| {
            let stays = *misses < self.misses_before_removal;
            if !stays {
                change.left.push(*address);
            }
            stays
        });
        change.joined.sort_unstable();
        change
    }

    /// The members, sorted.
    pub fn addresses(&self) -> impl ExactSizeIterator<Item = IpAddr> {
        self.misses.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|address| address.parse().unwrap()).collect()
    }

    /// `4: 10.0.0.1 10.0.0.2; 6: fd00::1`; a family that is left out was not answered.
    fn answer(text: &str) -> Answer {
        let mut answer = Answer::default();
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            match part.trim().split_once(':').unwrap() {
                ("4", list) => answer.v4 = Some(addresses(list)),
                (_, list) => answer.v6 = Some(addresses(list)),
            }
        }
        answer
    }

    /// Answers one after the other, each with the members afterwards.
    #[track_caller]
    fn check(steps: &[(&str, &str)]) {
        let mut members = Members::new(3);
        for (step, (text, expected)) in steps.iter().enumerate() {
            let before: Vec<_> = members.addresses().collect();
            let change = members.learn(&answer(text));
            let after: Vec<_> = members.addresses().collect();
            assert_eq!(after, addresses(expected), "step {step}: {text}");
            assert_eq!(change.any(), before != after, "step {step}: {text}");
        }
    }

    #[test]
    fn a_new_address_joins_at_once_and_order_and_duplicates_do_not_matter() {
        check(&[
            ("4: 10.0.0.2 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.3 10.0.0.2 10.0.0.1", "10.0.0.1 10.0.0.2 10.0.0.3"),
        ]);
    }

    #[test]
    fn an_address_leaves_after_three_misses_in_a_row() {
        check(&[
            ("4: 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1", "10.0.0.1"),
        ]);
    }

    #[test]
    fn an_address_that_flaps_stays() {
        check(&[
            ("4: 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
        ]);
    }

    #[test]
    fn failed_and_empty_answers_change_nothing_and_are_no_misses() {
        check(&[
            ("4: 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
            ("", "10.0.0.1 10.0.0.2"),
            ("4: ; 6:", "10.0.0.1 10.0.0.2"),
            ("4:", "10.0.0.1 10.0.0.2"),
            ("", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
            ("4: 10.0.0.1", "10.0.0.1"),
        ]);
    }

    #[test]
    fn a_family_that_was_not_answered_misses_nobody() {
        check(&[
            ("4: 10.0.0.1; 6: fd00::1", "10.0.0.1 fd00::1"),
            ("4: 10.0.0.1", "10.0.0.1 fd00::1"),
            ("4: 10.0.0.1", "10.0.0.1 fd00::1"),
            ("4: 10.0.0.1", "10.0.0.1 fd00::1"),
            ("4: 10.0.0.1; 6:", "10.0.0.1 fd00::1"),
            ("4: 10.0.0.1; 6:", "10.0.0.1 fd00::1"),
            ("4: 10.0.0.1; 6:", "10.0.0.1"),
        ]);
    }

    #[test]
    fn a_whole_set_may_be_replaced_but_never_by_nothing() {
        check(&[
            ("4: 10.0.0.1", "10.0.0.1"),
            ("4: 10.0.0.9", "10.0.0.1 10.0.0.9"),
            ("4: 10.0.0.9", "10.0.0.1 10.0.0.9"),
            ("4: 10.0.0.9", "10.0.0.9"),
            ("4:", "10.0.0.9"),
            ("4:", "10.0.0.9"),
            ("4:", "10.0.0.9"),
            ("4:", "10.0.0.9"),
        ]);
    }

    #[test]
    fn an_ipv4_address_in_ipv6_form_is_the_same_address() {
        check(&[("6: ::ffff:10.0.0.1", "10.0.0.1"), ("4: 10.0.0.1", "10.0.0.1")]);
    }

    #[test]
    fn the_set_is_bounded() {
        let mut members = Members::new(3);
        let all = (0..5000_u32).map(|i| IpAddr::from((0x0a00_0000 + i).to_be_bytes())).collect();
        let change = members.learn(&Answer { v4: Some(all), v6: None });
        assert_eq!((members.addresses().len(), change.passed_over), (MAX_ENDPOINTS, 904));
    }
}
