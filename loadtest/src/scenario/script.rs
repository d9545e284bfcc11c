//! The scenarios: what each does to the backends or to DNS, and for how long.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use clap::ValueEnum;
use tokio::time::{Instant, sleep};

use super::bench::Bench;
use crate::faulty::Fault;
use crate::testbed::TestbedError;
use crate::testbed::dns::Answer;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// One backend is killed, and starts again
    Kill,
    /// One backend is stopped (SIGSTOP) with its connections open, and goes on again
    Hang,
    /// One backend answers after 2 s
    Slow,
    /// One backend answers UNAVAILABLE
    Unavailable,
    /// One backend says that it is exhausted, and to come again in 1 s
    Exhausted,
    /// One backend takes each request but for one span (partial success)
    Partial,
    /// One backend takes every 20th request and resets the connection before it answers
    LostAnswers,
    /// One backend resets the connection in the middle of every 20th request
    Reset,
    /// Every backend rejects requests with a poisoned span for good
    Poison,
    /// DNS leaves one backend out of every third answer
    DnsFlap,
    /// DNS answers without addresses, then NXDOMAIN, then SERVFAIL
    DnsEmpty,
    /// DNS leaves out another backend in each answer
    DnsPartial,
    /// DNS answers with 300 addresses instead of 5
    #[value(name = "dns-300")]
    Dns300,
    /// 5 backends become 8, then 3
    Scale,
    /// Every backend is killed, and all start again after at most 20 s
    AllAway,
}

/// Backends that are there when a scenario begins.
pub(super) const BACKENDS: usize = 5;

/// One span in so many is poisoned.
const POISONED: u64 = 997;

/// One request in so many is hit, so that retries get through.
const EVERY: u64 = 20;

const ALL_AWAY: Duration = Duration::from_secs(20);

impl Scenario {
    /// Its name on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no scenario is hidden");
        value.get_name().to_owned()
    }

    /// What happens, in a sentence.
    pub fn about(self) -> String {
        let value = self.to_possible_value().expect("no scenario is hidden");
        value.get_help().map(ToString::to_string).unwrap_or_default()
    }

    /// Backends to start, whether they are announced or not.
    pub(super) fn sinks(self) -> usize {
        if self == Scenario::Scale { 8 } else { BACKENDS }
    }

    /// Addresses of each backend, of which the first is announced when the scenario begins.
    pub(super) fn addresses_each(self) -> usize {
        if self == Scenario::Dns300 { 60 } else { 1 }
    }

    /// Whether backend `sink` is among those that misbehave.
    pub(super) fn is_faulty(self, sink: usize) -> bool {
        match self {
            Scenario::DnsFlap
            | Scenario::DnsEmpty
            | Scenario::DnsPartial
            | Scenario::Dns300
            | Scenario::Scale => false,
            Scenario::AllAway | Scenario::Poison => true,
            _ => sink == 0,
        }
    }

    /// Whether answers that faulty backends give while the fault lasts may be lost.
    pub(super) fn is_outage(self) -> bool {
        matches!(self, Scenario::Kill | Scenario::Hang | Scenario::AllAway)
    }

    /// Whether every key has to stay where it is.
    pub(super) fn moves_no_key(self) -> bool {
        matches!(self, Scenario::DnsFlap | Scenario::DnsEmpty | Scenario::DnsPartial)
    }

    /// Whether a backend may reject a request with these spans for good.
    pub(super) fn poisons(self, spans: Range<u64>) -> bool {
        self == Scenario::Poison
            && spans.into_iter().any(|span| Fault::Poison(POISONED).poisons(span))
    }

    fn fault(self) -> Option<Fault> {
        Some(match self {
            Scenario::Slow => Fault::Delay(Duration::from_secs(2)),
            Scenario::Unavailable => Fault::Unavailable,
            Scenario::Exhausted => Fault::Exhausted(Duration::from_secs(1)),
            Scenario::Partial => Fault::Partial(1),
            Scenario::LostAnswers => Fault::LoseAnswers(EVERY),
            Scenario::Reset => Fault::Reset(EVERY),
            Scenario::Poison => Fault::Poison(POISONED),
            _ => return None,
        })
    }

    /// Makes things go wrong for `duration`, and right again.
    pub(super) async fn play(
        self,
        bench: &mut Bench,
        duration: Duration,
    ) -> Result<(), TestbedError> {
        if let Some(fault) = self.fault() {
            self.set_faulty(bench, fault).await?;
            sleep(duration).await;
            return self.set_faulty(bench, Fault::None).await;
        }
        match self {
            Scenario::Kill => {
                bench.sinks[0].kill().await?;
                sleep(duration).await;
                bench.sinks[0].restart().await
            }
            Scenario::Hang => {
                bench.sinks[0].pause()?;
                sleep(duration).await;
                bench.sinks[0].resume()
            }
            Scenario::AllAway => {
                for sink in &mut bench.sinks {
                    sink.kill().await?;
                }
                sleep(duration.min(ALL_AWAY)).await;
                for sink in &mut bench.sinks {
                    sink.restart().await?;
                }
                Ok(())
            }
            Scenario::Dns300 => {
                bench.announce_everything();
                bench.wait_for_backends(BACKENDS * self.addresses_each()).await?;
                sleep(duration).await;
                Ok(())
            }
            Scenario::Scale => scale(bench, duration).await,
            _ => {
                self.mislead(bench, duration).await;
                Ok(())
            }
        }
    }

    async fn set_faulty(self, bench: &Bench, fault: Fault) -> Result<(), TestbedError> {
        for (index, sink) in bench.sinks.iter().enumerate() {
            if self.is_faulty(index) {
                sink.set(fault).await?;
            }
        }
        Ok(())
    }

    /// Changes what DNS says, about as often as it is asked.
    async fn mislead(self, bench: &Bench, duration: Duration) {
        let all: Vec<IpAddr> = bench.first_hosts(BACKENDS);
        let end = Instant::now() + duration;
        for turn in 0.. {
            let without = |index: usize| {
                let others = all.iter().enumerate().filter(|(other, _)| *other != index);
                Answer::Addresses(others.map(|(_, host)| *host).collect())
            };
            let answer = match (self, turn % 3) {
                // Away for one turn of three: lookups, whose pauses vary by a tenth, can meet it twice
                // in a row, but not three times, after which a backend rightly leaves.
                (Scenario::DnsFlap, 0) => without(0),
                (Scenario::DnsPartial, _) => without(turn % BACKENDS),
                (Scenario::DnsEmpty, 0) => Answer::Addresses(Vec::new()),
                (Scenario::DnsEmpty, 1) => Answer::NoSuchName,
                (Scenario::DnsEmpty, _) => Answer::ServerFailure,
                _ => Answer::Addresses(all.clone()),
            };
            bench.dns.set(answer);
            if Instant::now() + bench.dns_interval >= end {
                break;
            }
            sleep(bench.dns_interval).await;
        }
        bench.dns.set(Answer::Addresses(all));
    }
}

/// 5 → 8 → 3: those that leave live on until no edge knows them, as pods do that are terminated
/// in order.
async fn scale(bench: &mut Bench, duration: Duration) -> Result<(), TestbedError> {
    sleep(duration / 3).await;
    bench.announce(8);
    bench.wait_for_backends(8).await?;
    sleep(duration / 3).await;
    bench.announce(3);
    bench.wait_for_backends(3).await?;
    sleep(Duration::from_secs(1)).await;
    for sink in &mut bench.sinks[3..] {
        sink.kill().await?;
    }
    sleep(duration / 3).await;
    Ok(())
}
