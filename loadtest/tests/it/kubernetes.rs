//! The `k8s` resolver against an API server that behaves as real ones do, in this process.

use std::time::Duration;

use loadtest::testbed::address::unique;
use loadtest::testbed::cluster::until;
use loadtest::testbed::kubernetes::{ApiServer, NAMESPACE, SERVICE};
use shared::membership::Resolver;
use shared::membership::resolver::{K8sConfig, ResolverConfig};

async fn api() -> ApiServer {
    ApiServer::start(unique()).await.unwrap()
}

fn config(api: &ApiServer) -> K8sConfig {
    K8sConfig {
        service: format!("{SERVICE}.{NAMESPACE}"),
        api_server: api.url(),
        shrink_hold: Duration::ZERO,
        ..K8sConfig::default()
    }
}

fn build(config: K8sConfig) -> Box<dyn Resolver> {
    let config = ResolverConfig { k8s: Some(config), ..ResolverConfig::default() };
    config.build().unwrap()
}

/// Checks that the set stays while the API is asked this many times more.
async fn assert_stays(resolver: &mut Box<dyn Resolver>, api: &ApiServer, more: usize) {
    let enough = api.requests().len() + more;
    tokio::select! {
        endpoints = resolver.changed() => panic!("changed to {endpoints:?}"),
        asked = until("the API was asked", async || Ok(api.requests().len() >= enough)) => {
            asked.unwrap();
        }
    }
}

fn lists(api: &ApiServer) -> usize {
    api.requests().iter().filter(|query| !query.contains("watch=1")).count()
}

fn watches(api: &ApiServer) -> usize {
    api.requests().len() - lists(api)
}

