//! Against a real DNS server on a loopback port.

use std::sync::Arc;

use hickory_resolver::proto::op::ResponseCode;
use hickory_server::Server;

use super::super::nameserver::Completion;
use super::super::testing::{self, Handler, Script, Zone};
use super::*;

/// A server, and a resolver that asks it.
async fn start(port: &str) -> (Arc<Zone>, Server<Handler>, Box<dyn Resolver>) {
    start_with(port, |_| ()).await
}

async fn start_with(
    port: &str,
    change: impl FnOnce(&mut LookupConfig),
) -> (Arc<Zone>, Server<Handler>, Box<dyn Resolver>) {
    let (zone, server, mut lookup) = testing::start().await;
    change(&mut lookup);
    let (hostname, port) = ("backend.test".to_owned(), port.to_owned());
    let config = DnsConfig { hostname, port, lookup, ip_family: IpFamily::Any };
    (zone, server, config.build())
}

#[tokio::test]
async fn addresses_of_both_kinds_are_found_sorted_and_changes_are_seen() {
    let (zone, _server, mut resolver) = start("4317").await;
    zone.set(Script::addresses("10.0.0.2 fd00::1 10.0.0.1 10.0.0.2"));
    let all = ["10.0.0.1:4317", "10.0.0.2:4317", "[fd00::1]:4317"];
    assert_eq!(resolver.changed().await, all);
    zone.set(Script::addresses("10.0.0.1 10.0.0.2 10.0.0.3 fd00::1"));
    let all = ["10.0.0.1:4317", "10.0.0.2:4317", "10.0.0.3:4317", "[fd00::1]:4317"];
    assert_eq!(resolver.changed().await, all);
    let start = zone.count(RecordType::A);
    zone.set(Script::addresses("10.0.0.3"));
    assert_eq!(resolver.changed().await, ["10.0.0.3:4317"]);
    assert_eq!(zone.count(RecordType::A) - start, 3, "three misses");
}

#[tokio::test]
async fn one_family_is_asked_for_alone_if_it_is_written() {
    for (ip_family, kind, found) in
        [(IpFamily::V4, "A", "10.0.0.1"), (IpFamily::V6, "AAAA", "[fd00::1]")]
    {
        let (zone, _server, lookup) = testing::start().await;
        let hostname = "backend.test".to_owned();
        let config = DnsConfig { hostname, ip_family, lookup, ..DnsConfig::default() };
        let mut resolver = config.build();
        zone.set(Script::addresses("10.0.0.1 fd00::1"));
        assert_eq!(resolver.changed().await, [found]);
        assert_eq!(zone.asked(), [format!("{kind} backend.test. Udp")]);
        zone.set(Script::code(ResponseCode::NoError));
        let record = if ip_family == IpFamily::V4 { RecordType::A } else { RecordType::AAAA };
        zone.assert_stays(&mut resolver, record, 4).await;
    }
}

#[tokio::test]
async fn failures_and_empty_answers_never_empty_the_set() {
    let (zone, _server, mut resolver) = start("").await;
    zone.set(Script::addresses("10.0.0.1 fd00::1"));
    assert_eq!(resolver.changed().await, ["10.0.0.1", "[fd00::1]"]);
    for code in [ResponseCode::ServFail, ResponseCode::NXDomain, ResponseCode::NoError] {
        zone.set(Script::code(code));
        zone.assert_stays(&mut resolver, RecordType::A, 5).await;
    }
    zone.set(Script::addresses("10.0.0.2"));
    assert_eq!(resolver.changed().await, ["10.0.0.1", "10.0.0.2", "[fd00::1]"]);
}

#[tokio::test]
async fn it_keeps_trying_when_the_first_lookups_fail() {
    let (zone, _server, mut resolver) = start("").await;
    zone.set(Script::code(ResponseCode::ServFail));
    zone.assert_stays(&mut resolver, RecordType::A, 5).await;
    zone.set(Script::addresses("10.0.0.1"));
    assert_eq!(resolver.changed().await, ["10.0.0.1"]);
}

