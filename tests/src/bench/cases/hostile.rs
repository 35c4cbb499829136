//! A hostile neighbour: one VM sends DISCOVERs and neighbour solicitations as fast as it can and reads no answer; what
//! do the others notice? With the rate limits as delivered.

use anyhow::Result;
use serde_json::json;

use super::rounds::Run;
use crate::bench::client::Load;
use crate::bench::command::{Arguments, Progress};
use crate::bench::generator::{Generator, Pace};
use crate::bench::lab::{Attachment, Lab};
use crate::bench::report::{Bound, Faults, Section, Target, number, spread};
use crate::bench::server::{DEFAULTS, Server};
use crate::bench::stats::Spread;
use crate::world::World;

/// Exchanges per second of all good neighbours together: each stays far below its own limit.
const RATE: u32 = 1000;
/// A round with more waiting than this does not count.
const QUIET: f64 = 0.08;

/// See the module.
///
/// # Errors
/// When a device or nfdhcpd cannot be had.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let taps = arguments.scaled(100);
    progress.say(&format!("hostile: {taps} TAPs"));
    let lab = Lab::new(world, "hostile", Attachment::Bridged, taps)?;
    lab.bind_all(0)?;
    let nfdhcpd = Server::nfdhcpd(&lab, DEFAULTS)?;
    let mut generator = Generator::new(&lab.taps)?;
    let rate = if arguments.quick { RATE / 10 } else { RATE };
    let mut play = |flood: bool| {
        let pace = Pace::Open {
            rate,
            flood: Some(flood),
        };
        Run::of(&nfdhcpd, || {
            generator.run(Load::Dhcp4, pace, 2 * arguments.duration())
        })
    };
    let (mut kept, mut spoilt) = (Vec::new(), Vec::new());
    let mut faults = Faults::default();
    let mut played = 0;
    while kept.len() < arguments.rounds() && played < 2 * arguments.rounds() + 2 {
        let pair = (play(false)?, play(true)?);
        played += 1;
        progress.say(&format!("hostile: round {played}"));
        faults.add(pair.0.faults());
        faults.add(pair.1.faults());
        if pair.0.waited < QUIET && pair.1.waited < QUIET {
            kept.push(pair);
        } else {
            spoilt.push(pair);
        }
    }
    let noisy = kept.is_empty();
    if noisy {
        kept = spoilt;
    }
    let of = |figure: &dyn Fn(&(Run, Run)) -> f64| {
        let none = Spread {
            median: f64::NAN,
            min: f64::NAN,
            max: f64::NAN,
        };
        Spread::of(kept.iter().map(figure)).unwrap_or(none)
    };
    let ratio = of(&|(alone, flooded)| flooded.p99 / alone.p99);
    let row = |name: &str, of_pair: fn(&(Run, Run)) -> &Run| {
        let median = |figure: fn(&Run) -> f64| number(of(&|pair| figure(of_pair(pair))).median);
        vec![
            name.to_owned(),
            format!("{} of {played}{}", kept.len(), if noisy { "*" } else { "" }),
            median(|run| run.per_second),
            median(|run| run.p50),
            median(|run| run.p99),
            median(|run| run.max),
            median(|run| {
                f64::from(u32::try_from(run.flooded).unwrap_or(u32::MAX)) / run.elapsed * 1e3
            }),
            median(|run| f64::from(u32::try_from(run.lost).unwrap_or(u32::MAX))),
        ]
    };
    Ok(vec![Section {
        name: "hostile",
        title: format!(
            "{} VMs make {rate} four-way exchanges each second together; one more floods. Default rate limits.",
            taps - 1
        ),
        columns: vec![
            "Neighbour",
            "rounds",
            "exchanges/s",
            "p50 µs",
            "p99 µs",
            "max µs",
            "flood frames/s",
            "lost",
        ],
        rows: vec![
            row("silent", |(alone, _)| alone),
            row("floods", |(_, flooded)| flooded),
        ],
        targets: vec![
            Target::new(
                "hostile neighbour: p99 of the others",
                Bound::AtMost(2.0),
                "× unloaded",
                ratio,
            ),
            Target::none("hostile neighbour: exchanges the others lose", faults.lost),
        ],
        faults,
        figures: json!({ "p99_ratio": spread(ratio), "rounds": kept }),
    }])
}
