//! A real guest: QEMU with a Debian kernel and a small user space that does what an ordinary VM does, DHCPv4 and SLAAC,
//! and says on its serial console what it got.
//!
//! The kernel (`linux-image-cloud-amd64`) and the static busybox are fetched as Debian packages and only unpacked, into
//! `target/guest`; the initramfs is written here, byte by byte.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nfdhcpd_binding::MacAddr;

use crate::frame::Frame;
use crate::namespace::Namespace;
use crate::pcap;
use crate::program::Program;
use crate::tap::Tap;
use crate::world;

mod initramfs;

const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
const BUSYBOX_PACKAGE: &str = "busybox-static";
const QEMU: &str = "qemu-system-x86_64";

/// In the order they depend on each other.
const MODULES: [&str; 10] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/input/evdev",
    "drivers/acpi/button",
];

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's emulation.
    Tcg,
}

impl Accelerator {
    /// Chooses: KVM only if a guest has been seen to boot with it. That `/dev/kvm` opens proves nothing: a nested KVM
    /// may hang in the kernel's decompressor. Call it inside a world.
    ///
    /// # Errors
    /// When QEMU cannot be started at all.
    pub fn probe(namespace: &Namespace) -> Result<Self> {
        let module = ["kvm_intel", "kvm_amd"];
        let hardware = module
            .iter()
            .any(|name| Path::new("/sys/module").join(name).exists());
        if !hardware || !Path::new("/dev/kvm").exists() {
            return Ok(Self::Tcg);
        }
        let trial = Program::start("kvm-probe", qemu(namespace, Self::Kvm))?;
        match trial.says("GUEST up", Duration::from_secs(5)) {
            Ok(_) => Ok(Self::Kvm),
            Err(_) => Ok(Self::Tcg),
        }
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "emulation (TCG)",
        }
    }
}

/// A running guest. Dropping it ends QEMU.
#[derive(Debug)]
pub struct Guest {
    /// QEMU; its output is the guest's serial console.
    pub qemu: Program,
    namespace: Namespace,
    mac: MacAddr,
    record: String,
}

impl Guest {
    /// Boots the Linux guest with one virtio card on `tap`, whose far side is handed to QEMU as Ganeti does.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn boot(
        namespace: &Namespace,
        name: &str,
        accelerator: Accelerator,
        tap: Tap,
        mac: MacAddr,
    ) -> Result<Self> {
        let command = qemu(namespace, accelerator);
        Self::start(namespace, name, command, tap, mac, ",romfile=")
    }

    /// Starts a machine without a disk or kernel: the card's network boot ROM runs.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn boot_from_network(
        namespace: &Namespace,
        name: &str,
        tap: Tap,
        mac: MacAddr,
    ) -> Result<Self> {
        let mut command = machine(namespace, Accelerator::Tcg);
        command.args(["-m", "96", "-boot", "n"]);
        Self::start(namespace, name, command, tap, mac, "")
    }

    fn start(
        namespace: &Namespace,
        name: &str,
        mut command: Command,
        tap: Tap,
        mac: MacAddr,
        rom: &str,
    ) -> Result<Self> {
        let record = format!("/tmp/{name}.pcap");
        command.args([
            "-netdev",
            &format!("tap,id=nic0,fd={}", tap.file().as_raw_fd()),
        ]);
        command.args([
            "-device",
            &format!("virtio-net-pci,netdev=nic0,mac={mac}{rom}"),
        ]);
        command.args([
            "-object",
            &format!("filter-dump,id=dump0,netdev=nic0,file={record}"),
        ]);
        hand_over(&mut command, tap);
        let qemu = Program::start(name, command)?;
        Ok(Self {
            qemu,
            namespace: namespace.clone(),
            mac,
            record,
        })
    }

    /// What has passed the guest's card, as QEMU has seen it.
    ///
    /// # Errors
    /// When QEMU's record cannot be read.
    pub fn record(&self) -> Result<Vec<Frame>> {
        let path = self.namespace.path(&self.record);
        let file = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(pcap::frames(&file, self.mac))
    }

    /// The last value the guest has told of a fact; `None` until it has.
    ///
    /// # Errors
    /// When the console's record cannot be read.
    pub fn fact(&self, name: &str) -> Result<Option<String>> {
        Ok(told(&self.qemu.output()?, name))
    }

    /// Waits until the guest tells a fact for which `wanted` holds.
    ///
    /// # Errors
    /// When it does not within `bound`; its console is in the error.
    pub fn tells(
        &self,
        name: &str,
        bound: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        crate::wait::for_fact(&format!("the guest tells {name}"), bound, || {
            Ok(self.fact(name)?.filter(|value| wanted(value)))
        })
        .with_context(|| format!("its console:\n{}", self.qemu.output().unwrap_or_default()))
    }
}

/// The last value a guest has told of a fact on its console; `None` until it has. Facts of a card but the first begin
/// with its name: `eth1_address4`.
#[must_use]
pub fn told(console: &str, name: &str) -> Option<String> {
    // The firmware's escape sequences may stand before the first one.
    let told = console
        .lines()
        .filter_map(|line| Some(line.split_once("GUEST ")?.1));
    told.filter_map(|line| line.split_once(' '))
        .filter(|(fact, _)| *fact == name)
        .map(|(_, value)| value.trim().to_owned())
        .next_back()
}

