//! What one look of snf-agent at all TAPs costs when nothing has changed, and what the agent holds.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;

use super::ifup::Node;
use crate::bench::command::{Arguments, Progress};
use crate::bench::cpu::{CpuTime, on_cpu};
use crate::bench::report::{Bound, Faults, Section, Target, number, spread};
use crate::bench::server::SERVER_CPU;
use crate::bench::site::mebibytes;
use crate::bench::stats::{Spread, micros};
use crate::eventd;
use crate::notifications::Notifications;
use crate::program::Program;
use crate::world::World;

/// Time between two looks as delivered, seconds.
const INTERVAL: f64 = 30.0;
const METRICS: &str = "127.0.0.1:9548";
const LOOKS: &str = "snf_agent_rounds_total";
const LIMIT: Duration = Duration::from_secs(120);

/// See the module.
///
/// # Errors
/// When a device cannot be had, or snf-ifup or the agent fail.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let (few, many) = if arguments.quick {
        (2, 10)
    } else {
        (100, 1000)
    };
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    let mut faults = Faults::default();
    for mode in ["bridged", "routed"] {
        for taps in [few, many] {
            progress.say(&format!("look: {taps} {mode} TAPs"));
            let looks = Looks::at(world, mode, taps, arguments)?;
            faults.wrong += looks.unsound;
            rows.push(vec![
                taps.to_string(),
                mode.to_owned(),
                spread(looks.took),
                number(looks.cpu),
                number(looks.cpu / 1e3 / INTERVAL * 100.0),
                number(looks.resident),
                number(looks.anonymous),
            ]);
            if taps == many {
                let found = |value: f64| Spread {
                    median: value,
                    min: value,
                    max: value,
                };
                targets.push(Target::new(
                    format!("snf-agent: a look at {many} {mode} TAPs every 30 s"),
                    Bound::AtMost(1.0),
                    "% of a CPU",
                    found(looks.cpu / 1e3 / INTERVAL * 100.0),
                ));
                targets.push(Target::new(
                    format!("snf-agent: RSS with {many} {mode} TAPs"),
                    Bound::AtMost(16.0),
                    "MiB",
                    found(looks.resident),
                ));
            }
        }
    }
    targets.push(Target::none(
        "looks that do not find all TAPs sound",
        faults.wrong,
    ));
    Ok(vec![Section {
        name: "look",
        title: "One look of snf-agent at all TAPs, as snf-ifup made them; the agent looks again every second here."
            .to_owned(),
        columns: vec![
            "TAPs",
            "attached",
            "a look, ms",
            "CPU ms for a look",
            "% of a CPU, a look every 30 s",
            "RSS MiB",
            "RssAnon MiB",
        ],
        figures: json!(rows),
        rows,
        targets,
        faults,
    }])
}

/// What was found.
struct Looks {
    /// Milliseconds.
    took: Spread,
    cpu: f64,
    resident: f64,
    anonymous: f64,
    unsound: u64,
}

impl Looks {
    fn at(world: &World, mode: &'static str, taps: usize, arguments: &Arguments) -> Result<Self> {
        let node = Node::new(world, mode, taps)?;
        node.runtimes(taps)?;
        let host = &node.host;
        let configuration = format!("interval = 1\nmetrics = \"{METRICS}\"\n");
        host.namespace
            .write("/etc/snf/snf-agent.toml", &configuration)?;
        let notifications = Notifications::listen(&host.namespace)?;
        let mut command = host.program("snf-agent");
        command
            .arg("run")
            .env("NOTIFY_SOCKET", notifications.socket());
        let mut agent = on_cpu(SERVER_CPU, || Program::start("snf-agent", command))?;
        let ready = notifications.line("READY=1", LIMIT);
        ready.with_context(|| agent.output().unwrap_or_default())?;
        let page = || anyhow::Ok(eventd::get(&host.namespace, METRICS, "/metrics", "")?.1);
        let figure = |page: &str, name: &str| -> Result<f64> {
            let line = page.lines().find_map(|line| line.strip_prefix(name));
            let value = line.with_context(|| format!("{name} in {page}"))?;
            Ok(value.trim().parse()?)
        };
        let mut took = Vec::new();
        let first = figure(&page()?, LOOKS)?;
        let before = CpuTime::of(agent.pid())?;
        let mut last = first;
        let rounds = if arguments.quick { 1 } else { 5 };
        while took.len() < rounds {
            // Not sooner: the agent would be busy telling.
            thread::sleep(Duration::from_secs(if arguments.quick { 2 } else { 3 }));
            let found: String = page()?;
            last = figure(&found, LOOKS)?;
            took.push(figure(&found, "snf_agent_round_seconds")? * 1e3);
        }
        let cpu = CpuTime::of(agent.pid())? - before;
        let sound = figure(&page()?, "snf_agent_taps{standing=\"sound\"}").unwrap_or_default();
        let unsound = u64::from(sound != f64::from(u32::try_from(taps)?));
        let looks = Self {
            took: Spread::of(took).context("a look")?,
            cpu: micros(cpu.run) / 1e3 / (last - first),
            resident: mebibytes(&agent, "VmRSS")?,
            anonymous: mebibytes(&agent, "RssAnon")?,
            unsound,
        };
        ensure!(
            agent.stop(Signal::SIGTERM)?.success(),
            "{}",
            agent.output()?
        );
        Ok(looks)
    }
}
