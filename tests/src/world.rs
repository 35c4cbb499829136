//! A world: the network, mount, host name and pid namespaces one test or the demo lives in.
//!
//! The caller's program is started a second time as init of a new pid namespace. The kernel kills that init when the
//! process that made it dies, and everything inside when init dies: Ctrl-C, a panic and `kill -9` leave nothing. No
//! namespace has a name, all mounts are private, all devices are in namespaces that vanish with their last process.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::{env, io, thread};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::namespace::{self, Namespace};

/// Set in the environment of a world's init: the directory the programs under test are in.
const INSIDE: &str = "SNF_WORLD_PROGRAMS";
/// Where the world keeps what is its own: a tmpfs.
const OWN: &str = "/mnt";
/// A test that is not through after this many seconds is killed.
const LIMIT_SECONDS: u32 = 240;

/// What a test has around it once it runs inside.
#[derive(Debug)]
pub struct World {
    _private: (),
}

impl World {
    /// A namespace of its own: network, `/etc`, `/run`, `/var/lib`, `/tmp`.
    ///
    /// # Errors
    /// When the kernel refuses a namespace or a mount.
    pub fn namespace(&self, name: &str) -> Result<Namespace> {
        Namespace::new(name)
    }
}

/// Where the programs under test are, inside a world.
#[must_use]
pub fn programs() -> PathBuf {
    Path::new(OWN).join("programs")
}

/// Where cached files outside the tree's sources are, inside a world: `target/guest`.
#[must_use]
pub fn cache() -> PathBuf {
    Path::new(OWN).join("cache")
}

/// Where cached files are for a program that is not in a world: `target/guest`.
///
/// # Errors
/// When the directory cannot be made.
pub fn cache_outside() -> Result<PathBuf> {
    cache_beside(&programs_outside()?)
}

fn cache_beside(programs: &Path) -> Result<PathBuf> {
    let cache = programs
        .parent()
        .context("target has a parent")?
        .join("guest");
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    Ok(cache)
}

/// Whether this program runs as a world's init.
#[must_use]
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Where the output of the programs started in a world goes.
#[must_use]
pub fn logs() -> PathBuf {
    Path::new(OWN).join("log")
}

/// The root under which each namespace keeps its private directories.
pub(crate) fn namespaces() -> PathBuf {
    Path::new(OWN).join("ns")
}

/// The host's `/etc`, as it was before any overlay.
pub(crate) fn pristine_etc() -> PathBuf {
    Path::new(OWN).join("etc")
}

/// Runs the calling test's `body` in a world of its own; call it as the only statement of a `#[test]`.
///
/// Without root or one of the tools in `needs` the test says what is missing and passes, or fails when `CI=true`.
///
/// # Panics
/// When the body fails: that is the test's failure.
#[expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how a test fails and speaks"
)]
pub fn in_world(needs: &[&str], body: impl FnOnce(&World) -> Result<()>) {
    if is_inside() {
        let outcome = enter().and_then(|world| body(&world));
        if let Err(error) = outcome {
            print_logs();
            panic!("{error:#}");
        }
        return;
    }
    if !can_run(needs) {
        return;
    }
    let current = thread::current();
    let Some(name) = current.name() else {
        panic!("a test's thread has the test's name")
    };
    match again(&[
        name.as_ref(),
        "--exact".as_ref(),
        "--nocapture".as_ref(),
        "--include-ignored".as_ref(),
    ]) {
        Ok(output) => {
            println!("{}", String::from_utf8_lossy(&output.stdout));
            println!("{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{name}: {}", output.status);
        }
        Err(error) => panic!("{error:#}"),
    }
}

/// Whether a test that needs root and `needs` can run, with the programs under test built; if not, says what is missing.
///
/// # Panics
/// With `CI=true`, when something is missing; always, when the programs cannot be built.
#[expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how a test fails and speaks"
)]
#[must_use]
pub fn can_run(needs: &[&str]) -> bool {
    if let Some(missing) = missing(needs) {
        assert!(
            env::var("CI").as_deref() != Ok("true"),
            "cannot run: {missing}"
        );
        println!("skipped: {missing}");
        return false;
    }
    match build_programs() {
        Ok(()) => true,
        Err(error) => panic!("{error}"),
    }
}

/// Runs the calling program again, with the same arguments, as init of a new world, unless it is already inside.
///
/// `None` outside, once the program inside has ended well.
///
/// # Errors
/// When the world cannot be made, or the program inside failed.
pub fn enter_program() -> Result<Option<World>> {
    if is_inside() {
        return enter().map(Some);
    }
    if let Some(missing) = missing(&[]) {
        bail!("{missing}");
    }
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let arguments: Vec<&OsStr> = arguments.iter().map(AsRef::as_ref).collect();
    // Whoever started a program watches it.
    let status = init_command(&arguments, 0)?
        .status()
        .context("start again inside a world")?;
    std::process::exit(status.code().unwrap_or(1));
}

/// What keeps a test from running, if anything.
fn missing(needs: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root, to make namespaces and TAPs".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("needs /dev/net/tun".to_owned());
    }
    needs.iter().chain(&["ip"]).find_map(|tool| {
        find_tool(tool)
            .is_none()
            .then(|| format!("needs {tool} (see packaging/setup/packages.txt)"))
    })
}

