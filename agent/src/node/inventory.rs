//! The host in a node's report: what `/proc`, `/sys` and its file systems tell. What cannot be read is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use snf_events::agent::{Disk, Host, Memory};

/// Reads what the host is like now; `directories` are those whose file systems are told.
#[must_use]
pub fn host(directories: &[PathBuf]) -> Host {
    let line = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.trim().to_owned()
    };
    let whole = |text: &str| text.split('.').next().and_then(|whole| whole.parse().ok());
    let disks = directories.iter().filter_map(|directory| {
        let disk = disk(directory)?;
        Some((directory.display().to_string(), disk))
    });
    Host {
        kernel: line("/proc/sys/kernel/osrelease"),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        uptime: whole(&line("/proc/uptime")).unwrap_or_default(),
        cpus: processors(&line("/sys/devices/system/cpu/online")),
        load: load(&line("/proc/loadavg")),
        memory: memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        disks: disks.collect(),
        bridges: bridges(),
    }
}

fn disk(directory: &Path) -> Option<Disk> {
    let told = statvfs(directory).ok()?;
    let size = told.fragment_size();
    Some(Disk {
        total: told.blocks().saturating_mul(size),
        available: told.blocks_available().saturating_mul(size),
    })
}

fn bridges() -> Vec<String> {
    let devices = fs::read_dir("/sys/class/net").into_iter().flatten();
    let bridges = devices
        .flatten()
        .filter(|device| device.path().join("bridge").is_dir());
    let names = bridges.filter_map(|device| device.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// `0-3,5` is five.
fn processors(list: &str) -> u64 {
    let ranges = list.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    });
    ranges.sum()
}

fn load(line: &str) -> [f64; 3] {
    let mut load = [0.0; 3];
    for (mean, word) in load.iter_mut().zip(line.split_whitespace()) {
        *mean = word
            .parse()
            .ok()
            .filter(|mean: &f64| mean.is_finite())
            .unwrap_or_default();
    }
    load
}

/// `NAME:   N kB`
fn memory(text: &str) -> Memory {
    let all: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some((name, kibibytes * 1024))
        })
        .collect();
    let of = |name: &str| all.get(name).copied().unwrap_or_default();
    Memory {
        total: of("MemTotal"),
        free: of("MemFree"),
        available: of("MemAvailable"),
        swap_total: of("SwapTotal"),
        swap_free: of("SwapFree"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(processors("0-3,5"), 5);
        assert_eq!(processors("0"), 1);
        assert_eq!(processors(""), 0);
        assert_eq!(load("0.25 1.50 2.00 1/300 42"), [0.25, 1.5, 2.0]);
        assert_eq!(load("NaN"), [0.0; 3]);
        let memory = memory("MemTotal:   1024 kB\nMemFree: 1 kB\nHugePages_Total:  3\n");
        assert_eq!(
            (memory.total, memory.free, memory.available),
            (1 << 20, 1024, 0)
        );
    }

    #[test]
    fn this_host_tells_what_every_host_has() {
        let host = host(&["/".into(), "/nowhere".into()]);
        assert!(
            host.memory.total > host.memory.free && host.cpus > 0,
            "{host:?}"
        );
        assert_eq!(host.boot_id.len(), 36);
        let directories: Vec<&str> = host.disks.keys().map(String::as_str).collect();
        assert_eq!(directories, ["/"]);
    }
}
