//! Parts of several requests in one.

use super::*;

/// Twenty requests, of which the first is under way when the others come.
async fn all_but_the_first_wait(rig: &Rig) -> Vec<tokio::task::JoinHandle<Result<(), Rejected>>> {
    rig.backend("a").will(Act::Slow(10));
    let mut sending = vec![rig.send(batch([1]))];
    pass(1).await;
    sending.extend((2..=20).map(|trace| rig.send(batch([trace]))));
    sending
}

#[tokio::test(start_paused = true)]
async fn parts_that_wait_travel_together_and_each_request_is_answered() {
    let rig = Rig::with(RETRY, "a").await;
    let sending = all_but_the_first_wait(&rig).await;
    for sending in sending {
        sending.await.unwrap().unwrap();
    }
    assert_eq!(rig.taken(), (1..=20).collect::<Vec<_>>());
    assert_eq!(rig.backend("a").attempts(), 2, "the first, and all that waited two milliseconds");
}

#[tokio::test(start_paused = true)]
async fn a_single_request_does_not_wait_for_others() {
    let rig = Rig::with(RETRY, "a").await;
    let began = tokio::time::Instant::now();
    rig.exporter.consume(batch([1])).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_joined_if_that_is_turned_off() {
    let rig = Rig::with(&format!("{RETRY}\njoin: {{timeout: 0s}}"), "a").await;
    rig.backend("a").will(Act::Slow(10));
    let sending: Vec<_> = (1..=20).map(|trace| rig.send(batch([trace]))).collect();
    for sending in sending {
        sending.await.unwrap().unwrap();
    }
    assert_eq!(rig.backend("a").attempts(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_refused_for_good_does_not_poison_those_it_travelled_with() {
    let rig = Rig::with(RETRY, "a").await;
    rig.backend("a").will_always(Act::Poisoned(7));
    let sending = all_but_the_first_wait(&rig).await;
    for (trace, sending) in (1..=20).zip(sending) {
        let outcome = sending.await.unwrap();
        match trace {
            7 => assert_eq!(outcome.unwrap_err().kind, RejectedKind::Permanent),
            _ => outcome.unwrap(),
        }
    }
    assert_eq!(rig.taken().len(), 19);
    // The first alone, all others, and then halves of what holds the bad one: 19, 10, 5, 3, 2.
    assert!(rig.backend("a").attempts() <= 2 + 2 * 5, "{}", rig.backend("a").attempts());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_datas_fault_is_not_tried_part_by_part() {
    let rig = Rig::with(RETRY, "a").await;
    rig.backend("a").will_always(Act::Unknown);
    let mut sending = all_but_the_first_wait(&rig).await;
    sending.remove(0).await.unwrap().unwrap();
    for sending in sending {
        assert_eq!(sending.await.unwrap().unwrap_err().kind, RejectedKind::Permanent);
    }
    assert_eq!(rig.backend("a").attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_joined_request_that_fails_for_now_is_tried_again_part_by_part() {
    let rig = Rig::with(RETRY, "a").await;
    let sending = all_but_the_first_wait(&rig).await;
    rig.backend("a").will(Act::Refuse);
    for sending in sending {
        sending.await.unwrap().unwrap();
    }
    assert_eq!(rig.taken(), (1..=20).collect::<Vec<_>>());
    let first = rig.backend("a").taken.lock().unwrap()[0].items();
    assert_eq!(first, 1, "what was delivered before was not sent again");
}

#[tokio::test(start_paused = true)]
async fn a_configured_batch_bounds_what_is_sent_and_waits_for_it() {
    let yaml = "sending_queue: {queue_size: 100, batch: {min_size: 50, max_size: 50, \
                flush_timeout: 1s}}";
    let rig = Rig::with(yaml, "a").await;
    rig.exporter.consume(batch(1..=20)).await.unwrap();
    rig.exporter.consume(batch(21..=40)).await.unwrap();
    pass(900).await;
    assert_eq!(rig.backend("a").attempts(), 0);
    pass(200).await;
    assert_eq!(rig.backend("a").attempts(), 1);
    rig.exporter.consume(batch(1..=120)).await.unwrap();
    pass(2000).await;
    let sizes: Vec<_> = rig.backend("a").taken.lock().unwrap().iter().map(Batch::items).collect();
    assert_eq!(sizes, [40, 50, 50, 20]);
}
