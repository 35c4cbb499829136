//! What periodic router advertisements cost, against canned frames sent in one system call.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::bench::command::{Arguments, Progress};
use crate::bench::cpu::on_cpu;
use crate::bench::frames::ndp;
use crate::bench::generator::Generator;
use crate::bench::lab::{Attachment, Lab};
use crate::bench::report::{Bound, Faults, Section, Target, number, spread};
use crate::bench::server::{SERVER_CPU, Server};
use crate::bench::stats::{Spread, micros};
use crate::world::{self, World};

/// As often as RFC 4861 §6.2.1 allows.
const CONFIGURATION: &str = "user = \"nobody\"\n[ra]\nmax_interval = 4\n";
/// How long advertisements are counted, and waited for.
const WINDOW: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(60);

/// See the module.
///
/// # Errors
/// When a device or nfdhcpd cannot be had, or no advertisement comes.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let taps = arguments.scaled(1000);
    progress.say(&format!("advertise: {taps} TAPs"));
    let lab = Lab::new(world, "advertise", Attachment::Bridged, taps)?;
    lab.bind_all(0)?;
    let nfdhcpd = Server::nfdhcpd(&lab, CONFIGURATION)?;
    // The first advertisements come with the bindings; the periodic ones follow.
    ensure!(
        listen(&lab, LIMIT, 1)? > 0,
        "no router advertisement; {}",
        nfdhcpd.output()
    );
    let rounds = arguments.rounds().min(3);
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress.say(&format!("advertise: round {round}"));
        listen(&lab, Duration::ZERO, 0)?;
        let before = nfdhcpd.cpu()?;
        let count = listen(&lab, WINDOW, 0)?;
        let cpu = nfdhcpd.cpu()? - before;
        ensure!(count > 0, "no periodic router advertisement in {WINDOW:?}");
        ours.push(micros(cpu.run) / micros(count * 1000));
        let tries = (0..5)
            .map(|_| Ok(micros(canned(&lab)?)))
            .collect::<Result<Vec<_>>>()?;
        let once = Spread::of(tries).context("a try")?.median;
        floor.push(once / micros(taps as u64 * 1000));
    }
    let ratio = Spread::of(ours.iter().zip(&floor).map(|(ours, floor)| ours / floor));
    let ratio = ratio.context("a round")?;
    let row = |name: &str, values: &[f64], ratio: String| {
        let each = Spread::of(values.iter().copied()).map_or(f64::NAN, |spread| spread.median);
        vec![name.to_owned(), number(each), ratio]
    };
    Ok(vec![Section {
        name: "advertise",
        title: format!(
            "Periodic router advertisements to {taps} TAPs, 3 to 4 s apart: all CPU nfdhcpd uses while they are \
             counted, against one sendmmsg of {taps} canned advertisements (median of five)."
        ),
        columns: vec!["Sender", "CPU ms per 1,000 advertisements", "ratio"],
        rows: vec![
            row("one sendmmsg, canned", &floor, String::new()),
            row("nfdhcpd", &ours, spread(ratio)),
        ],
        targets: vec![Target::new(
            "CPU of 1,000 periodic router advertisements",
            Bound::AtMost(2.0),
            "× one sendmmsg's",
            ratio,
        )],
        faults: Faults::default(),
        figures: json!({ "nfdhcpd": ours, "floor": floor }),
    }])
}

/// Reads all TAPs for `window`, or until `enough` advertisements have come when that is not 0.
fn listen(lab: &Lab, window: Duration, enough: u64) -> Result<u64> {
    let end = Instant::now() + window;
    let mut count = 0;
    loop {
        for tap in &lab.taps {
            count += Generator::count(tap, |frame| ndp::read_router(frame).is_some())?;
        }
        if Instant::now() >= end || (enough > 0 && count >= enough) {
            return Ok(count);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Nanoseconds of CPU for one canned advertisement to each TAP.
fn canned(lab: &Lab) -> Result<u64> {
    let own = std::env::current_exe().context("find the program itself")?;
    let name = own.file_name().context("the program has a name")?;
    let mut command = lab.host.namespace.command(world::programs().join(name));
    command
        .arg("be-the-advertiser")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = on_cpu(SERVER_CPU, || Ok(command.spawn()?))?;
    let mut stdin = child.stdin.take().context("its stdin")?;
    for index in lab.indices()? {
        writeln!(stdin, "{index}")?;
    }
    drop(stdin);
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .with_context(|| format!("nanoseconds: {text:?}"))
}
