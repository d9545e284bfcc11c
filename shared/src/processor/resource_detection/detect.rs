//! The detectors `system` and `container`: what the kernel's files say.
//!
//! Source: contrib `resourcedetectionprocessor/internal/system`, `internal/metadataproviders/system`.

use std::collections::BTreeMap;

use tracing::warn;

use crate::config::{Path, Problems, World};
use crate::processor::actions::text;
use crate::{config_enum, config_struct};

/// A key, with its value as an `AnyValue` message.
pub(super) type Detected = (String, Vec<u8>);

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detector {
    Env,
    System,
    Container,
}

/// Detectors of the Collector that ask a cloud or a cluster.
const ELSEWHERE: &[&str] = &[
    "akamai",
    "aks",
    "alibaba_ecs",
    "azure",
    "azurecontainerapps",
    "consul",
    "digitalocean",
    "docker",
    "ec2",
    "ecs",
    "eks",
    "elasticbeanstalk",
    "gce",
    "gcp",
    "gke",
    "heroku",
    "hetzner",
    "ibmcloud_classic",
    "ibmcloud_vpc",
    "k8s_api",
    "k8snode",
    "kubeadm",
    "lambda",
    "nova",
    "openshift",
    "oraclecloud",
    "scaleway",
    "tencent_cvm",
    "upcloud",
    "vultr",
];

impl Detector {
    /// The detector of this name.
    ///
    /// # Errors
    /// That there is none.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        match name {
            "env" => Ok(Detector::Env),
            "system" => Ok(Detector::System),
            "container" => Ok(Detector::Container),
            name if ELSEWHERE.contains(&name) => Err(format!(
                "detector \"{name}\" is not available here (there are env, system, container): \
                 run it in an agent, or name the attributes with env or the resource processor"
            )),
            name => Err(format!("unknown detector \"{name}\" (there are env, system, container)")),
        }
    }
}

config_enum! {
    /// Where the host's name comes from.
    pub enum HostNameSource {
        /// The full name that `/etc/hosts` gives the host.
        Dns = "dns",
        /// The kernel's name for it.
        Os = "os",
    }
}

config_struct! {
    /// The detector `system`.
    pub struct SystemConfig {
        /// Where the host's name comes from: the first that has one.
        pub hostname_sources: Vec<HostNameSource> = vec![HostNameSource::Dns, HostNameSource::Os],
        /// What is looked for.
        pub resource_attributes: BTreeMap<String, SwitchConfig> = BTreeMap::new(),
    }
}

config_struct! {
    /// One of `resource_attributes`.
    pub struct SwitchConfig {
        /// Whether it is looked for.
        pub enabled: bool = false,
    }
}

