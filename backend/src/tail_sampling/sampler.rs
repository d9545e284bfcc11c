//! A shard by itself, for micro-benchmarks: without task, inbox and metrics, and with a clock that is
//! told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::config::{Decode, Path, Problems, yaml};
use shared::{Batch, clock};

use super::config::TailSamplingConfig;
use super::evaluate::Policies;
use super::policy::{Names, Terms};
use super::regime::settings;
use super::shard::{Shard, Take};
use super::shard_task::{SLICE, UPKEEP_SLICE};

/// One shard of `tail_sampling`, told what to do and when.
pub struct Sampler {
    shard: Shard,
    now: Instant,
    decision_wait: Duration,
}

impl Sampler {
    /// A shard as this section of the configuration has it.
    ///
    /// # Errors
    /// What is wrong with the section.
    pub fn new(section: &str) -> Result<Self, String> {
        let node = yaml::parse(section, 0).map_err(|error| format!("{error:?}"))?;
        let mut problems = Problems::default();
        let config = TailSamplingConfig::decode(&node, &Path::ROOT, &mut problems)
            .ok_or_else(|| format!("{:?}", problems.errors()))?;
        let terms = Terms::new(config.compat, config.tier.initial_size());
        let policies = Arc::new(Policies::build(&config, &terms, &mut Names::default()));
        let now = clock::now();
        let shard = Shard::new(settings(&config, 1), policies, 1, now);
        Ok(Self { shard, now, decision_wait: config.decision_wait })
    }

    /// Takes the spans of a batch in.
    pub fn admit(&mut self, batch: &Batch) {
        self.shard.admit(batch, self.now);
    }

    /// Lets so much time pass that all that waits is due.
    pub fn pass(&mut self) {
        self.now += self.decision_wait;
    }

    /// Judges one slice of what is due; tells whether there may be more.
    pub fn judge(&mut self) -> bool {
        self.shard.judge(self.now, SLICE, clock::now) > 0
    }

    /// The next request of kept spans.
    pub fn take(&mut self) -> Option<Batch> {
        self.shard.take(Take::Any)
    }

    /// Seals or packs one slice of the buffer, if it is to be; tells whether there is more.
    pub fn upkeep(&mut self) -> bool {
        self.shard.upkeep(UPKEEP_SLICE)
    }

    /// Gives memory back that was not needed, as is done every second.
    pub fn trim(&mut self) {
        self.shard.trim();
    }

    /// Spans that are held.
    pub fn spans(&self) -> usize {
        self.shard.held().spans
    }

    /// Bytes that are held for them.
    pub fn bytes(&self) -> usize {
        self.shard.held().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestSpan, batch, read};
    use super::*;

    #[test]
    fn a_section_makes_a_shard_that_keeps_and_lets_go() {
        let section = "{decision_wait: 5s, buffer_compression: lz4, policies: [\
            {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}]}";
        let mut sampler = Sampler::new(section).unwrap();
        let failed = TestSpan { error: true, ..TestSpan::new(1, 1) };
        sampler.admit(&batch(&[failed, TestSpan::new(2, 2)]));
        assert!(!sampler.judge() && !sampler.upkeep(), "nothing is due, and no segment is full");
        assert_eq!(sampler.spans(), 2);
        sampler.pass();
        while sampler.judge() {}
        assert_eq!(read(&sampler.take().unwrap()).0, [failed]);
        assert!(sampler.take().is_none());
        sampler.trim();
        assert_eq!(sampler.spans(), 0);
    }

    #[test]
    fn a_wrong_section_is_told() {
        let error = Sampler::new("{decision_wait: soon}").err().unwrap();
        assert!(error.contains("decision_wait"), "{error}");
    }
}
