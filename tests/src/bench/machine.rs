//! The machine's shape: without it a figure says nothing.

use std::fmt;
use std::fs;
use std::thread;

use serde::Serialize;

/// What the figures were measured on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cpus: usize,
    memory_mib: u64,
    kernel: String,
    system: String,
}

impl Machine {
    /// This one.
    pub(crate) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str, sign: char| {
            let line = text.lines().find(|line| line.starts_with(key));
            let value = line
                .and_then(|line| line.split_once(sign))
                .map(|(_, value)| value);
            value
                .unwrap_or("unknown")
                .trim()
                .trim_matches('"')
                .to_owned()
        };
        let memory = after(&text("/proc/meminfo"), "MemTotal", ':');
        let kibibytes = memory
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok());
        Self {
            cpu: after(&text("/proc/cpuinfo"), "model name", ':'),
            cpus: thread::available_parallelism().map_or(1, Into::into),
            memory_mib: kibibytes.unwrap_or(0u64) / 1024,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: after(&text("/etc/os-release"), "PRETTY_NAME", '='),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu,
            cpus,
            memory_mib,
            kernel,
            system,
        } = self;
        write!(
            f,
            "{cpu}, {cpus} CPUs, {} GiB, Linux {kernel}, {system}",
            memory_mib / 1024
        )
    }
}
