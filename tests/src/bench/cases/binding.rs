//! How soon a new binding is in force: from the file's rename to the first answer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::bench::client::{Client, Heard, Load};
use crate::bench::command::{Arguments, Progress};
use crate::bench::frames::Vm;
use crate::bench::lab::{Attachment, Lab};
use crate::bench::report::{Bound, Faults, Section, Target, spread};
use crate::bench::server::{DEFAULTS, Server};
use crate::bench::stats::Spread;
use crate::world::World;

/// A VM asks so often; its rate limit is not reached.
const AGAIN: Duration = Duration::from_millis(12);
const LIMIT: Duration = Duration::from_secs(10);

/// See the module.
///
/// # Errors
/// When a device or nfdhcpd cannot be had, or a binding never comes into force.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let standing = arguments.scaled(900);
    let fresh = arguments
        .scaled(100)
        .min(if arguments.quick { 5 } else { 100 });
    progress.say(&format!(
        "binding: {standing} TAPs with a binding, {fresh} without"
    ));
    let mut lab = Lab::new(world, "binding", Attachment::Bridged, standing)?;
    lab.bind_all(0)?;
    lab.add_taps(fresh)?;
    let _nfdhcpd = Server::nfdhcpd(&lab, DEFAULTS)?;
    let mut times = Vec::new();
    for number in standing..standing + fresh {
        times.push(in_force(&lab, number)?.as_secs_f64() * 1e3);
    }
    let found = Spread::of(times.iter().copied()).context("a binding")?;
    let worst = Spread {
        median: found.max,
        ..found
    };
    Ok(vec![Section {
        name: "binding",
        title: format!(
            "{fresh} bindings written one after the other beside {standing}; from the file's rename to the first \
             OFFER. The VM asks every {} ms, so that much is its own patience.",
            AGAIN.as_millis()
        ),
        columns: vec!["Bindings", "ms: median [min, max]"],
        rows: vec![vec![fresh.to_string(), spread(found)]],
        targets: vec![Target::new(
            "binding in force after its file (the slowest)",
            Bound::AtMost(100.0),
            "ms",
            worst,
        )],
        faults: Faults::default(),
        figures: json!(times),
    }])
}

fn in_force(lab: &Lab, number: usize) -> Result<Duration> {
    let tap = lab.taps.get(number).context("a TAP")?;
    let mut client = Client::new(Vm(u32::try_from(number)?));
    let (mut frame, mut room) = (Vec::new(), vec![0; crate::tap::LARGEST]);
    lab.bind(number)?;
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        client.begin(Load::Dhcp4, &mut frame);
        tap.send_raw(&frame)?;
        let asked = Instant::now();
        while asked.elapsed() < AGAIN {
            let Some(length) = tap.receive_raw(&mut room)? else {
                continue;
            };
            let answer = room.get(..length).unwrap_or_default();
            if client.hear(Load::Dhcp4, answer, &mut frame) == Heard::Send {
                return Ok(start.elapsed());
            }
        }
    }
    bail!(
        "no answer to {} within {LIMIT:?} of its binding",
        tap.name()
    )
}