#[tokio::test]
async fn slices_are_listed_in_pages_and_then_watched() {
    let api = api().await;
    for (slice, address) in [("s1", "10.0.0.1"), ("s2", "10.0.0.2"), ("s3", "10.0.0.3")] {
        api.put(slice, &[address]);
    }
    let mut resolver = build(config(&api));
    assert_eq!(resolver.changed().await, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(lists(&api), 2, "two pages");
    api.put("s4", &["10.0.0.4", "!10.0.0.5"]);
    assert_eq!(resolver.changed().await.len(), 4);
    api.put("s4", &["10.0.0.4", "10.0.0.5"]);
    assert_eq!(resolver.changed().await.len(), 5);
    api.delete("s1");
    assert_eq!(resolver.changed().await, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
    assert_eq!((lists(&api), watches(&api)), (2, 1));
}

#[tokio::test]
async fn a_service_that_does_not_exist_yet_is_waited_for() {
    let api = api().await;
    let mut resolver = build(K8sConfig { ports: vec![4317], ..config(&api) });
    assert_stays(&mut resolver, &api, 2).await;
    api.put("s1", &["10.0.0.1"]);
    assert_eq!(resolver.changed().await, ["10.0.0.1:4317"]);
}

#[tokio::test]
async fn an_address_that_moves_between_slices_never_leaves() {
    let api = api().await;
    api.put("s1", &["10.0.0.1", "10.0.0.2"]);
    let mut resolver = build(config(&api));
    assert_eq!(resolver.changed().await, ["10.0.0.1", "10.0.0.2"]);
    api.put("s2", &["10.0.0.1", "10.0.0.3"]);
    api.put("s1", &["10.0.0.2"]);
    assert_eq!(resolver.changed().await, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    api.delete("s1");
    assert_eq!(resolver.changed().await, ["10.0.0.1", "10.0.0.3"]);
}

#[tokio::test]
async fn a_watch_that_is_cut_off_goes_on_where_it_was() {
    let api = api().await;
    api.put("s1", &["10.0.0.1"]);
    let mut resolver = build(config(&api));
    assert_eq!(resolver.changed().await, ["10.0.0.1"]);
    assert_stays(&mut resolver, &api, 1).await;
    api.hang_up();
    api.put("s1", &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(resolver.changed().await, ["10.0.0.1", "10.0.0.2"]);
    api.hang_up();
    assert_stays(&mut resolver, &api, 1).await;
    assert_eq!((lists(&api), watches(&api)), (1, 3));
}

#[tokio::test]
async fn a_watch_that_the_server_ends_is_begun_anew_at_its_bookmark() {
    let api = api().await;
    api.put("s1", &["10.0.0.1"]);
    let timeout = Duration::from_secs(1);
    let mut resolver = build(K8sConfig { timeout, ..config(&api) });
    assert_eq!(resolver.changed().await, ["10.0.0.1"]);
    assert_stays(&mut resolver, &api, 1).await;
    api.bookmark();
    assert_stays(&mut resolver, &api, 1).await;
    let mut versions: Vec<_> = api
        .requests()
        .iter()
        .filter_map(|query| {
            query.split('&').find_map(|p| p.strip_prefix("resourceVersion=")).map(str::to_owned)
        })
        .collect();
    // On a busy machine a watch may have begun twice, but not over and over.
    assert!(versions.len() <= 6, "{versions:?}");
    versions.dedup();
    assert_eq!(versions, ["101", "102"]);
}

#[tokio::test]
async fn a_version_that_is_gone_leads_to_a_new_list() {
    let api = api().await;
    api.put("s1", &["10.0.0.1", "10.0.0.2"]);
    let mut resolver = build(config(&api));
    assert_eq!(resolver.changed().await, ["10.0.0.1", "10.0.0.2"]);
    assert_stays(&mut resolver, &api, 1).await;
    // What happens while nobody listens is in no event any more.
    api.refuse(Some(503));
    api.hang_up();
    assert_stays(&mut resolver, &api, 1).await;
    api.put("s2", &["10.0.0.3"]);
    api.delete("s1");
    api.forget();
    api.refuse(None);
    assert_eq!(resolver.changed().await, ["10.0.0.3"]);
    assert_eq!(lists(&api), 2);
}

#[tokio::test]
async fn refusals_and_an_empty_service_keep_the_last_backends() {
    let api = api().await;
    api.put("s1", &["10.0.0.1"]);
    let mut resolver = build(config(&api));
    assert_eq!(resolver.changed().await, ["10.0.0.1"]);
    for status in [401, 403, 500] {
        api.refuse(Some(status));
        api.hang_up();
        assert_stays(&mut resolver, &api, 1).await;
    }
    api.refuse(None);
    api.put("s1", &["!10.0.0.1"]);
    api.delete("s1");
    assert_stays(&mut resolver, &api, 1).await;
    api.put("s2", &["10.0.0.2"]);
    assert_eq!(resolver.changed().await, ["10.0.0.2"]);
}

#[tokio::test]
async fn a_large_shrink_leaves_after_the_hold_without_another_event() {
    let api = api().await;
    api.put("s1", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let hold = Duration::from_millis(300);
    let mut resolver = build(K8sConfig { shrink_hold: hold, ..config(&api) });
    assert_eq!(resolver.changed().await.len(), 3);
    let shrunk = tokio::time::Instant::now();
    api.put("s1", &["10.0.0.1"]);
    assert_eq!(resolver.changed().await, ["10.0.0.1"]);
    assert!(shrunk.elapsed() >= hold);
}

#[tokio::test]
async fn a_call_that_is_dropped_loses_no_event() {
    let api = api().await;
    api.put("s1", &["10.0.0.1"]);
    let mut resolver = build(config(&api));
    assert_eq!(resolver.changed().await, ["10.0.0.1"]);
    for count in 2..20_usize {
        let endpoints: Vec<_> = (1..=count).map(|i| format!("10.0.0.{i}")).collect();
        api.put("s1", &endpoints.iter().map(String::as_str).collect::<Vec<_>>());
        // Polled for a moment at a time, as beside other things in a `select!`.
        let found = loop {
            let moment = Duration::from_micros(50);
            if let Ok(found) = tokio::time::timeout(moment, resolver.changed()).await {
                break found;
            }
        };
        assert_eq!(found.len(), count);
    }
    assert_eq!(lists(&api), 1, "events were enough");
}

#[tokio::test]
async fn hostnames_are_stable_names() {
    let api = api().await;
    api.put("s1", &["pod-0@10.0.0.1", "10.0.0.2"]);
    let config = K8sConfig { return_hostnames: true, ports: vec![4317], ..config(&api) };
    let mut resolver = build(config);
    assert_eq!(resolver.changed().await, [format!("pod-0.{SERVICE}.{NAMESPACE}:4317")]);
    // The pod restarts: it is away, and back with another address.
    api.put("s1", &["pod-0@10.0.0.9", "pod-1@10.0.0.2"]);
    let both = [0, 1].map(|i| format!("pod-{i}.{SERVICE}.{NAMESPACE}:4317"));
    assert_eq!(resolver.changed().await, both);
}
