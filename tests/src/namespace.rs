//! A network with private `/etc`, `/run`, `/var/lib` and `/tmp`: what a host, a client or a router lives in.
//!
//! It has no name in the file system; it lives as long as the [`Namespace`] that holds it or a process inside.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;

use crate::{program, world};

/// The directories a namespace has to itself, and where they are in its part of the world's tmpfs.
const PRIVATE: [(&str, &str); 3] = [("/run", "run"), ("/var/lib", "var-lib"), ("/tmp", "tmp")];

static MADE: AtomicU32 = AtomicU32::new(0);

/// The namespaces each [`Namespace`] has of its own.
pub(crate) const PRIVATE_KINDS: CloneFlags = CloneFlags::CLONE_NEWNET
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWUTS);

/// A network, with files and a host name of its own.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: String,
    root: PathBuf,
    net: Arc<File>,
    kinds: Arc<[(CloneFlags, File)]>,
}

impl Namespace {
    /// Makes one; `name` is only for its directory and for messages.
    ///
    /// # Errors
    /// When the kernel refuses a namespace or a mount.
    pub fn new(name: &str) -> Result<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let root = world::namespaces().join(format!("{number}-{name}"));
        let owned = root.clone();
        let (net, kinds) = thread::spawn(move || {
            unshare(PRIVATE_KINDS).context("unshare")?;
            make_private(&owned)?;
            let open = |kind| {
                let path = format!("/proc/thread-self/ns/{kind}");
                File::open(&path).context(path)
            };
            let kinds = [
                (CloneFlags::CLONE_NEWNET, open("net")?),
                (CloneFlags::CLONE_NEWUTS, open("uts")?),
                (CloneFlags::CLONE_NEWNS, open("mnt")?),
            ];
            anyhow::Ok((open("net")?, kinds))
        })
        .join()
        .map_err(|_| anyhow::anyhow!("the thread that makes namespace {name} panicked"))?
        .with_context(|| format!("make namespace {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            root,
            net: Arc::new(net),
            kinds: Arc::from(kinds),
        })
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        let place = program.to_str().and_then(world::find_tool);
        let mut command = Command::new(place.as_deref().unwrap_or(program));
        enter(&mut command, Arc::clone(&self.kinds));
        command
    }

    /// Runs a command inside to its end and returns what it printed.
    ///
    /// # Errors
    /// When it cannot be started or fails; its output is in the error.
    pub fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<String> {
        let program = program.as_ref();
        let shown = format!(
            "{}: {} {}",
            self.name,
            program.display(),
            arguments.join(" ")
        );
        let mut command = self.command(program);
        command.args(arguments);
        program::printed(command, &shown)
    }

    /// Runs `ip` with the words of `arguments`.
    ///
    /// # Errors
    /// As [`Namespace::run`].
    pub fn ip(&self, arguments: &str) -> Result<String> {
        self.run("ip", &arguments.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs `ip -j` and reads its answer.
    ///
    /// # Errors
    /// As [`Namespace::run`], or when the answer is not JSON.
    pub fn ip_json(&self, arguments: &str) -> Result<Vec<Value>> {
        let text = self.ip(&format!("-j {arguments}"))?;
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_str(&text).with_context(|| format!("read the answer of ip -j {arguments}"))
    }

    /// The addresses of `device` that may be used (not tentative), with their prefix lengths.
    ///
    /// # Errors
    /// As [`Namespace::ip_json`].
    pub fn addresses(&self, device: &str) -> Result<Vec<(IpAddr, u8)>> {
        let links = self.ip_json(&format!("addr show dev {device}"))?;
        let mut found = Vec::new();
        for entry in links
            .iter()
            .filter_map(|link| link.get("addr_info")?.as_array())
            .flatten()
        {
            let local = entry.get("local").and_then(Value::as_str);
            let length = entry.get("prefixlen").and_then(Value::as_u64);
            if entry.get("tentative").is_some() {
                continue;
            }
            if let (Some(local), Some(length)) = (local, length) {
                found.push((local.parse()?, u8::try_from(length)?));
            }
        }
        Ok(found)
    }

    /// Runs `action` on a thread inside the network namespace: sockets it opens belong there.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or what `action` returns.
    pub fn inside<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        inside_network(&self.net, &self.name, action)
    }

    /// Sets a kernel parameter of the network, as `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// When there is no such parameter or the value is refused.
    pub fn sysctl(&self, parameter: &str, value: &str) -> Result<()> {
        self.inside(|| {
            let path = Path::new("/proc/sys").join(parameter);
            fs::write(&path, value).with_context(|| format!("write {value} to {}", path.display()))
        })
    }

    /// Where a file of `/run`, `/var/lib`, `/tmp` or `/etc` of this namespace is as seen from outside of it.
    ///
    /// For `/etc` that is the overlay's upper part: what was written inside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PRIVATE
            .iter()
            .chain(&[("/etc", "etc-upper")])
            .find_map(|(place, own)| {
                Some(
                    self.root
                        .join(own)
                        .join(inside.strip_prefix(place)?.trim_start_matches('/')),
                )
            })
            .unwrap_or_else(|| PathBuf::from(inside))
    }

    /// Reads a file of this namespace; nothing if it does not exist.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub fn read(&self, inside: &str) -> Result<String> {
        let path = self.path(inside);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Writes a file of this namespace, making its directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, inside: &str, text: &str) -> Result<()> {
        // By a process inside: what is under an overlay must not be changed behind its back.
        let mut child = self
            .command("sh")
            .args([
                "-c",
                "mkdir -p \"$(dirname \"$0\")\" && cat > \"$0\"",
                inside,
            ])
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("write {inside}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        if !child.wait()?.success() {
            bail!("{}: writing {inside} failed", self.name);
        }
        Ok(())
    }
}