/// What `system` finds: the attribute, whether it is looked for by default, and how.
type Known = (&'static str, bool, fn(&dyn World) -> Option<String>);

/// What the detector finds besides the host's name.
const KNOWN: [Known; 6] = [
    ("host.id", false, host_id),
    ("host.arch", false, |_| Some(architecture().to_owned())),
    ("os.type", true, |_| Some("linux".to_owned())),
    ("os.description", false, os_description),
    ("os.name", false, |world| release(world, "NAME")),
    ("os.version", false, |world| release(world, "VERSION_ID")),
];
const HOST_NAME: &str = "host.name";

/// What the Collector's finds besides.
const UNKNOWN: [&str; 10] = [
    "host.cpu.cache.l2.size",
    "host.cpu.family",
    "host.cpu.model.id",
    "host.cpu.model.name",
    "host.cpu.stepping",
    "host.cpu.vendor.id",
    "host.interface",
    "host.ip",
    "host.mac",
    "os.build.id",
];

impl SystemConfig {
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let at = at.key("resource_attributes");
        for (key, switch) in &self.resource_attributes {
            let is_known = key == HOST_NAME || KNOWN.iter().any(|(known, ..)| known == key);
            let is_elsewhere = UNKNOWN.contains(&key.as_str());
            if is_elsewhere && switch.enabled {
                problems.report(&at.key(key), "not available here");
            } else if !is_known && !is_elsewhere {
                problems.report(&at.key(key), "unknown attribute");
            }
        }
    }

    fn is_wanted(&self, key: &str, by_default: bool) -> bool {
        self.resource_attributes.get(key).map_or(by_default, |switch| switch.enabled)
    }

    pub(super) fn detect(&self, world: &dyn World) -> Result<Vec<Detected>, String> {
        let mut detected = Vec::new();
        if self.is_wanted(HOST_NAME, true) {
            let name = self.host_name(world).ok_or("no source has the host's name")?;
            detected.push((HOST_NAME.to_owned(), text(name.as_bytes())));
        }
        for (key, by_default, find) in KNOWN {
            if !self.is_wanted(key, by_default) {
                continue;
            }
            match find(world) {
                Some(value) => detected.push((key.to_owned(), text(value.as_bytes()))),
                None => warn!(attribute = key, "host does not tell it"),
            }
        }
        Ok(detected)
    }

    fn host_name(&self, world: &dyn World) -> Option<String> {
        self.hostname_sources.iter().find_map(|source| match source {
            HostNameSource::Os => line(world, "/proc/sys/kernel/hostname"),
            HostNameSource::Dns => full_host_name(world),
        })
    }
}

/// A file's only line, if it has one.
fn line(world: &dyn World, path: &str) -> Option<String> {
    let text = world.file(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The first name in the line of `/etc/hosts` that has the host's own, if it has a domain.
fn full_host_name(world: &dyn World) -> Option<String> {
    let name = line(world, "/proc/sys/kernel/hostname")?;
    let hosts = world.file("/etc/hosts").ok()?;
    let named = hosts.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut names = line.split_whitespace().skip(1);
        let first = names.next()?;
        (first == name || names.any(|other| other == name)).then_some(first)
    })?;
    named.contains('.').then(|| named.to_owned())
}

fn host_id(world: &dyn World) -> Option<String> {
    line(world, "/etc/machine-id").or_else(|| line(world, "/var/lib/dbus/machine-id"))
}

/// As semantic conventions name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc" => "ppc32",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// A value of the distribution's file.
fn release(world: &dyn World, key: &str) -> Option<String> {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .find_map(|path| world.file(path).ok())?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
}

/// The distribution, and the kernel as `uname` tells it.
fn os_description(world: &dyn World) -> Option<String> {
    let distribution = release(world, "PRETTY_NAME").or_else(|| release(world, "NAME"))?;
    let kernel = |name| line(world, &format!("/proc/sys/kernel/{name}"));
    let (system, host) = (kernel("ostype")?, kernel("hostname")?);
    let (version, build) = (kernel("osrelease")?, kernel("version")?);
    let machine = std::env::consts::ARCH;
    Some(format!("{distribution} ({system} {host} {version} {build} {machine})"))
}

/// The id of the container that the process runs in, if it runs in one that says so.
pub(super) fn container(world: &dyn World) -> Vec<Detected> {
    let cgroup = world.file("/proc/self/cgroup").unwrap_or_default();
    let mounts = world.file("/proc/self/mountinfo").unwrap_or_default();
    let of_cgroup = cgroup.lines().filter_map(|line| line.rsplit('/').next());
    // A container's own files are mounted from its directory at the host.
    let of_mounts = mounts.lines().filter_map(|line| line.split_once("/containers/"));
    let id = of_cgroup.chain(of_mounts.map(|(_, behind)| behind)).find_map(container_id);
    id.map(|id| vec![("container.id".to_owned(), text(id.as_bytes()))]).unwrap_or_default()
}

/// The first 64 hexadecimal digits in a row.
fn container_id(text: &str) -> Option<&str> {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.split(|c: char| !is_digit(c)).find(|part| part.len() == 64)
}
