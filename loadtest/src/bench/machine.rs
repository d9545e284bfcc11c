//! The machine, as far as it explains figures.

use std::fs;

use super::results::Machine;
use crate::testbed::TestbedError;
use crate::testbed::cores::Cores;

/// Looks at this one.
///
/// # Errors
/// When the kernel does not say which cores may be used.
pub(super) fn describe() -> Result<Machine, TestbedError> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let of_cpu = |key: &str| value(&cpu, key, ':').unwrap_or_default().to_owned();
    let memory = read("/proc/meminfo");
    let kibibytes = value(&memory, "MemTotal", ':').and_then(|text| text.split(' ').next());
    // x86 calls them flags, ARM features.
    let flags = [of_cpu("flags"), of_cpu("Features")].concat();
    Ok(Machine {
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpu: of_cpu("model name"),
        cpu_flags: flags.split_whitespace().map(str::to_owned).collect(),
        cores: Cores::available()?.numbers().len(),
        memory_bytes: kibibytes.and_then(|text| text.parse().ok()).unwrap_or(0) * 1024,
        load_average: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
    })
}

/// The value on the first line `key: value`.
fn value<'a>(text: &'a str, key: &str, separator: char) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_a_core() {
        let machine = describe().unwrap();
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20, "{machine:?}");
        assert!(!machine.kernel.is_empty());
    }

    #[test]
    fn values_are_found_by_their_whole_key() {
        let text = "vmx flags\t: a b\nflags\t\t: c d\nflags : e\n";
        assert_eq!(value(text, "flags", ':'), Some("c d"));
    }
}
