//! The guest's user space, as a cpio archive in "newc" form (Linux, `Documentation/driver-api/early-userspace`).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::MODULES;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

/// The commands the scripts use.
const COMMANDS: [&str; 15] = [
    "acpid", "sh", "mount", "insmod", "ip", "udhcpc", "cut", "cat", "echo", "sleep", "hostname",
    "awk", "tr", "test", "poweroff",
];

/// What busybox's acpid runs when the power button is pressed.
const POWER_BUTTON: &str = "etc/acpi/PWRF/00000080";
const POWER_OFF: &str = "#!/bin/sh\necho GUEST poweroff now > /dev/console\npoweroff -f\n";

const INIT: &str = include_str!("init.sh");
const LEASE: &str = include_str!("lease.sh");

/// Builds the archive from the unpacked packages in `cache`.
pub(super) fn build(cache: &Path) -> Result<Vec<u8>> {
    let parts = cache.join("modules");
    let read = |name: &str| {
        let path = parts.join(name);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    };
    let mut archive = Archive::default();
    for directory in [
        "bin",
        "dev",
        "etc",
        "etc/acpi",
        "etc/acpi/PWRF",
        "modules",
        "proc",
        "run",
        "sys",
    ] {
        archive.add(directory, DIRECTORY, b"");
    }
    archive.add("bin/busybox", PROGRAM, &read("busybox")?);
    for command in COMMANDS {
        archive.add(&format!("bin/{command}"), LINK, b"busybox");
    }
    let mut order = String::new();
    for module in MODULES {
        let name = module.rsplit('/').next().unwrap_or(module);
        archive.add(
            &format!("modules/{name}.ko"),
            FILE,
            &read(&format!("{name}.ko"))?,
        );
        order.push_str(name);
        order.push('\n');
    }
    archive.add("modules/order", FILE, order.as_bytes());
    archive.add("bin/lease", PROGRAM, LEASE.as_bytes());
    archive.add(POWER_BUTTON, PROGRAM, POWER_OFF.as_bytes());
    archive.add("init", PROGRAM, INIT.as_bytes());
    Ok(archive.finish())
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    files: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.files += 1;
        let links = 1;
        self.entry(self.files, mode, links, name, content);
    }

    fn entry(&mut self, number: u32, mode: u32, links: u32, name: &str, content: &[u8]) {
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        self.bytes.extend(b"070701");
        let fields = [number, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry(0, 0, 1, "TRAILER!!!", b"");
        self.bytes
    }
}