#[tokio::test]
async fn a_server_that_is_silent_fails_the_lookup_and_no_more() {
    let (zone, _server, mut resolver) =
        start_with("", |lookup| lookup.timeout = Duration::from_millis(50)).await;
    zone.set(Script::silence());
    zone.assert_stays(&mut resolver, RecordType::A, 3).await;
    zone.set(Script::addresses("10.0.0.1"));
    assert_eq!(resolver.changed().await, ["10.0.0.1"]);
}

#[tokio::test]
async fn a_server_that_fails_for_aaaa_does_not_keep_dead_ipv4_addresses() {
    let (zone, _server, mut resolver) = start("").await;
    zone.set(Script::addresses("10.0.0.1 10.0.0.2"));
    assert_eq!(resolver.changed().await, ["10.0.0.1", "10.0.0.2"]);
    zone.script(|_, kind| match kind {
        RecordType::A => Script::addresses("10.0.0.1"),
        _ => Script::code(ResponseCode::ServFail),
    });
    assert_eq!(resolver.changed().await, ["10.0.0.1"]);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let (zone, _server, mut resolver) = start("4317").await;
    let addresses: Vec<_> = (0..300).map(|i| format!("10.0.{}.{}", i / 200, i % 200)).collect();
    zone.set(Script::addresses(&addresses.join(" ")));
    let mut expected: Vec<_> = addresses.iter().map(|ip| format!("{ip}:4317")).collect();
    let mut found = resolver.changed().await;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let mut asked = zone.asked();
    asked.retain(|asked| asked.starts_with("A "));
    assert_eq!(asked, ["A backend.test. Udp", "A backend.test. Tcp"]);
}

#[tokio::test]
async fn a_large_shrink_goes_through_after_the_hold() {
    let hold = Duration::from_millis(200);
    let (zone, _server, mut resolver) = start_with("", |lookup| lookup.shrink_hold = hold).await;
    zone.set(Script::addresses("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4"));
    assert_eq!(resolver.changed().await.len(), 4);
    let shrunk = Instant::now();
    zone.set(Script::addresses("10.0.0.4"));
    assert_eq!(resolver.changed().await, ["10.0.0.4"]);
    assert!(shrunk.elapsed() >= hold);
}

#[tokio::test]
async fn an_address_as_hostname_is_taken_as_it_is() {
    let endpoint = async |hostname: &str| {
        let config = DnsConfig { hostname: hostname.to_owned(), ..DnsConfig::default() };
        config.build().changed().await
    };
    assert_eq!(endpoint("127.0.0.1").await, ["127.0.0.1"]);
    assert_eq!(endpoint("fd00::1").await, ["[fd00::1]"]);
}

/// Nameservers that complete `backend` by two domains, and the answers for the full names.
async fn ask_completed(
    answers: impl Fn(&str, RecordType) -> Script + Send + 'static,
) -> (Vec<String>, Result<Vec<IpAddr>, Outcome>) {
    let (zone, _server, config) = testing::start().await;
    zone.script(answers);
    let search = ["ns.test", "test"].map(|domain| Name::from_utf8(domain).unwrap()).to_vec();
    let servers: Vec<_> = config.nameservers.iter().map(|s| s.parse().unwrap()).collect();
    let nameservers = Nameservers::given(&servers, config.timeout).unwrap();
    let nameservers = nameservers.completed_by(Completion { search, ndots: 5 });
    let question = Addresses { port: String::new(), family: IpFamily::Any };
    let name = Name::from_utf8("backend").unwrap();
    let deadline = Instant::now() + config.timeout;
    let found = super::super::lookup::ask_each(&question, &nameservers, &name, deadline).await;
    let mut asked = zone.asked();
    asked.retain(|asked| asked.starts_with("A "));
    (asked, found.map(|reply| reply.answer.found).map_err(|failure| failure.outcome))
}

