//! snf-ganeti-hook on a node whose agent is there, not there, deaf or overrun: it succeeds, says nothing, and is quick.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use system_tests::host::Host;
use system_tests::world::in_world;

const SOCKET: &str = "/run/snf-agent/agent.sock";
const RUNS: usize = 15;
/// What a hook may take.
const BOUND: Duration = Duration::from_millis(50);

/// Environments from the ordinary to the hostile.
fn environments() -> Vec<(&'static str, Vec<(OsString, OsString)>)> {
    let recorded = include_str!("../../agent/tests/hooks/instance-modify-post.env");
    let ordinary = recorded
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let odd = OsString::from_vec(b"\xff\xfe\n\x1b[2J".to_vec());
    let huge = |n: u32| (format!("GANETI_{n}").into(), "x".repeat(100_000).into());
    vec![
        ("ordinary", ordinary),
        ("none", Vec::new()),
        (
            "not text",
            vec![
                ("GANETI_HOOKS_PATH".into(), odd.clone()),
                (odd.clone(), odd),
            ],
        ),
        ("huge", (0..15).map(huge).collect()),
    ]
}

/// Runs the hook several times with each environment; every run succeeds and is silent, and the quickest is in time: the others
/// show how busy the machine is.
#[expect(clippy::print_stdout, reason = "the figures are for people")]
fn quick_and_silent(host: &Host, scene: &str) -> Result<()> {
    for (name, environment) in environments() {
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let mut command = host.program("snf-ganeti-hook");
            command.env_clear().envs(environment.iter().cloned());
            command.stdin(Stdio::null());
            let began = Instant::now();
            let output = command.output().context("run the hook")?;
            times.push(began.elapsed());
            ensure!(
                output.status.success(),
                "{scene}, {name}: {}",
                output.status
            );
            ensure!(
                output.stdout.is_empty() && output.stderr.is_empty(),
                "{scene}, {name}: said {output:?}"
            );
        }
        let (quickest, slowest) = (times.iter().min(), times.iter().max());
        println!("{scene}, {name}: {quickest:?} to {slowest:?}");
        ensure!(quickest < Some(&BOUND), "{scene}, {name}: {times:?}");
    }
    Ok(())
}

fn node(world: &system_tests::world::World) -> Result<Host> {
    let host = Host::new(world, "node")?;
    fs::create_dir_all(host.namespace.path("/run/snf-agent"))?;
    Ok(host)
}

#[test]
fn without_an_agent() {
    in_world(&[], |world| {
        let host = node(world)?;
        quick_and_silent(&host, "no socket")?;
        let path = host.namespace.path(SOCKET);
        drop(UnixListener::bind(&path)?);
        quick_and_silent(&host, "nobody listens")?;
        fs::remove_file(&path)?;
        fs::write(&path, "")?;
        quick_and_silent(&host, "no socket but a file")
    });
}

#[test]
fn with_an_agent_that_never_reads() {
    in_world(&[], |world| {
        let host = node(world)?;
        let _deaf = UnixListener::bind(host.namespace.path(SOCKET))?;
        quick_and_silent(&host, "never reads")
    });
}

#[test]
fn with_a_full_backlog() {
    in_world(&[], |world| {
        let host = node(world)?;
        let path = host.namespace.path(SOCKET);
        let address = UnixAddr::new(&path)?;
        let flags = SockFlag::SOCK_NONBLOCK;
        let open = || socket(AddressFamily::Unix, SockType::Stream, flags, None);
        let overrun = open()?;
        bind(overrun.as_raw_fd(), &address)?;
        listen(&overrun, Backlog::new(1)?)?;
        let mut waiting: Vec<OwnedFd> = Vec::new();
        loop {
            let one = open()?;
            match connect(one.as_raw_fd(), &address) {
                Ok(()) => waiting.push(one),
                Err(nix::errno::Errno::EAGAIN) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        ensure!(!waiting.is_empty());
        quick_and_silent(&host, "full backlog")
    });
}

/// What is in the kernel's buffer when the hook ends is there for an agent that accepts later.
#[test]
fn an_agent_that_accepts_late_gets_it_whole() {
    in_world(&[], |world| {
        let host = node(world)?;
        let listener = UnixListener::bind(host.namespace.path(SOCKET))?;
        let mut command = host.program("snf-ganeti-hook");
        command
            .env_clear()
            .env("GANETI_INSTANCE_NAME", "web.example.org");
        ensure!(command.status()?.success());
        let (mut stream, _): (UnixStream, _) = listener.accept()?;
        let mut message = String::new();
        std::io::Read::read_to_string(&mut stream, &mut message)?;
        ensure!(
            message == "snf-hook 1 37\nGANETI_INSTANCE_NAME=web.example.org\0",
            "{message:?}"
        );
        Ok(())
    });
}
