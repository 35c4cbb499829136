//! snf-progress-monitor on a node whose agent is away or deaf: the image copy goes on, ends as it would, and is ended as it would.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use system_tests::host::Host;
use system_tests::program::Program;
use system_tests::wait::{self, SOON};
use system_tests::world::in_world;

const SOCKET: &str = "/run/snf-agent/agent.sock";

fn monitor(host: &Host, words: &[&str]) -> Command {
    let mut command = host.program("snf-progress-monitor");
    command.args(words);
    command
}

#[test]
fn a_command_ends_as_it_would_whoever_listens() {
    in_world(&[], |world| {
        let host = Host::new(world, "node")?;
        let copy = |script: &str| {
            monitor(
                &host,
                &["-i", "snf-1", "-r", "10", "-w", "20", "sh", "-c", script],
            )
            .output()
        };
        let done = copy("echo out; echo err >&2; cat /dev/null")?;
        ensure!(done.status.success(), "{done:?}");
        ensure!(done.stdout == b"out\n", "{done:?}");
        let said = String::from_utf8(done.stderr)?;
        ensure!(said.contains("err\n"), "{said}");
        ensure!(
            said.contains("\"rprogress\":100.0") && said.contains("\"wprogress\":100.0"),
            "{said}"
        );
        for (script, why) in [("exit 3", "exit status: 3"), ("kill -9 $$", "signal: 9")] {
            let failed = copy(script)?;
            ensure!(failed.status.code() == Some(1), "{failed:?}");
            let said = String::from_utf8(failed.stderr)?;
            ensure!(said.contains(why) && !said.contains("progress\""), "{said}");
        }
        let missing = monitor(&host, &["-i", "snf-1", "-r", "1", "/nowhere"]).output()?;
        ensure!(missing.status.code() == Some(1), "{missing:?}");
        for wrong in [
            &["-i", "snf-1", "true"][..],
            &["-i", "snf-1", "-r", "1"],
            &["-i", "snf-1", "-r", "0", "true"],
            &["-r", "1", "true"],
            &["snf-1", "snf-2"],
            &[],
        ] {
            let refused = monitor(&host, wrong).stdin(Stdio::null()).output()?;
            ensure!(refused.status.code() == Some(64), "{wrong:?}: {refused:?}");
        }
        Ok(())
    });
}

/// The command's own words are its own, though they look like ours.
#[test]
fn a_command_gets_its_arguments_and_our_signals() {
    in_world(&[], |world| {
        let host = Host::new(world, "node")?;
        let echo = monitor(
            &host,
            &[
                "-i",
                "snf-1",
                "-r",
                "1",
                "echo",
                "-i",
                "-r",
                "x",
                "--version",
            ],
        )
        .output()?;
        ensure!(echo.stdout == b"-i -r x --version\n", "{echo:?}");
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ] {
            let script = "trap 'echo got; exit 0' TERM INT HUP QUIT; echo ready; while :; do sleep 0.1; done";
            let command = monitor(&host, &["-i", "snf-1", "-w", "1", "sh", "-c", script]);
            let mut program = Program::start("monitor", command)?;
            program.says("ready", SOON)?;
            program.signal(signal)?;
            // What the command makes of it is its own matter.
            let said = program.success(SOON)?;
            ensure!(said.contains("got\n"), "{signal}: {said}");
        }
        // Killed, it cannot pass anything on: the kernel tells the command.
        let script = "echo pid $$; trap 'echo hung up > /tmp/hung-up; exit 0' HUP; while :; do sleep 0.1; done";
        let command = monitor(&host, &["-i", "snf-1", "-w", "1", "sh", "-c", script]);
        let mut program = Program::start("monitor", command)?;
        program.says("pid", SOON)?;
        program.signal(Signal::SIGKILL)?;
        program.wait(SOON)?;
        wait::until("the command hears of it", SOON, || {
            Ok(host.namespace.read("/tmp/hung-up")? == "hung up\n")
        })
    });
}

/// Thousands of messages to an agent that never reads take seconds, not minutes.
#[test]
fn a_deaf_agent_holds_nobody_up() {
    in_world(&[], |world| {
        let host = Host::new(world, "node")?;
        fs::create_dir_all(host.namespace.path("/run/snf-agent"))?;
        let _deaf = UnixListener::bind(host.namespace.path(SOCKET))?;
        let lines: String = (0..20_000)
            .map(|n| format!("{{\"type\":\"image-info\",\"messages\":{n}}}\n"))
            .collect();
        let began = Instant::now();
        let mut child = monitor(&host, &["snf-1"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        child
            .stdin
            .take()
            .context("a pipe")?
            .write_all(lines.as_bytes())?;
        ensure!(child.wait()?.success());
        // At 10 ms each it would be 200 s.
        ensure!(
            began.elapsed() < Duration::from_secs(60),
            "{:?}",
            began.elapsed()
        );
        Ok(())
    });
}

#[test]
fn the_end_of_stdin_is_a_success_whatever_came() {
    in_world(&[], |world| {
        let host = Host::new(world, "node")?;
        for stdin in [&b""[..], b"\xff", b"{", b"{\"type\":\"image-info\"}"] {
            let mut child = monitor(&host, &["snf-1"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            child.stdin.take().context("a pipe")?.write_all(stdin)?;
            let output = child.wait_with_output()?;
            ensure!(output.status.success(), "{stdin:?}: {output:?}");
        }
        Ok(())
    });
}
