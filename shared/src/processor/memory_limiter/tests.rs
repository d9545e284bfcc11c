use std::sync::atomic::AtomicU64;

use serde_json::{Value, json};

use super::*;
use crate::config::testing::section;
use crate::consumer::RejectedKind;
use crate::queue::tests::spans;
use crate::service::ProcessorConfig;
use crate::telemetry::memory::Held;
use crate::telemetry::memory::tests::{ALONE, BIG};

const LIMITS: Limits = Limits { soft: BIG as u64, hard: BIG as u64 };

#[test]
fn data_is_refused_from_the_soft_limit_on() {
    let mut watch = Watch::new(Limits { soft: 80, hard: 100 });
    let mut observe = |used| (watch.observe(used), watch.refusing);
    assert_eq!(observe(79), (None, false));
    assert_eq!(observe(80), (Some(Change::Refusing), true));
    assert_eq!(observe(200), (None, true));
    assert_eq!(observe(10), (Some(Change::Resuming), false));
}

pub(super) struct Sink;

#[async_trait]
impl Consumer for Sink {
    async fn consume(&self, _: Batch) -> Result<(), Rejected> {
        Ok(())
    }
}

fn door(limits: Limits, read: fn() -> u64) -> Door {
    let limiter = Arc::new(Limiter::start(limits, Duration::from_secs(1), read));
    let counts = Counts::new("memory_limiter", crate::wire::Signal::Traces);
    Door { limiter, counts, next: Arc::new(Sink) }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_hands_the_batch_back_with_a_delay() {
    static USED: AtomicU64 = AtomicU64::new(0);
    let _alone = ALONE.lock().await;
    let door = door(LIMITS, || USED.load(Ordering::Relaxed));
    assert!(door.consume(spans(3)).await.is_ok());
    USED.store(LIMITS.soft, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let rejected = door.consume(spans(3)).await.unwrap_err();
    assert_eq!((rejected.kind, rejected.batch.items()), (RejectedKind::Refused, 3));
    assert_eq!(rejected.reason, "data refused due to high memory usage");
    assert_eq!(rejected.retry_after, Some(Duration::from_secs(1)));
    USED.store(0, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(door.consume(spans(3)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn held_bytes_count_between_two_checks() {
    let _alone = ALONE.lock().await;
    let door = door(LIMITS, || 0);
    let held = Held::new(BIG);
    assert!(door.consume(spans(1)).await.is_err());
    drop(held);
    assert!(door.consume(spans(1)).await.is_ok());
}

#[track_caller]
fn limits(json: &Value, soft: u64, hard: u64) {
    let (config, problems, _) = section(json, |_: &MemoryLimiterKeys, _, _| {});
    assert_eq!(problems, [""; 0]);
    let limits = config.limits(|| Some(1_000_000_000)).unwrap();
    assert_eq!(limits, Limits { soft, hard });
}

#[test]
fn limits_are_given_in_mib_or_in_percent() {
    const MIB: u64 = 1 << 20;
    limits(&json!({"limit_mib": 100}), 80 * MIB, 100 * MIB);
    limits(&json!({"limit_mib": 100, "spike_limit_mib": 30}), 70 * MIB, 100 * MIB);
    limits(&json!({"limit_percentage": 50}), 400_000_000, 500_000_000);
    let both = json!({"limit_percentage": 50, "spike_limit_percentage": 5, "limit_mib": 1});
    limits(&both, MIB - MIB / 5, MIB);
    limits(&json!({"limit_percentage": 50, "spike_limit_percentage": 5}), 450_000_000, 500_000_000);
}

#[test]
fn every_problem_is_named() {
    let check = |json: &Value, expected: &[&str]| {
        assert_eq!(section(json, MemoryLimiterConfig::validate).1, expected);
    };
    check(
        &json!({}),
        &[
            "a::check_interval: 'check_interval' must be greater than zero",
            "a::limit_mib: 'limit_mib' or 'limit_percentage' must be greater than zero",
        ],
    );
    check(
        &json!({"check_interval": "1s", "limit_mib": 5, "spike_limit_mib": 5}),
        &["a::spike_limit_mib: 'spike_limit_mib' must be smaller than 'limit_mib'"],
    );
    check(
        &json!({"check_interval": "1s", "limit_percentage": 101, "spike_limit_percentage": 101}),
        &[
            "a::limit_percentage: 'limit_percentage' must not be greater than 100",
            "a::spike_limit_percentage: 'spike_limit_percentage' must not be greater than 100",
            "a::spike_limit_percentage: 'spike_limit_percentage' must be smaller than 'limit_percentage'",
        ],
    );
}
