//! Which traces two configurations decide otherwise, and why.
//!
//! Traces are held until both have decided, which is soon if they wait about equally long.

use std::collections::{BTreeMap, HashMap};

use super::super::evaluate::{Policies, Verdict};
use super::super::journal::Judged;
use super::super::policy::{Ballot, Decision, RuleId};
use super::super::tally::Amount;
use super::super::trace::TraceId;

/// Traces that one side has decided about and the other has not, at most; of more it is only counted
/// that they were not compared.
const MAX_PENDING: usize = 1 << 20;
/// Kinds of changes that are told apart at most.
const MAX_KINDS: usize = 1000;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Comparison {
    limit: usize,
    pending: HashMap<TraceId, (usize, Judged)>,
    compared: u64,
    uncompared: u64,
    gained: Amount,
    lost: Amount,
    /// Changed traces by who decided before and after.
    kinds: BTreeMap<[Decider; 2], Amount>,
    /// Those of further kinds.
    other_kinds: Amount,
    /// The first changed traces, before and after.
    listed: Vec<[Judged; 2]>,
}

/// What was decided, by the number of the decision, and by whom.
type Decider = (usize, Option<RuleId>);

/// What came of a comparison.
#[derive(Debug)]
pub(super) struct Changes {
    /// Traces that both have decided about.
    pub(super) compared: u64,
    /// Traces that only one has decided about, or was not waited for, or that were decided about
    /// more than once.
    pub(super) uncompared: u64,
    /// Traces that only the other configuration keeps.
    pub(super) gained: Amount,
    /// Traces that only the first one keeps.
    pub(super) lost: Amount,
    /// Who decided before and after, with how many such changes there are; the most first.
    pub(super) kinds: Vec<([String; 2], Amount)>,
    /// Changes of further kinds.
    pub(super) other_kinds: Amount,
    /// The first of these traces.
    pub(super) listed: Vec<Change>,
}

/// A trace that is decided otherwise.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) trace_id: String,
    pub(super) spans: u32,
    pub(super) bytes: u64,
    pub(super) duration_ms: u64,
    /// What is decided before and after, and by whom.
    pub(super) deciders: [String; 2],
    /// Policies with what they say before and after, where that is not the same.
    pub(super) votes: Vec<(String, [Option<String>; 2])>,
}

impl Comparison {
    /// Lists up to `limit` traces.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            pending: HashMap::new(),
            compared: 0,
            uncompared: 0,
            gained: Amount::default(),
            lost: Amount::default(),
            kinds: BTreeMap::new(),
            other_kinds: Amount::default(),
            listed: Vec::new(),
        }
    }

    /// One side, 0 or 1, has decided about a trace.
    pub(super) fn note(&mut self, side: usize, judged: Judged) {
        let id = judged.summary.trace_id;
        if id == [0; 16] {
            return;
        }
        match self.pending.remove(&id) {
            None if self.pending.len() >= MAX_PENDING => self.uncompared += 1,
            None => drop(self.pending.insert(id, (side, judged))),
            // A fragment that came when the decision was forgotten: the first counts.
            Some((other, earlier)) if other == side => {
                self.uncompared += 1;
                self.pending.insert(id, (side, earlier));
            }
            Some((_, earlier)) if side == 0 => self.compare([judged, earlier]),
            Some((_, earlier)) => self.compare([earlier, judged]),
        }
    }

    fn compare(&mut self, judged: [Judged; 2]) {
        self.compared += 1;
        let [before, after] = [&judged[0], &judged[1]].map(|of| is_kept(of.verdict.decision));
        match (before, after) {
            (false, true) => self.gained.add(&judged[0].summary),
            (true, false) => self.lost.add(&judged[0].summary),
            (true, true) | (false, false) => return,
        }
        let kind = [decider(judged[0].verdict), decider(judged[1].verdict)];
        let amount = match self.kinds.len() < MAX_KINDS || self.kinds.contains_key(&kind) {
            true => self.kinds.entry(kind).or_default(),
            false => &mut self.other_kinds,
        };
        amount.add(&judged[0].summary);
        if self.listed.len() < self.limit {
            self.listed.push(judged);
        }
    }

    /// What came of it, with the policies of both sides.
    pub(super) fn changes(&self, policies: [&Policies; 2]) -> Changes {
        let mut changes = Changes {
            compared: self.compared,
            uncompared: self.uncompared + self.pending.len() as u64,
            gained: self.gained,
            lost: self.lost,
            kinds: Vec::new(),
            other_kinds: self.other_kinds,
            listed: self.listed.iter().map(|judged| change(judged, policies)).collect(),
        };
        for ([before, after], amount) in &self.kinds {
            let names = [name(*before, policies[0]), name(*after, policies[1])];
            changes.kinds.push((names, *amount));
        }
        changes.kinds.sort_by_key(|(_, amount)| std::cmp::Reverse(amount.traces));
        changes
    }
}

fn is_kept(decision: Decision) -> bool {
    decision == Decision::Sampled
}

fn decider(verdict: Verdict) -> Decider {
    (verdict.decision as usize, verdict.by)
}

fn name((decision, by): Decider, policies: &Policies) -> String {
    let by = by.map(|id| &**policies.names().get(id));
    match (Decision::ALL[decision], by) {
        (Decision::Sampled, by) => format!("kept by {}", by.unwrap_or("nobody")),
        (Decision::Dropped, by) => format!("dropped by {}", by.unwrap_or("nobody")),
        (Decision::NotSampled, Some(by)) => format!("not kept because of {by}"),
        (Decision::NotSampled, None) => "wanted by no policy".to_owned(),
    }
}

fn change(judged: &[Judged; 2], policies: [&Policies; 2]) -> Change {
    let summary = &judged[0].summary;
    let said = [0, 1].map(|side| votes(&judged[side], policies[side]));
    let mut names: Vec<&String> = said[0].iter().map(|(name, _)| name).collect();
    names.extend(said[1].iter().map(|(name, _)| name));
    let mut votes: Vec<(String, [Option<String>; 2])> = Vec::new();
    for name in names {
        let of = |side: usize| {
            let said = said[side].iter().find(|(other, _)| other == name);
            said.map(|(_, vote)| vote.clone())
        };
        let both = [of(0), of(1)];
        if both[0] != both[1] && !votes.iter().any(|(known, _)| known == name) {
            votes.push((name.clone(), both));
        }
    }
    Change {
        trace_id: super::hex(&summary.trace_id),
        spans: summary.spans,
        bytes: summary.bytes,
        duration_ms: summary.end_ns.saturating_sub(summary.start_ns) / 1_000_000,
        deciders: [0, 1].map(|side| name(decider(judged[side].verdict), policies[side])),
        votes,
    }
}

/// What each policy says, by its name.
fn votes(judged: &Judged, policies: &Policies) -> Vec<(String, String)> {
    let names = policies.names();
    let branches = policies.branches().zip(&judged.ballots);
    branches
        .map(|(branch, ballot)| (names.get(branch.id).to_string(), vote(*ballot, policies)))
        .collect()
}

fn vote(ballot: Ballot, policies: &Policies) -> String {
    let Ok(vote) = ballot else { return "failed".to_owned() };
    match vote.by {
        Some(by) => format!("{} by {}", vote.decision.label(), policies.names().get(by)),
        None => vote.decision.label().to_owned(),
    }
}
