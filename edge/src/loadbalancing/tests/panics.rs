//! Panics while sending.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;

const ONE_AT_A_TIME: &str = "sending_queue: {queue_size: 1000, num_consumers: 1}\n\
                             join: {timeout: 0s}\n\
                             retry_on_failure: {initial_interval: 100ms}";

#[tokio::test(start_paused = true)]
async fn a_request_whose_sending_panics_is_tried_again() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let of_backends = shared::telemetry::expiring::Local::default();
    let _entered = of_backends.enter();
    let rig = Rig::with(RETRY, "a b c").await;
    rig.backend("a").will(Act::Panic);
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    assert_eq!(rig.taken(), (1..=90).collect::<Vec<_>>());
    assert_eq!(rig.attempts("a b c"), [2, 1, 1]);
    let page = handle.render() + &of_backends.render();
    let possible = rig.owned("a", 1..=90).len();
    for line in [
        "otelcol_loadbalancer_backend_panics{endpoint=\"a\",data_type=\"traces\"} 1".to_owned(),
        format!(
            "otelcol_loadbalancer_possible_duplicate_items\
             {{exporter=\"loadbalancing\",data_type=\"traces\"}} {possible}"
        ),
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_sending_always_panics_fails_in_the_end_and_is_counted() {
    let yaml = format!("{ONE_AT_A_TIME}\n").replace("100ms", "100ms, max_elapsed_time: 5s");
    let yaml = yaml.replace("5s", "5s, max_interval: 1s");
    let rig = Rig::with(&yaml, "a").await;
    rig.backend("a").will_always(Act::Panic);
    rig.exporter.consume(batch([1, 2])).await.unwrap();
    pass(60_000).await;
    assert_eq!(rig.ctx.losses.total(), 2);
    assert_eq!(rig.held(), 0);
    rig.backend("a").will_always(None);
    rig.exporter.consume(batch([3])).await.unwrap();
    pass(1).await;
    assert_eq!(rig.taken(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_panics_starts_anew_and_nothing_in_it_is_lost() {
    let rig = Rig::with(ONE_AT_A_TIME, "a").await;
    rig.backend("a").will(Act::Hang);
    for trace in 1..=3 {
        rig.exporter.consume(batch([trace])).await.unwrap();
    }
    pass(1).await;
    assert_eq!(rig.backend("a").attempts(), 1, "the others wait");
    rig.table().current().members()[0].lane().panic();
    pass(1000).await;
    assert_eq!(rig.backend("a").attempts(), 1, "what is under way counts all the same");
    rig.backend("a").release.notify_one();
    pass(1000).await;
    assert_eq!(rig.taken(), [1, 2, 3]);
    assert_eq!(rig.attempts("a"), [3]);
    rig.exporter.consume(batch([4])).await.unwrap();
    pass(1).await;
    assert_eq!(rig.taken(), [1, 2, 3, 4]);
    assert_eq!((rig.ctx.losses.total(), rig.held()), (0, 0));
}