/// Runs `action` on a thread inside a network namespace; `name` is for messages.
pub(crate) fn inside_network<T: Send>(
    net: &File,
    name: &str,
    action: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                setns(net.as_fd(), CloneFlags::CLONE_NEWNET).context("enter network")?;
                action()
            })
            .join()
            .map_err(|_| anyhow::anyhow!("the thread in namespace {name} panicked"))?
    })
}

#[expect(unsafe_code, reason = "a namespace is entered between fork and exec")]
fn enter(command: &mut Command, kinds: Arc<[(CloneFlags, File)]>) {
    // SAFETY: only system calls; the child has one thread.
    unsafe {
        command.pre_exec(move || {
            for (kind, file) in kinds.iter() {
                setns(file.as_fd(), *kind).map_err(io::Error::from)?;
            }
            Ok(())
        });
    }
}

/// Gives the calling thread's new namespaces a network that is up and directories of their own.
pub(crate) fn make_private(root: &Path) -> Result<()> {
    let none: Option<&str> = None;
    // First of all: with br_netfilter on, bridged packets would reach IP hooks even where a rule of ours is missing.
    for family in ["ip", "ip6", "arp"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}tables");
        if Path::new(&path).exists() {
            fs::write(&path, "0").with_context(|| format!("write {path}"))?;
        }
    }
    // Clients take the name they are given only where there is none yet.
    fs::write("/proc/sys/kernel/hostname", "localhost").context("set the host name")?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("private mounts")?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).context("mount /sys")?;
    for (place, own) in PRIVATE {
        let own = root.join(own);
        fs::create_dir_all(&own).with_context(|| format!("create {}", own.display()))?;
        mount(Some(&own), place, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("mount {place}"))?;
    }
    let (upper, work) = (root.join("etc-upper"), root.join("etc-work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    fs::write(upper.join("resolv.conf"), "")?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        world::pristine_etc().display(),
        upper.display(),
        work.display()
    );
    mount(
        Some("etc"),
        "/etc",
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .context("mount an overlay on /etc")?;
    let output = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .output()
        .context("run ip")?;
    if !output.status.success() {
        bail!(
            "ip link set lo up: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
