use super::*;
use crate::bench::latency::{Arrivals, Latency};
use crate::bench::results::{
    FORMAT, Gateway, Layout, Machine, MemorySample, Payload, SideLatency, Spread, Subject, Summary,
};
use crate::bench::spread::tests::round;
use crate::bench::yardstick::Limit;

fn gateway(side: Side, name: &str) -> Gateway {
    Gateway { side, name: name.to_owned(), programs: Vec::new() }
}

fn summary(side: Side, cpu: f64) -> Summary {
    let spread = |median: f64| Spread { median, min: median * 0.9, max: median * 1.2 };
    Summary {
        side,
        rounds: 5,
        cpu: spread(cpu),
        user: spread(cpu / 2.0),
        system: spread(cpu / 2.0),
        spans_per_second: spread(1e6),
        spans_per_core_second: spread(2e6),
        peak_rss_bytes: 30 << 20,
        start_rss_bytes: 10 << 20,
        idle_rss_bytes: 12 << 20,
        idle_seconds: 10.0,
        held_bytes_per_span: None,
        switches: spread(1e4),
        wire_bytes_per_span: [565.0, 600.0],
        requests_per_million: [2000.0, 5000.0],
    }
}

fn latency(rate: u64, p50_us: u64, void: &[&str]) -> Latency {
    Latency {
        rate,
        arrivals: Arrivals::Poisson,
        seconds: 10.0,
        requests: 1000,
        spans: 512_000,
        p50_us,
        p90_us: p50_us * 2,
        p99_us: p50_us * 3,
        p999_us: p50_us * 9,
        max_us: p50_us * 20,
        late_share: 0.0,
        lateness_p99_us: 100,
        lateness_max_us: 500,
        failed: 0,
        void: void.iter().map(|&reason| reason.to_owned()).collect(),
    }
}

fn payload() -> Payload {
    Payload {
        spans_per_request: 512,
        services: 8,
        spans: "plain".to_owned(),
        field_order: "sdk".to_owned(),
        inbound_compression: "none".to_owned(),
        outbound_compression: "none".to_owned(),
        bytes_per_span: 565.0,
        file_xxh3: String::new(),
    }
}

fn case(panel: &str, layout: Layout, cpu: f64) -> Case {
    let sides = [Side::Sut, Side::Peer];
    let limit = |yardstick, share: f64| Limit {
        yardstick,
        cpu_seconds_per_million_spans: cpu * share,
        gigabytes_per_second: 1.0,
        spans: 1_000_000,
        bytes: 565_000_000,
    };
    let runs = [(300_000, 700, &[][..]), (600_000, 900, &[]), (900_000, 4000, &["late"])];
    let rounds = sides.into_iter().map(|side| {
        let mut round = round(side, 0, cpu);
        let rise = |at_ms: u64| MemorySample { at_ms, rss_bytes: (10 << 20) + at_ms * 9000 };
        round.memory = (0..20).map(|step| rise(step * 100)).collect();
        round
    });
    Case {
        panel: panel.to_owned(),
        layout,
        payload: payload(),
        connections: 2,
        in_flight: 8,
        sinks: 5,
        rounds: rounds.collect(),
        summaries: vec![summary(Side::Sut, cpu), summary(Side::Peer, cpu * 11.0)],
        comparison: None,
        limits: vec![
            limit(Yardstick::Http2, 0.4),
            limit(Yardstick::Tcp, 0.2),
            limit(Yardstick::Memcpy, 0.05),
        ],
        latency: sides
            .into_iter()
            .flat_map(|side| {
                let factor = if side == Side::Sut { 1 } else { 6 };
                runs.map(|(rate, p50, void)| SideLatency {
                    side,
                    run: latency(rate, p50 * factor, void),
                })
            })
            .collect(),
    }
}

fn results() -> Results {
    Results {
        format: FORMAT,
        started: "2026-11-26T05:00:00Z".to_owned(),
        version: "0.1.0".to_owned(),
        command: Vec::new(),
        subject: Subject::Edge,
        seed: 1,
        machine: Machine {
            kernel: "6.18.44".to_owned(),
            cpu: "a CPU".to_owned(),
            cpu_flags: Vec::new(),
            cores: 2,
            memory_bytes: 24 << 30,
            load_average: "0.10".to_owned(),
        },
        gateways: vec![gateway(Side::Sut, "edge"), gateway(Side::Peer, "otelcol <contrib>")],
        cases: vec![
            case("512", Layout::Apart, 0.46),
            case("100, 1 service", Layout::Apart, 0.79),
            case("512", Layout::Shared, 0.42),
        ],
    }
}

fn names(files: &[PathBuf]) -> Vec<&str> {
    files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect()
}

#[test]
fn every_case_has_its_charts_and_cpu_is_one_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let files = draw(&results(), folder.path()).unwrap();

    let expected = [
        "cpu.svg",
        "latency-512-apart.svg",
        "memory-512-apart.svg",
        "latency-100--1-service-apart.svg",
        "memory-100--1-service-apart.svg",
        "latency-512-shared.svg",
        "memory-512-shared.svg",
    ];
    assert_eq!(names(&files), expected);
    let cpu = std::fs::read_to_string(&files[0]).unwrap();
    for text in ["otelcol &lt;contrib&gt;", "512, shared", "bare HTTP/2", "raw TCP", "memcpy"] {
        assert!(cpu.contains(&format!(">{text}</text>")), "{text} in {cpu}");
    }
    // Two of each of three cases, and two in the legend.
    assert_eq!(cpu.matches("<rect class=\"area").count(), 8);
}

#[test]
fn latency_has_three_lines_of_each_side_and_void_runs_are_hollow() {
    let results = results();
    let svg = super::latency(&results, &results.cases[0]).svg();
    assert_eq!(svg.matches("<polyline").count(), 6);
    assert_eq!(svg.matches("<circle class=\"hollow").count(), 6 + 1);
    assert_eq!(svg.matches("<circle class=\"point").count(), 12);
}

#[test]
fn what_was_written_as_json_is_drawn_again() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("results.json");
    std::fs::write(&from, serde_json::to_string(&results()).unwrap()).unwrap();
    let plots = folder.path().join("plots");
    let arguments = PlotArguments { from: from.clone(), output: Some(plots.clone()) };
    assert!(run(&arguments).unwrap());
    assert!(plots.join("memory-512-shared.svg").is_file());

    let growth = serde_json::to_string(&growth::tests::growth()).unwrap();
    std::fs::write(&from, growth).unwrap();
    assert!(run(&PlotArguments { from: from.clone(), output: None }).unwrap());
    assert!(folder.path().join("growth-clients.svg").is_file());

    std::fs::write(&from, "{}").unwrap();
    let error = run(&PlotArguments { from: from.clone(), output: None }).unwrap_err().to_string();
    let start = format!("cannot read {}: missing field", from.display());
    assert!(error.starts_with(&start), "{error}");
}
