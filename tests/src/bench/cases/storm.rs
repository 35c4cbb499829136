//! Boot storm: all VMs send DISCOVER at one instant, and again after four seconds (RFC 2131 §4.1) until all are bound.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::rounds::{Arena, Contestant, Rounds};
use crate::bench::client::Load;
use crate::bench::command::{Arguments, Progress};
use crate::bench::report::{Bound, Section, Target, number, spread};
use crate::world::World;

const RETRANSMIT: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(30);

/// See the module.
///
/// # Errors
/// When a device or a server cannot be had.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let taps = arguments.scaled(1000);
    progress.say(&format!("storm: three hosts with {taps} TAPs"));
    let contestants = [
        Contestant::FloorOne,
        Contestant::FloorBatch,
        Contestant::Nfdhcpd,
    ];
    let contestants = Contestant::wanted(&contestants, &arguments.only);
    let arena = Arena::new(world, taps, &contestants)?;
    progress.say(&format!("storm: {taps} VMs at one instant"));
    // A storm lasts milliseconds: many fit.
    let rounds = Rounds::play(&contestants, 3 * arguments.rounds(), |contestant| {
        arena.load(contestant, |generator| {
            generator.storm(Load::Dhcp4, RETRANSMIT, LIMIT, |_| Ok(()))
        })
    })?;
    let again: u64 = rounds
        .kept
        .iter()
        .flatten()
        .filter(|(contestant, _)| *contestant == Contestant::Nfdhcpd)
        .map(|(_, run)| run.again)
        .sum();
    let ratio = rounds.ratio(false, |run| run.elapsed);
    let row = |contestant: Contestant| {
        let median = |figure: fn(&_) -> f64| number(rounds.spread(contestant, figure).median);
        let ours = contestant == Contestant::Nfdhcpd;
        vec![
            contestant.name().to_owned(),
            rounds.kept(),
            spread(rounds.spread(contestant, |run| run.elapsed)),
            median(|run| run.p50),
            median(|run| run.server_cpu),
            median(|run| f64::from(u32::try_from(run.again).unwrap_or(u32::MAX))),
            if ours { spread(ratio) } else { String::new() },
        ]
    };
    let about = format!("boot storm of {taps}: time until all are bound");
    Ok(vec![Section {
        name: "storm",
        title: format!("{taps} VMs send DISCOVER at one instant; time until the last has its ACK."),
        columns: vec![
            "Server",
            "rounds",
            "all bound after ms",
            "p50 µs",
            "CPU µs/exchange",
            "sent again",
            "ratio",
        ],
        rows: contestants.into_iter().map(row).collect(),
        targets: vec![
            Target::new(about, Bound::AtMost(2.0), "× the floor's", ratio),
            Target::none("boot storm: messages sent again", again),
        ],
        faults: rounds.faults,
        figures: json!({ "taps": taps, "rounds": rounds }),
    }])
}