/// Where a tool is: by absolute path, or in the directories root's tools are in.
#[must_use]
pub fn find_tool(tool: &str) -> Option<PathBuf> {
    [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
        "/lib/systemd",
    ]
    .iter()
    .map(|directory| Path::new(directory).join(tool))
    .find(|path| path.exists())
}

fn again(arguments: &[&OsStr]) -> Result<Output> {
    init_command(arguments, LIMIT_SECONDS)?
        .stdin(Stdio::null())
        .output()
        .context("start again inside a world")
}

/// The command that starts this program again as init of new namespaces, killed after `limit` seconds unless that is 0.
fn init_command(arguments: &[&OsStr], limit: u32) -> Result<Command> {
    let programs = programs_outside()?;
    let mut command = Command::new(env::current_exe().context("find the program itself")?);
    command.args(arguments).env(INSIDE, programs);
    enter_as_init(&mut command, limit);
    Ok(command)
}

#[expect(
    unsafe_code,
    reason = "namespaces have to be entered between fork and exec"
)]
fn enter_as_init(command: &mut Command, limit: u32) {
    // SAFETY: `become_init` only makes system calls; the child has one thread.
    unsafe {
        command.pre_exec(move || become_init(limit));
    }
}

/// Between fork and exec: unshares, forks once more, and goes on in the child, which is init of the pid namespace. The
/// parent stays as the one whose death kills init, and passes on its exit status.
#[expect(
    unsafe_code,
    reason = "fork, prctl, alarm and waitpid between fork and exec"
)]
fn become_init(limit: u32) -> io::Result<()> {
    unshare(namespace::PRIVATE_KINDS | CloneFlags::CLONE_NEWPID)?;
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let (alive, keep) = nix::unistd::pipe()?;
    // SAFETY: the calling process has one thread; both sides only make system calls.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(keep);
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            let mut ends = [libc::pollfd {
                fd: alive.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            }];
            // SAFETY: one valid pollfd.
            let closed = unsafe { libc::poll(ends.as_mut_ptr(), 1, 0) };
            if closed != 0 {
                return Err(io::ErrorKind::BrokenPipe.into()); // the parent died before we asked for its signal
            }
            Ok(())
        }
        init => {
            // SAFETY: system calls with valid arguments; `keep` stays open, as the first descriptor after stderr.
            unsafe {
                libc::dup2(keep.as_raw_fd(), 3);
                libc::syscall(libc::SYS_close_range, 4, u32::MAX, 0);
                libc::alarm(limit);
                let mut status = 0;
                while libc::waitpid(init, &raw mut status, 0) == -1 {}
                libc::_exit(if libc::WIFEXITED(status) {
                    libc::WEXITSTATUS(status)
                } else {
                    1
                })
            }
        }
    }
}

/// The directory this program and, beside it, nfdhcpd and snf-ifup are in.
pub(crate) fn programs_outside() -> Result<PathBuf> {
    let own = env::current_exe().context("find the program itself")?;
    let mut directory = own.parent().context("the program has a directory")?;
    if directory.file_name() == Some("deps".as_ref()) {
        directory = directory.parent().context("deps has a parent")?;
    }
    Ok(directory.to_owned())
}

/// Builds the programs under test when this is `cargo test`: it builds none but the tested package's own. The whole
/// workspace, because any smaller choice has dependencies of other features, which would be built once more.
fn build_programs() -> Result<(), String> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let build = || {
        let Some(cargo) = env::var_os("CARGO") else {
            return Ok(());
        };
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--workspace", "--bins"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        if programs_outside()?.file_name() == Some("release".as_ref()) {
            build.arg("--release");
        }
        let output = build.output().context("start cargo build")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "cargo build of the programs under test failed:\n{said}"
        );
        Ok(())
    };
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
}

/// Makes the world private, as its init.
fn enter() -> Result<World> {
    let programs = env::var_os(INSIDE).context("the world's environment")?;
    let cache = cache_beside(Path::new(&programs))?;
    let kept = [
        (open_directory(Path::new(&programs))?, self::programs()),
        (open_directory(&cache)?, self::cache()),
        (open_directory(Path::new("/etc"))?, pristine_etc()),
    ];
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("make mounts private")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).context("mount /proc")?;
    mount(
        Some("world"),
        OWN,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
    .context("mount the world's tmpfs")?;
    for (directory, place) in &kept {
        fs::create_dir(place)?;
        let source = format!("/proc/self/fd/{}", directory.as_raw_fd());
        mount(Some(source.as_str()), place, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("bind {}", place.display()))?;
    }
    fs::create_dir(logs())?;
    fs::create_dir(namespaces())?;
    namespace::make_private(&namespaces().join("init"))
        .context("make the world's own network private")?;
    Ok(World { _private: () })
}

fn open_directory(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

/// What the programs of a failed test said.
fn print_logs() {
    let Ok(entries) = fs::read_dir(logs()) else {
        return;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut out = io::stdout().lock();
    for path in paths {
        let text = fs::read(&path).unwrap_or_default();
        // Nothing is left to do when the test's output is gone.
        let _ = writeln!(
            out,
            "--- {}\n{}",
            path.display(),
            String::from_utf8_lossy(&text)
        );
    }
}
