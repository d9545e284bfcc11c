//! What becomes of what is held when the process ends.

use super::*;

#[tokio::test(start_paused = true)]
async fn everything_held_gets_one_more_attempt() {
    let yaml = "sending_queue: {queue_size: 1000}\n\
                protocol: {otlp: {retry_on_failure: {initial_interval: 100s}}}";
    let rig = Rig::with(yaml, "a b c").await;
    for name in ["a", "b", "c"] {
        rig.backend(name).will(Act::Refuse);
    }
    for _ in 0..20 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
    }
    pass(10).await;
    let deadline = shared::clock::now() + Duration::from_secs(5);
    rig.exporter.shutdown(deadline).await;
    assert_eq!(rig.taken().len(), 20 * 90);
    assert_eq!(rig.backend("a").traces().len(), rig.owned("a", 1..=90).len() * 20);
    assert_eq!(rig.ctx.losses.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_delivered_then_is_lost_and_counted() {
    let rig = Rig::with("sending_queue: {queue_size: 1000}", "a b").await;
    rig.backend("a").will_always(Act::Refuse);
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    let deadline = shared::clock::now() + Duration::from_secs(5);
    rig.exporter.shutdown(deadline).await;
    assert_eq!(rig.ctx.losses.total(), rig.owned("a", 1..=90).len() as u64);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_outcome_at_the_deadline_is_lost_and_counted_once() {
    let rig = Rig::with("sending_queue: {queue_size: 1000}", "a b").await;
    rig.backend("a").will_always(Act::Hang);
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    let deadline = shared::clock::now() + Duration::from_secs(2);
    rig.exporter.shutdown(deadline).await;
    let lost = rig.owned("a", 1..=90).len() as u64;
    assert_eq!(rig.ctx.losses.total(), lost);
    pass(60_000).await;
    assert_eq!(rig.ctx.losses.total(), lost);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_too_late_is_refused() {
    let rig = Rig::with(RETRY, "a").await;
    rig.exporter.shutdown(shared::clock::now()).await;
    let rejected = rig.exporter.consume(batch([1])).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Refused);
}
