use std::collections::HashMap;
use std::io;

use serde_json::{Value, json};

use super::*;
use crate::config::testing::section;
use crate::processor::testing::{Probe, built};
use crate::queue::tests::context;
use crate::wire::{AnyValue, Writer, resources};

/// A host of these files and variables.
#[derive(Default)]
struct Host(HashMap<&'static str, &'static str>);

impl World for Host {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(ToString::to_string)
    }

    fn file(&self, path: &str) -> io::Result<String> {
        self.variable(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn host(more: &[(&'static str, &'static str)]) -> Host {
    let usual = [
        ("/proc/sys/kernel/hostname", "web-1\n"),
        ("/proc/sys/kernel/ostype", "Linux\n"),
        ("/proc/sys/kernel/osrelease", "6.1.0\n"),
        ("/proc/sys/kernel/version", "#1 SMP\n"),
        ("/etc/machine-id", "0123456789abcdef\n"),
        ("/etc/os-release", "PRETTY_NAME=\"Debian 13\"\nNAME=Debian\nVERSION_ID=\"13\"\n"),
    ];
    Host(usual.into_iter().chain(more.iter().copied()).collect())
}

fn detected(json: &Value, host: &Host) -> Result<Vec<String>, String> {
    let (config, problems, _) = section(json, ResourceDetectionConfig::validate);
    assert_eq!(problems, [""; 0]);
    let detected = config.detect(host).map_err(|error| error.to_string())?;
    let shown = detected.iter().map(|(key, value)| match AnyValue::read(value) {
        AnyValue::String(text) => format!("{key}={}", String::from_utf8_lossy(text)),
        other => format!("{key}: {other:?}"),
    });
    Ok(shown.collect())
}

#[test]
fn the_environment_is_the_default() {
    let check = |text: &'static str, expected: &[&str]| {
        let host = host(&[("OTEL_RESOURCE_ATTRIBUTES", text)]);
        assert_eq!(detected(&json!({}), &host).unwrap(), expected, "{text}");
    };
    check("", &[]);
    check("a=1,b = two ,", &["a=1", "b=two"]);
    check("a=x%2Cy+z%3D,b=1=2", &["a=x,y z=", "b=1=2"]);
    check("a=1,a=2", &["a=2"]);
    let former = host(&[("OTEL_RESOURCE", "a=1")]);
    assert_eq!(detected(&json!({}), &former).unwrap(), ["a=1"]);
    let some = json!({"env": {"allowlist": ["b"]}});
    let both = host(&[("OTEL_RESOURCE_ATTRIBUTES", "a=1,b=2")]);
    assert_eq!(detected(&some, &both).unwrap(), ["b=2"]);
    for wrong in ["a", "=1", "a=%zz", "a=1,,b=2"] {
        let host = host(&[("OTEL_RESOURCE_ATTRIBUTES", wrong)]);
        let error = detected(&json!({}), &host).unwrap_err();
        let start = "detector \"env\" failed: OTEL_RESOURCE_ATTRIBUTES is no list of key=value";
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn the_host_tells_its_name_and_what_is_turned_on() {
    let system = json!({"detectors": ["system"]});
    let usual = ["host.name=web-1", "os.type=linux"];
    assert_eq!(detected(&system, &host(&[])).unwrap(), usual);
    let hosts = "127.0.0.1 localhost\n10.0.0.7 web-1.shop.test web-1 # own\n";
    let named = detected(&system, &host(&[("/etc/hosts", hosts)])).unwrap();
    assert_eq!(named[0], "host.name=web-1.shop.test");
    let by_kernel = json!({"detectors": ["system"], "system": {"hostname_sources": ["os"]}});
    assert_eq!(detected(&by_kernel, &host(&[("/etc/hosts", hosts)])).unwrap(), usual);
    let more = json!({"detectors": ["system"], "system": {"resource_attributes": {
        "host.name": {"enabled": false}, "os.type": {"enabled": false},
        "host.id": {"enabled": true}, "os.description": {"enabled": true},
        "os.version": {"enabled": true}, "host.ip": {"enabled": false},
    }}});
    let machine = std::env::consts::ARCH;
    let description = format!("os.description=Debian 13 (Linux web-1 6.1.0 #1 SMP {machine})");
    let expected = ["host.id=0123456789abcdef", &description, "os.version=13"];
    assert_eq!(detected(&more, &host(&[])).unwrap(), expected);
    let error = detected(&system, &Host::default()).unwrap_err();
    assert_eq!(error, "detector \"system\" failed: no source has the host's name");
}

const ID: &str = "4a1e5a9f0c7d1b2e3f4a5b6c7d8e9f00112233445566778899aabbccddeeff00";

#[test]
fn a_container_is_known_by_its_control_group_or_its_mounts() {
    let container = json!({"detectors": ["container"]});
    let check = |path: &'static str, text: &'static str, is_known: bool| {
        let expected = if is_known { vec![format!("container.id={ID}")] } else { Vec::new() };
        assert_eq!(detected(&container, &host(&[(path, text)])).unwrap(), expected, "{text}");
    };
    let docker =
        "12:cpu:/docker/4a1e5a9f0c7d1b2e3f4a5b6c7d8e9f00112233445566778899aabbccddeeff00\n";
    check("/proc/self/cgroup", docker, true);
    let scope = "0::/kubepods.slice/cri-containerd-\
                 4a1e5a9f0c7d1b2e3f4a5b6c7d8e9f00112233445566778899aabbccddeeff00.scope\n";
    check("/proc/self/cgroup", scope, true);
    check("/proc/self/cgroup", "0::/\n", false);
    let mount = "1 2 0:1 /var/lib/docker/containers/\
                 4a1e5a9f0c7d1b2e3f4a5b6c7d8e9f00112233445566778899aabbccddeeff00/hostname /etc/h";
    check("/proc/self/mountinfo", mount, true);
}

#[test]
fn what_an_earlier_detector_finds_counts() {
    let host = host(&[("OTEL_RESOURCE_ATTRIBUTES", "host.name=mine")]);
    let first = json!({"detectors": ["env", "system"]});
    assert_eq!(detected(&first, &host).unwrap(), ["host.name=mine", "os.type=linux"]);
    let last = json!({"detectors": ["system", "env"]});
    assert_eq!(detected(&last, &host).unwrap(), ["host.name=web-1", "os.type=linux"]);
}

#[tokio::test]
async fn what_is_found_replaces_what_resources_say_or_fills_in() {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| resource.string_attribute(1, b"os.type", b"plan9"));
        entry.message(2, |scope| scope.message(2, |span| span.bytes(5, b"name")));
    });
    let batch = Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap();
    for (overrides, os_type) in [(true, "linux"), (false, "plan9")] {
        let json = json!({
            "detectors": ["system"], "override": overrides, "system": {"hostname_sources": ["os"]},
        });
        let probe = Probe::default();
        let processor = built::<ResourceDetectionConfig>(&json, &context(), &probe);
        processor.consume(batch.clone()).await.unwrap();
        let taken = probe.taken().remove(0);
        let resource = resources(taken.bytes()).next().unwrap().resource();
        let found = resource.attribute(b"os.type");
        assert_eq!(found, Some(AnyValue::String(os_type.as_bytes())));
        assert!(resource.attribute(b"host.name").is_some());
    }
}

#[test]
fn problems_are_named_by_their_key() {
    let check = |json: Value, expected: &str| {
        let (_, problems, _) = section(&json, ResourceDetectionConfig::validate);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("a::{expected}")), "{problems:?}");
    };
    check(json!({"detectors": []}), "detectors: at least one detector must be specified");
    let elsewhere = "detectors::1: detector \"ec2\" is not available here";
    check(json!({"detectors": ["env", "ec2"]}), elsewhere);
    check(json!({"detectors": ["moon"]}), "detectors::0: unknown detector \"moon\"");
    let once = "refresh_interval: not supported: resources are detected once, at start";
    check(json!({"refresh_interval": "1m"}), once);
    let system = |key: &str| json!({"system": {"resource_attributes": {key: {"enabled": true}}}});
    check(system("host.ip"), "system::resource_attributes::host.ip: not available here");
    check(system("host.age"), "system::resource_attributes::host.age: unknown attribute");
}
