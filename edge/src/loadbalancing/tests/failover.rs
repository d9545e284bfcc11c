//! Backends that leave, die and come back.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_a_backend_that_left_did_not_take_goes_to_the_new_owners() {
    let rig = Rig::with(&format!("{RETRY}\nfailover: wait"), "a b c").await;
    rig.backend("a").will_always(Act::Away);
    let sending = rig.send(batch(1..=90));
    pass(1000).await;
    assert!(!sending.is_finished());
    rig.tell("b c").await;
    sending.await.unwrap().unwrap();
    assert_eq!(rig.taken(), (1..=90).collect::<Vec<_>>());
    assert!(rig.backend("a").traces().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_backend_that_left_is_routed_anew_at_once() {
    let yaml = "sending_queue: {queue_size: 1000}\njoin: {timeout: 0s}";
    let rig = Rig::with(yaml, "a b c").await;
    rig.backend("a").will_always(Act::Slow(4000));
    for _ in 0..50 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
    }
    pass(10).await;
    rig.tell("b c").await;
    pass(10).await;
    assert_eq!(rig.backend("a").attempts(), 10, "as many as may be under way");
    pass(4000).await;
    let all: Vec<u8> = (1..=90).flat_map(|trace| [trace; 50]).collect();
    assert_eq!(rig.taken(), all, "once each, also what was under way");
    assert_eq!(rig.ctx.losses.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_a_dead_backend_go_to_its_successors_and_come_back() {
    let rig = Rig::with(RETRY, "a b c d").await;
    rig.backend("a").will_always(Act::Away);
    let began = tokio::time::Instant::now();
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(rig.taken(), (1..=90).collect::<Vec<_>>());
    for name in ["b", "c", "d"] {
        let owned = rig.owned(name, 1..=90);
        let traces = rig.backend(name).traces();
        assert!(owned.iter().all(|trace| traces.contains(trace)), "{name} keeps its own");
        assert!(traces.len() > owned.len(), "{name} serves some of a's");
    }
    let attempts = rig.backend("a").attempts();
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    assert_eq!(rig.backend("a").attempts(), attempts, "nothing is tried there any more");
    rig.backend("a").will_always(None);
    pass(5000).await;
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    assert_eq!(rig.backend("a").traces(), rig.owned("a", 1..=90));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_backend_that_hangs_is_not_kept_waiting() {
    let yaml = "sending_queue: {queue_size: 1000}\njoin: {timeout: 0s}\n\
                retry_on_failure: {initial_interval: 100ms}";
    let rig = Rig::with(yaml, "a b c").await;
    rig.backend("a").will_always(Act::Hang);
    for _ in 0..20 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
    }
    pass(4990).await;
    let lacking = 20 * rig.owned("a", 1..=90).len();
    assert_eq!(rig.taken().len(), 20 * 90 - lacking);
    // The ten attempts under way run out of time together, and the third takes the backend out.
    pass(200).await;
    assert_eq!(rig.backend("a").attempts(), 12, "no further one is wasted");
    assert!(rig.taken().len() >= 20 * 90 - lacking * 12 / 20);
    // The two that went there between the first failure and the third.
    pass(6000).await;
    let all: Vec<u8> = (1..=90).flat_map(|trace| [trace; 20]).collect();
    assert_eq!(rig.taken(), all);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_answers_is_not_passed_over_whatever_it_says() {
    let rig = Rig::with(RETRY, "a b c").await;
    rig.backend("a").will_always(Act::Refuse);
    let sending = rig.send(batch(1..=90));
    pass(20_000).await;
    assert!(!sending.is_finished());
    rig.backend("a").will_always(None);
    sending.await.unwrap().unwrap();
    assert_eq!(rig.backend("a").traces(), rig.owned("a", 1..=90));
}

#[tokio::test(start_paused = true)]
async fn keys_wait_for_their_backend_if_they_are_told_to() {
    let rig = Rig::with(&format!("{RETRY}\nfailover: wait"), "a b c").await;
    rig.backend("a").will_always(Act::Away);
    let sending = rig.send(batch(1..=90));
    pass(20_000).await;
    assert!(!sending.is_finished());
    rig.backend("a").will_always(None);
    sending.await.unwrap().unwrap();
    assert_eq!(rig.backend("a").traces(), rig.owned("a", 1..=90));
}

#[tokio::test(start_paused = true)]
async fn with_every_backend_away_nothing_that_was_taken_is_lost() {
    let rig = Rig::with("sending_queue: {queue_size: 5}", "a b c").await;
    let all_will = |act: Option<Act>| {
        for name in ["a", "b", "c"] {
            rig.backend(name).will_always(act);
        }
    };
    all_will(Some(Act::Away));
    for _ in 0..5 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
    }
    pass(20_000).await;
    let rejected = rig.exporter.consume(batch(1..=90)).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Refused);
    assert!(rejected.retry_after.is_some());
    all_will(None);
    pass(60_000).await;
    let all: Vec<u8> = (1..=90).flat_map(|trace| [trace; 5]).collect();
    assert_eq!(rig.taken(), all);
    assert_eq!(rig.ctx.losses.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_its_probes_lives_and_comes_back() {
    let rig = Rig::with(RETRY, "a b c").await;
    rig.backend("a").will_always(Act::Away);
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    rig.backend("a").will_always(Act::Refuse);
    pass(5000).await;
    let sending = rig.send(batch(1..=90));
    pass(1000).await;
    assert!(!sending.is_finished(), "its keys are at home and wait for it");
    rig.backend("a").will_always(None);
    sending.await.unwrap().unwrap();
    assert_eq!(rig.backend("a").traces(), rig.owned("a", 1..=90));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_only_refuses_is_passed_over_if_it_is_written_for_how_long() {
    let rig = Rig::with(&format!("{RETRY}\nrotation: {{max_refusal_time: 10s}}"), "a b c").await;
    rig.backend("a").will_always(Act::Refuse);
    let sending = rig.send(batch(1..=90));
    pass(9_900).await;
    assert!(!sending.is_finished(), "its keys wait for it so long");
    pass(400).await;
    sending.await.unwrap().unwrap();
    assert_eq!(rig.taken(), (1..=90).collect::<Vec<_>>());
    let attempts = rig.backend("a").attempts();
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    pass(10_000).await;
    assert_eq!(rig.backend("a").attempts(), attempts, "it refuses its probes, too");
    rig.backend("a").will_always(None);
    pass(5_000).await;
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    assert_eq!(rig.backend("a").traces(), rig.owned("a", 1..=90));
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_tried_again_does_not_wait_for_a_backend_that_left() {
    let rig = Rig::with("sending_queue: {queue_size: 10}", "a b").await;
    rig.backend("a").will_always(Act::Throttle(50_000));
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    pass(100).await;
    rig.tell("b").await;
    pass(10).await;
    assert_eq!(rig.taken(), (1..=90).collect::<Vec<_>>());
    assert_eq!(rig.held(), 0);
}