#[tokio::test]
async fn a_relative_name_is_looked_for_in_the_search_domains() {
    let (asked, found) = ask_completed(|name, _| match name {
        "backend.test." => Script::addresses("10.0.0.1 fd00::1"),
        _ => Script::code(ResponseCode::NXDomain),
    })
    .await;
    assert_eq!(asked, ["A backend.ns.test. Udp", "A backend.test. Udp"]);
    assert_eq!(found.unwrap(), ["10.0.0.1", "fd00::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
}

#[tokio::test]
async fn both_kinds_of_addresses_come_from_one_name() {
    // The longer name has no IPv6 address; those of another name are not its backends.
    let (_, found) = ask_completed(|name, _| match name {
        "backend.ns.test." => Script::addresses("10.0.0.1"),
        _ => Script::addresses("10.9.9.9 fd00::9"),
    })
    .await;
    assert_eq!(found.unwrap(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn a_failure_in_the_right_domain_does_not_lead_to_a_wrong_one() {
    let (asked, found) = ask_completed(|name, _| match name {
        "backend.ns.test." => Script::code(ResponseCode::ServFail),
        _ => Script::addresses("10.9.9.9"),
    })
    .await;
    assert_eq!(found.unwrap_err(), Outcome::ServerFailure);
    assert!(asked.iter().all(|asked| asked.contains(" backend.ns.test. ")), "{asked:?}");
}

#[tokio::test]
async fn a_name_without_records_says_more_than_names_that_do_not_exist() {
    let (asked, found) = ask_completed(|name, _| match name {
        "backend.ns.test." => Script::code(ResponseCode::NoError),
        _ => Script::code(ResponseCode::NXDomain),
    })
    .await;
    assert_eq!(found.unwrap_err(), Outcome::Empty);
    assert_eq!(asked.len(), 3, "{asked:?}");
}

/// Records or what failed, for both kinds, and what they say together.
#[track_caller]
fn check(v4: Result<&str, Outcome>, v6: Result<&str, Outcome>, expected: Result<&str, Outcome>) {
    let records = |given: Result<&str, Outcome>| match given {
        Ok(addresses) => {
            let ips = addresses.split_whitespace().map(|ip| ip.parse::<IpAddr>().unwrap());
            Ok(ips.map(|ip| Record::from_rdata(Name::root(), 7, ip.into())).collect())
        }
        Err(outcome) => Err(Failure { outcome, reason: String::new() }),
    };
    let found = combine(records(v4), records(v6)).map_err(|failure| failure.outcome);
    let found = found.map(|reply| {
        let silent =
            |family: &str, ip: &str| match (reply.answer.silent_about)(&ip.parse().unwrap()) {
                true => format!(" not {family}"),
                false => String::new(),
            };
        let found: Vec<_> = reply.answer.found.iter().map(ToString::to_string).collect();
        found.join(" ") + &silent("v4", "10.0.0.1") + &silent("v6", "fd00::1")
    });
    assert_eq!(found.as_deref().map_err(|outcome| *outcome), expected);
}

#[test]
fn each_kind_of_addresses_may_fail_by_itself() {
    use Outcome::{Empty, Failed, NoSuchName, ServerFailure, TimedOut};
    check(Ok("10.0.0.1"), Ok("fd00::1"), Ok("10.0.0.1 fd00::1"));
    check(Ok("10.0.0.1"), Err(Empty), Ok("10.0.0.1"));
    check(Ok("10.0.0.1"), Err(TimedOut), Ok("10.0.0.1 not v6"));
    check(Err(ServerFailure), Ok("fd00::1"), Ok("fd00::1 not v4"));
    check(Err(Empty), Err(Empty), Err(Empty));
    check(Err(Empty), Err(TimedOut), Err(TimedOut));
    check(Err(Failed), Err(Empty), Err(Failed));
    check(Err(NoSuchName), Err(TimedOut), Err(NoSuchName));
    check(Err(TimedOut), Err(NoSuchName), Err(NoSuchName));
}

#[test]
fn an_ipv4_address_in_ipv6_form_is_the_same_address() {
    check(Ok("10.0.0.1"), Ok("::ffff:10.0.0.2"), Ok("10.0.0.1 10.0.0.2"));
}
