//! Readiness and memory: how long nfdhcpd takes from its start to READY=1, and what it holds when all VMs have asked.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::bench::client::Load;
use crate::bench::command::{Arguments, Progress};
use crate::bench::generator::Generator;
use crate::bench::lab::{Attachment, BRIDGE_TAPS, Lab};
use crate::bench::report::{Bound, Faults, Section, Target, number, spread};
use crate::bench::server::{Server, UNLIMITED};
use crate::bench::stats::Spread;
use crate::world::World;

/// See the module.
///
/// # Errors
/// When a device or nfdhcpd cannot be had.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let mut section = Section {
        name: "start",
        title: "From the start of the process to READY=1, rules of a former run still there; anonymous memory once \
                every VM has made an exchange of each kind."
            .to_owned(),
        columns: vec![
            "Bindings", "attached", "starts", "ready after ms", "RssAnon MiB at READY", "RssAnon MiB in the end",
        ],
        rows: Vec::new(),
        targets: Vec::new(),
        faults: Faults::default(),
        figures: json!([]),
    };
    for (taps, attachment, milliseconds, mebibytes, starts) in [
        (BRIDGE_TAPS, Attachment::Bridged, 100.0, 4.0, 5),
        (10_000, Attachment::Routed, 1000.0, 16.0, 3),
    ] {
        let taps = if arguments.quick { taps / 100 } else { taps };
        progress.say(&format!("start: {taps} TAPs"));
        let lab = Lab::new(world, &format!("start{taps}"), attachment, taps)?;
        lab.bind_all(0)?;
        Server::nfdhcpd(&lab, UNLIMITED)?.crash()?;
        let mut generator = Generator::new(&lab.taps)?;
        let (mut ready, mut fresh, mut used) = (Vec::new(), Vec::new(), Vec::new());
        for start in 1..=if arguments.quick { 1 } else { starts } {
            progress.say(&format!("start: {taps} bindings, start {start}"));
            let mut server = Server::begin_nfdhcpd(&lab, UNLIMITED)?;
            ready.push(server.wait_until_ready()?.as_secs_f64() * 1e3);
            fresh.push(anonymous(&server)?);
            for load in [Load::Dhcp4, Load::Rs, Load::Ns, Load::Dhcp6] {
                let (pause, limit) = (Duration::from_secs(4), Duration::from_secs(30));
                let tally = generator.storm(load, pause, limit, |_| Ok(()))?;
                let (lost, wrong, nak) = (tally.lost, tally.wrong, tally.nak);
                section.faults.add(Faults {
                    lost,
                    wrong,
                    nak,
                    leaked: 0,
                });
            }
            used.push(anonymous(&server)?);
            server.crash()?;
        }
        let [ready, fresh, used] =
            [ready, fresh, used].map(|values| Spread::of(values).context("a start"));
        let (ready, fresh, used) = (ready?, fresh?, used?);
        section.rows.push(vec![
            taps.to_string(),
            format!("{attachment:?}").to_lowercase(),
            starts.to_string(),
            spread(ready),
            number(fresh.median),
            spread(used),
        ]);
        let about = format!("ready after the start, {taps} bindings");
        section
            .targets
            .push(Target::new(about, Bound::AtMost(milliseconds), "ms", ready));
        let about = format!("RssAnon with {taps} bindings");
        section
            .targets
            .push(Target::new(about, Bound::AtMost(mebibytes), "MiB", used));
    }
    section.figures = json!(section.rows);
    Ok(vec![section])
}

/// MiB.
fn anonymous(server: &Server) -> Result<f64> {
    Ok(f64::from(u32::try_from(server.kibibytes("RssAnon")?)?) / 1024.0)
}
