use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Answers at once, late, or with a refusal.
#[derive(Default)]
struct Sink {
    requests: AtomicU64,
    refuses: bool,
    hangs: bool,
}

#[async_trait]
impl Target for Sink {
    async fn offer(&self, body: Bytes) -> Result<(), String> {
        assert_eq!(body, "request");
        if self.refuses {
            return Err("not now".to_owned());
        }
        if self.hangs {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn open_loop(sink: &Arc<Sink>) -> OpenLoop {
    OpenLoop {
        targets: vec![Arc::clone(sink) as Arc<dyn Target>],
        rate: 100_000,
        arrivals: Arrivals::Poisson,
        seed: 1,
        warm_up: Duration::from_millis(50),
        window: Duration::from_millis(200),
        max_in_flight: 1000,
    }
}

async fn run(open_loop: &OpenLoop) -> Latency {
    let request = Request { body: Bytes::from_static(b"request"), spans: 100, bytes: 7 };
    open_loop.run([request].into()).await.unwrap()
}

fn tally(requests: &[(u64, u64)]) -> Tally {
    let mut tally = Tally::new();
    for (lateness, count) in requests {
        for _ in 0..*count {
            let lateness = Duration::from_micros(*lateness);
            tally.count(Ok(10));
            tally.note(lateness, lateness * 2);
        }
    }
    tally
}

#[tokio::test]
async fn times_of_the_warm_up_do_not_count_and_its_spans_do() {
    let sink = Arc::<Sink>::default();
    let latency = run(&open_loop(&sink)).await;
    let sent = sink.requests.load(Ordering::Relaxed);
    assert!(latency.requests > 0 && latency.requests < sent, "{latency:?} of {sent}");
    assert_eq!((latency.spans, latency.failed, latency.rate), (sent * 100, 0, 100_000));
    assert!(latency.p50_us <= latency.p99_us && latency.p99_us <= latency.max_us);
}

#[tokio::test]
async fn a_full_house_voids_the_run() {
    let sink = Arc::new(Sink { hangs: true, ..Sink::default() });
    let open_loop = OpenLoop { max_in_flight: 3, ..open_loop(&sink) };
    let latency = run(&open_loop).await;
    let reason = "3 requests were on their way at once: the rate is more than is carried";
    assert!(latency.void.iter().any(|void| void == reason), "{:?}", latency.void);
}

#[tokio::test]
async fn a_refusal_voids_the_run() {
    let sink = Arc::new(Sink { refuses: true, ..Sink::default() });
    let latency = run(&open_loop(&sink)).await;
    assert_eq!(latency.spans, 0);
    let reason = format!("{} requests were not acknowledged, the last: not now", latency.failed);
    assert!(latency.failed > 0 && latency.void.contains(&reason), "{:?}", latency.void);
}

#[tokio::test]
async fn a_run_without_requests_that_count_is_void() {
    let open_loop = OpenLoop {
        arrivals: Arrivals::Constant,
        warm_up: Duration::from_millis(100),
        window: Duration::ZERO,
        ..open_loop(&Arc::default())
    };
    assert_eq!(run(&open_loop).await.void, ["no request was due after the warm-up"]);
}

#[test]
fn one_late_request_in_a_hundred_is_let_pass_and_two_are_not() {
    let open_loop = open_loop(&Arc::default());
    assert_eq!(open_loop.verdict(&tally(&[(1000, 99), (1001, 1)]), End::Reached), [""; 0]);
    let reason = "the loader sent 2.0 % of the requests more than 1 ms after their time";
    assert_eq!(open_loop.verdict(&tally(&[(1000, 98), (1001, 2)]), End::Reached), [reason]);
}

#[test]
fn quantiles_are_of_the_times_since_requests_were_due() {
    let tally = tally(&[(100, 50), (200, 49), (30_000, 1)]);
    let latency = open_loop(&Arc::default()).describe(&tally, End::Reached);
    assert_eq!((latency.requests, latency.spans), (100, 1000));
    assert_eq!((latency.p50_us, latency.p90_us, latency.p99_us), (200, 400, 400));
    assert_eq!((latency.lateness_p99_us, latency.lateness_max_us), (200, 30_015));
    assert!((latency.late_share - 0.01).abs() < 1e-9);
    let text = serde_json::to_string(&latency).unwrap();
    assert_eq!(serde_json::from_str::<Latency>(&text).unwrap(), latency);
}

#[test]
fn rates_are_shares_of_what_is_carried() {
    assert_eq!(rates(1e6), [250_000, 500_000, 750_000, 900_000]);
    assert_eq!(rates(0.0), [1000; 4]);
}
