//! Backends that come and go while traffic flows.

use std::net::Ipv4Addr;

use loadtest::oracle::{Policies, Policy};
use loadtest::plan::Plan;
use loadtest::testbed::cluster::{Cluster, until};
use loadtest::testbed::dns::Answer;

use crate::common::{compare, keeping_all, load, send, settle, start, stop};

/// Sends while `change` happens; every span must arrive once.
async fn check_nothing_is_lost(
    backends: usize,
    announced: usize,
    change: impl AsyncFnOnce(&Cluster, &[Ipv4Addr]),
) {
    let mut shape = keeping_all(2, backends);
    shape.edge_settings =
        vec!["exporters::loadbalancing::resolver::dns::interval=100ms".to_owned()];
    let hosts = shape.backends.clone();
    let cluster = start(shape).await;
    cluster.announce(&hosts[..announced]);
    cluster.wait_for_backends(announced as u64).await.unwrap();
    let keep_all = Policies::new(vec![Policy::AlwaysSample]);
    let mut load = load(cluster.clients().unwrap());
    load.rate = Some(4_000);
    let sending = send(load, Plan::new(41, 2_000), keep_all.clone());
    let (truth, ()) = tokio::join!(sending, change(&cluster, &hosts));
    let (edge, backend) = settle(&cluster).await;
    assert_eq!((edge.accepted, edge.failed), (truth.spans, 0));
    assert!(backend.is_conserved(), "{backend:?}");
    let traces = compare(&cluster, &truth, &keep_all);
    assert!(traces.is_exact() && traces.duplicates == 0, "{traces:?}");
    stop(cluster).await;
}

/// Waits until the DNS server was asked some more times.
async fn questions_later(cluster: &Cluster, more: u64) {
    let asked = cluster.dns.questions();
    until("the edges ask again", async || Ok(cluster.dns.questions() >= asked + more))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_backend_joins_and_one_leaves_without_loss() {
    check_nothing_is_lost(3, 2, async |cluster, hosts| {
        questions_later(cluster, 4).await;
        cluster.announce(hosts);
        cluster.wait_for_backends(3).await.unwrap();
        cluster.announce(&hosts[1..]);
        cluster.wait_for_backends(2).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_name_that_fails_or_is_empty_never_empties_the_ring() {
    check_nothing_is_lost(2, 2, async |cluster, hosts| {
        for answer in [Answer::ServerFailure, Answer::Addresses(Vec::new()), Answer::NoSuchName] {
            cluster.dns.set(answer);
            questions_later(cluster, 16).await;
            cluster.wait_for_backends(2).await.unwrap();
        }
        cluster.announce(hosts);
        questions_later(cluster, 4).await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_flaps_moves_nothing() {
    check_nothing_is_lost(2, 2, async |cluster, hosts| {
        for _ in 0..4 {
            // Once is no reason to believe that a backend is gone.
            cluster.announce(&hosts[..1]);
            questions_later(cluster, 1).await;
            cluster.announce(hosts);
            questions_later(cluster, 8).await;
            cluster.wait_for_backends(2).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_long_answer_is_asked_for_again_over_tcp() {
    check_nothing_is_lost(3, 2, async |cluster, hosts| {
        let addresses = hosts.iter().map(|host| (*host).into()).collect();
        cluster.dns.set(Answer::Truncated(addresses));
        cluster.wait_for_backends(3).await.unwrap();
    })
    .await;
}