/// QEMU as every guest of ours has it: no devices but a serial console on its output.
fn machine(namespace: &Namespace, accelerator: Accelerator) -> Command {
    let mut command = namespace.command(QEMU);
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-serial",
        "stdio",
    ]);
    command.args([
        "-no-reboot",
        "-machine",
        "pc,graphics=off,usb=off,vmport=off",
    ]);
    command.args(match accelerator {
        Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
        Accelerator::Tcg => ["-accel", "tcg,thread=single", "-cpu", "qemu64"],
    });
    command
}

fn qemu(namespace: &Namespace, accelerator: Accelerator) -> Command {
    let mut command = machine(namespace, accelerator);
    command.args(["-m", "128", "-append"]);
    command.arg("console=ttyS0 quiet panic=-1 nokaslr mitigations=off random.trust_cpu=on");
    command.arg("-kernel").arg(world::cache().join("vmlinuz"));
    command.arg("-initrd").arg(world::cache().join("initramfs"));
    command
}

/// Gives QEMU the TAP's far side under its own descriptor number.
#[expect(
    unsafe_code,
    reason = "the descriptor is made inheritable between fork and exec"
)]
fn hand_over(command: &mut Command, tap: Tap) {
    // SAFETY: one system call on a descriptor that `tap`, moved into the closure, keeps open.
    unsafe {
        command.pre_exec(move || {
            if libc::fcntl(tap.file().as_raw_fd(), libc::F_SETFD, 0) == -1 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Fetches and builds what [`Guest::boot`] needs, unless it is there. Call it outside of a world: it needs the mirror.
///
/// `say` is told what is being done.
///
/// # Errors
/// When apt cannot fetch the packages, or they lack what a guest needs.
pub fn prepare(mut say: impl FnMut(&str)) -> Result<()> {
    ensure!(
        world::find_tool(QEMU).is_some(),
        "needs {QEMU} (see packaging/setup/packages.txt)"
    );
    let cache = world::cache_outside()?;
    let modules = MODULES
        .iter()
        .filter_map(|module| module.rsplit('/').next());
    let mut parts = modules.map(|module| cache.join(format!("modules/{module}.ko")));
    if !cache.join("vmlinuz").exists() || !parts.all(|part| part.exists()) {
        say(&format!(
            "fetching the guest's kernel ({KERNEL_PACKAGE}) and user space"
        ));
        fetch(&cache)?;
    }
    let image = initramfs::build(&cache)?;
    replace(&cache.join("initramfs"), &image)
}

/// Downloads and unpacks both packages into the cache.
fn fetch(cache: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(cache).context("make a directory to unpack in")?;
    let version = match download(work.path()) {
        Ok(version) => version,
        // The package lists may be older than the mirror.
        Err(_) => {
            tool(work.path(), "apt-get", &["-qq", "update"])?;
            download(work.path())?
        }
    };
    for entry in fs::read_dir(work.path())? {
        let package = entry?.path();
        let package = package.to_string_lossy();
        tool(work.path(), "dpkg-deb", &["-x", &package, "unpacked"])?;
    }
    let unpacked = work.path().join("unpacked");
    let built = work.path().join("modules");
    fs::create_dir(&built)?;
    for module in MODULES {
        let from = find_module(&unpacked, &version, module)?;
        let name = Path::new(module)
            .file_name()
            .context("a module has a name")?;
        fs::copy(&from, built.join(name).with_extension("ko"))
            .with_context(|| format!("copy {}", from.display()))?;
    }
    let busybox = ["bin/busybox", "usr/bin/busybox"].map(|place| unpacked.join(place));
    let busybox = busybox
        .iter()
        .find(|place| place.exists())
        .context("busybox is unpacked")?;
    fs::copy(busybox, built.join("busybox"))?;
    let _ = fs::remove_dir_all(cache.join("modules"));
    fs::rename(&built, cache.join("modules")).context("keep the modules")?;
    let kernel = unpacked.join("boot").join(format!("vmlinuz-{version}"));
    fs::rename(&kernel, cache.join("vmlinuz")).context("keep the kernel")
}

/// Downloads both packages and says the kernel's version.
fn download(directory: &Path) -> Result<String> {
    let depends = tool(directory, "apt-cache", &["depends", KERNEL_PACKAGE])?;
    let kernel = depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("apt knows no {KERNEL_PACKAGE}: is there a Debian mirror?"))?;
    tool(
        directory,
        "apt-get",
        &["-qq", "download", kernel, BUSYBOX_PACKAGE],
    )?;
    Ok(kernel.trim_start_matches("linux-image-").to_owned())
}

fn find_module(unpacked: &Path, version: &str, module: &str) -> Result<PathBuf> {
    for root in ["lib/modules", "usr/lib/modules"] {
        let path = unpacked
            .join(root)
            .join(version)
            .join("kernel")
            .join(format!("{module}.ko"));
        if path.exists() {
            return Ok(path);
        }
    }
    bail!("{KERNEL_PACKAGE} has no {module}.ko")
}

fn tool(directory: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .with_context(|| format!("start {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} {}: {errors}",
        arguments.join(" ")
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes a file that others may be reading: beside it, then renamed over it.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().context("a file has a directory")?;
    let file = tempfile::NamedTempFile::new_in(directory).context("make a file")?;
    fs::write(file.path(), bytes).with_context(|| format!("write {}", path.display()))?;
    file.persist(path)
        .with_context(|| format!("replace {}", path.display()))?;
    Ok(())
}
