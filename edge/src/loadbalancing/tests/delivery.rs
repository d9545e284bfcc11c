//! Cutting, acknowledging and trying again.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::loadbalancing::core::COME_AGAIN;
use crate::loadbalancing::ticket::PART_UPKEEP;

#[tokio::test(start_paused = true)]
async fn every_trace_is_on_one_backend_and_nothing_is_lost() {
    let rig = Rig::with(RETRY, "a b c").await;
    for _ in 0..3 {
        rig.exporter.consume(batch(1..=100)).await.unwrap();
        rig.exporter.consume(batch((1..=200).rev())).await.unwrap();
    }
    for name in ["a", "b", "c"] {
        let traces = rig.backend(name).traces();
        assert!(traces.len() > 120, "{name} has {}", traces.len());
        let owned = rig.owned(name, 1..=200);
        assert!(traces.iter().all(|trace| owned.contains(trace)));
    }
    assert_eq!(rig.taken().len(), 900);
}

#[tokio::test(start_paused = true)]
async fn only_the_undelivered_part_is_tried_again() {
    let rig = Rig::with(RETRY, "a b c").await;
    rig.backend("b").will(Act::Refuse);
    rig.backend("b").will(Act::Away);
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    assert_eq!(rig.attempts("a b c"), [1, 3, 1]);
    assert_eq!(rig.taken(), (1..=90).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_permanent_part_is_handed_back_and_does_not_poison_the_others() {
    let rig = Rig::with(RETRY, "a b c").await;
    rig.backend("a").will(Act::Forbid);
    rig.backend("b").will(Act::Refuse);
    let rejected = rig.exporter.consume(batch(1..=90)).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Permanent);
    assert_eq!(traces(&rejected.batch), rig.owned("a", 1..=90));
    assert_eq!(rig.attempts("a b c"), [1, 2, 1]);
    assert_eq!(rig.taken().len(), 90 - rejected.batch.items());
}

#[tokio::test(start_paused = true)]
async fn parts_are_sent_side_by_side() {
    let rig = Rig::with(RETRY, "a b c").await;
    rig.backend("a").will(Act::Hang);
    rig.backend("b").will(Act::Hang);
    let sending = rig.send(batch(1..=90));
    pass(1).await;
    assert_eq!(rig.attempts("a b c"), [1, 1, 1]);
    assert_eq!(rig.taken(), rig.owned("c", 1..=90));
    assert!(!sending.is_finished());
    rig.backend("a").release.notify_one();
    rig.backend("b").release.notify_one();
    sending.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_ends_with_its_timeout_and_may_make_a_duplicate() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let rig = Rig::with(RETRY, "a").await;
    rig.backend("a").will(Act::Hang);
    let began = tokio::time::Instant::now();
    rig.exporter.consume(batch([1, 2])).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(5100));
    assert_eq!(rig.backend("a").attempts(), 2);
    let line = "otelcol_loadbalancer_possible_duplicate_items\
                {exporter=\"loadbalancing\",data_type=\"traces\"} 2";
    assert!(handle.render().lines().any(|found| found == line), "{}", handle.render());
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_one_owner_is_sent_as_it_came() {
    let rig = Rig::with(RETRY, "a b c").await;
    let batch = batch([7, 7, 7]);
    rig.exporter.consume(batch.clone()).await.unwrap();
    let all = rig.backends.values().flat_map(|fake| fake.taken.lock().unwrap().clone());
    let all: Vec<Batch> = all.collect();
    assert_eq!(all, std::slice::from_ref(&batch));
    assert_eq!(all[0].bytes().as_ptr(), batch.bytes().as_ptr());
}

#[tokio::test(start_paused = true)]
async fn without_a_backend_a_sender_who_waits_is_refused_and_told_when_to_come_again() {
    let rig = Rig::new(RETRY);
    let rejected = rig.exporter.consume(batch([1])).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Refused);
    assert_eq!(rejected.retry_after, Some(COME_AGAIN));
    rig.tell("a").await;
    rig.exporter.consume(batch([1])).await.unwrap();
    assert_eq!(rig.taken(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_holds_what_it_took_until_there_is_a_backend() {
    let rig = Rig::new("sending_queue: {queue_size: 2}");
    rig.exporter.consume(batch([1])).await.unwrap();
    rig.exporter.consume(batch([2])).await.unwrap();
    let rejected = rig.exporter.consume(batch([3])).await.unwrap_err();
    assert_eq!((rejected.kind, rejected.retry_after), (RejectedKind::Refused, Some(COME_AGAIN)));
    // Longer than anything is tried again.
    pass(3_600_000).await;
    rig.tell("a").await;
    pass(1).await;
    assert_eq!(rig.taken(), [1, 2]);
    assert_eq!(rig.ctx.losses.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn items_that_a_backend_took_the_rest_without_are_lost() {
    let rig = Rig::with(RETRY, "a b c").await;
    rig.backend("a").will(Act::TakeInPart);
    rig.backend("b").will(Act::Refuse);
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    assert_eq!(rig.ctx.losses.total(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_gave_up_waiting_costs_no_further_attempts() {
    let rig = Rig::with(RETRY, "a").await;
    rig.backend("a").will_always(Act::Refuse);
    let sending = rig.send(batch([1]));
    pass(250).await;
    let attempts = rig.backend("a").attempts();
    assert_eq!(attempts, 3);
    sending.abort();
    pass(10_000).await;
    assert_eq!(rig.backend("a").attempts(), attempts);
    assert_eq!(rig.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_costs_only_its_own_keys() {
    let yaml = "sending_queue: {queue_size: 1000}\njoin: {timeout: 0s}";
    let rig = Rig::with(yaml, "a b c").await;
    rig.backend("a").will_always(Act::Slow(2000));
    for _ in 0..100 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
    }
    pass(1).await;
    let (b, c) = (rig.owned("b", 1..=90).len(), rig.owned("c", 1..=90).len());
    assert_eq!(rig.taken().len(), 100 * (b + c));
    assert_eq!(rig.backend("a").attempts(), 10, "as many as may be under way");
    pass(60_000).await;
    assert_eq!(rig.taken().len(), 100 * 90);
}

#[tokio::test(start_paused = true)]
async fn when_the_queue_of_a_backend_is_full_nothing_of_a_request_is_sent() {
    let yaml = "protocol: {otlp: {sending_queue: {queue_size: 2, num_consumers: 1}}}\n\
                join: {timeout: 0s}";
    let rig = Rig::with(yaml, "a b").await;
    rig.backend("a").will_always(Act::Slow(1000));
    for _ in 0..2 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
        pass(1).await;
    }
    let taken = rig.backend("b").traces().len();
    let rejected = rig.exporter.consume(batch(1..=90)).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Refused);
    assert_eq!(rejected.batch.items(), 90);
    assert_eq!(rig.backend("b").traces().len(), taken);
    rig.exporter.consume(batch(rig.owned("b", 1..=90))).await.unwrap();
    pass(10_000).await;
    assert_eq!(rig.backend("a").traces().len(), 2 * rig.owned("a", 1..=90).len());
}

/// What is left of a queue of 1000 items when a backend refuses its part of a request of 90.
async fn room_left(sizer: &str) -> (usize, usize) {
    let yaml = format!("sending_queue: {{sizer: {sizer}, queue_size: 100000}}");
    let rig = Rig::with(&yaml, "a b c").await;
    rig.backend("a").will_always(Act::Refuse);
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    let taken = 100_000 - rig.exporter.0.room_left();
    pass(100).await;
    let still_taken = 100_000 - rig.exporter.0.room_left();
    rig.backend("a").will_always(None);
    pass(60_000).await;
    assert_eq!(rig.exporter.0.room_left(), 100_000, "all is delivered");
    (taken, still_taken)
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_room_only_for_what_is_not_delivered() {
    let rig = Rig::with(RETRY, "a b c").await;
    let of_a = rig.owned("a", 1..=90);
    assert_eq!(room_left("items").await, (90, of_a.len()));
    let (all, left) = room_left("bytes").await;
    assert_eq!(all, batch(1..=90).bytes().len() + 3 * PART_UPKEEP);
    assert_eq!(left, batch(of_a).bytes().len() + PART_UPKEEP);
    assert_eq!(room_left("requests").await, (1, 1), "half a request is one");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_fills_a_queue_with_its_own_part_only() {
    let half = batch(1..=90).bytes().len() * 5 + 30 * PART_UPKEEP;
    let yaml = format!("sending_queue: {{sizer: bytes, queue_size: {half}}}");
    let rig = Rig::with(&yaml, "a b c").await;
    rig.backend("a").will_always(Act::Refuse);
    for _ in 0..10 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
        pass(10).await;
    }
    assert!(rig.exporter.0.room_left() < half, "they take some, though together twice of all");
    rig.backend("a").will_always(None);
    pass(60_000).await;
    assert_eq!(rig.taken().len(), 900);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_just_fits_is_taken_whatever_its_parts_take() {
    let size = batch(1..=90).bytes().len();
    let yaml = format!("sending_queue: {{sizer: bytes, queue_size: {size}}}");
    let rig = Rig::with(&yaml, "a b c").await;
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    let rejected = rig.exporter.consume(batch(1..=91)).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Permanent);
}

#[tokio::test(start_paused = true)]
async fn a_sender_waits_for_room_also_of_one_backend_if_it_is_told_to() {
    let yaml = "protocol: {otlp: {sending_queue: {queue_size: 2, num_consumers: 1, \
                block_on_overflow: true}}}\njoin: {timeout: 0s}";
    let rig = Rig::with(yaml, "a b").await;
    rig.backend("a").will_always(Act::Slow(1000));
    for _ in 0..2 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
    }
    let third = rig.send(batch(1..=90));
    pass(900).await;
    assert!(!third.is_finished());
    pass(300).await;
    third.await.unwrap().unwrap();
    pass(5000).await;
    assert_eq!(rig.taken().len(), 3 * 90);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_many_pieces_takes_the_room_of_one() {
    let yaml = "protocol: {otlp: {sending_queue: {queue_size: 2, \
                batch: {min_size: 10, max_size: 10, flush_timeout: 10ms}}}}";
    let rig = Rig::with(yaml, "a").await;
    rig.exporter.consume(batch(1..=100)).await.unwrap();
    rig.exporter.consume(batch(101..=200)).await.unwrap();
    pass(1000).await;
    assert_eq!(rig.taken(), (1..=200).collect::<Vec<_>>());
    assert_eq!(rig.attempts("a"), [20]);
}

#[tokio::test(start_paused = true)]
async fn what_senders_gave_up_makes_room_also_behind_others_and_during_a_pause() {
    let rig = Rig::with(RETRY, "a").await;
    rig.backend("a").will(Act::Throttle(50_000));
    let sending: Vec<_> = (1..=20).map(|trace| rig.send(batch([trace]))).collect();
    pass(100).await;
    let kept = rig.send(batch([21]));
    pass(100).await;
    sending.iter().for_each(tokio::task::JoinHandle::abort);
    let late = rig.send(batch([22]));
    pass(3000).await;
    let two = 2 * (batch([1]).bytes().len() + PART_UPKEEP);
    assert_eq!(rig.held(), two);
    pass(60_000).await;
    kept.await.unwrap().unwrap();
    late.await.unwrap().unwrap();
    assert_eq!(rig.taken(), [21, 22]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_a_backend_asks_for_is_kept_by_all_its_parts() {
    let rig = Rig::with(RETRY, "a").await;
    rig.backend("a").will(Act::Throttle(3000));
    let first = rig.send(batch([1]));
    pass(1).await;
    let second = rig.send(batch([2]));
    pass(2_990).await;
    assert_eq!(rig.backend("a").attempts(), 1);
    pass(20).await;
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(rig.taken(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn every_item_is_counted_once_whatever_backends_do() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let yaml = "retry_on_failure: {initial_interval: 50ms, max_elapsed_time: 200ms, \
                max_interval: 100ms}\nsending_queue: {queue_size: 100000}";
    let rig = Rig::with(yaml, "a b c d").await;
    let acts = [
        Act::Refuse,
        Act::Forbid,
        Act::Away,
        Act::Slow(70),
        Act::Throttle(80),
        Act::TakeInPart,
        Act::Poisoned(9),
        Act::Hang,
    ];
    let mut random = 7_u64;
    let mut accepted = 0;
    for round in 0..300_u32 {
        for name in ["a", "b", "c", "d"] {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let act = usize::try_from(random >> 59).unwrap();
            acts.get(act).into_iter().for_each(|act| rig.backend(name).will(*act));
        }
        let batch = batch((1..=60).map(|trace| trace + u8::try_from(round % 90).unwrap()));
        accepted += batch.items();
        rig.exporter.consume(batch).await.unwrap();
        pass(7).await;
        match round {
            100 => rig.tell("a b c d e").await,
            200 => rig.tell("a b e").await,
            _ => {}
        }
    }
    pass(60_000).await;
    let value = |name: &str| {
        let page = handle.render();
        let line = page.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).unwrap()
    };
    let (sent, failed) =
        (value("otelcol_exporter_sent_spans{"), value("otelcol_exporter_send_failed_spans{"));
    assert_eq!(sent + failed, accepted);
    assert_eq!(value("otelcol_exporter_queue_size{"), 0);
    assert_eq!(rig.ctx.losses.total(), failed as u64);
    assert_eq!(rig.held(), 0);
    // What hung may have been taken and sent again.
    assert!(rig.taken().len() >= sent);
    assert!(failed > 0 && sent > accepted / 2);
}
