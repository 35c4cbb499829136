//! Open loop: latency at a rate far below the limit, from when an exchange was due.

use anyhow::Result;
use serde_json::json;

use super::rounds::{Arena, Contestant, Rounds};
use crate::bench::client::Load;
use crate::bench::command::{Arguments, Progress};
use crate::bench::generator::Pace;
use crate::bench::report::{Section, Target, number, spread};
use crate::world::World;

/// Exchanges per second.
const RATE: u32 = 10_000;

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
    let rate = if arguments.quick { RATE / 10 } else { RATE };
    progress.say(&format!("open: {taps} TAPs, {rate} exchanges/s"));
    let contestants = [
        Contestant::FloorOne,
        Contestant::FloorBatch,
        Contestant::Nfdhcpd,
    ];
    let contestants = Contestant::wanted(&contestants, &arguments.only);
    let arena = Arena::new(world, taps, &contestants)?;
    let rounds = Rounds::play(&contestants, arguments.rounds(), |contestant| {
        arena.load(contestant, |generator| {
            generator.run(
                Load::Dhcp4,
                Pace::Open { rate, flood: None },
                arguments.duration(),
            )
        })
    })?;
    let row = |contestant: Contestant| {
        let median = |figure: fn(&_) -> f64| number(rounds.spread(contestant, figure).median);
        let ratio = if contestant == Contestant::Nfdhcpd {
            [
                spread(rounds.ratio(false, |run| run.p50)),
                spread(rounds.ratio(false, |run| run.p99)),
            ]
        } else {
            Default::default()
        };
        let [p50, p99] = ratio;
        vec![
            contestant.name().to_owned(),
            rounds.kept(),
            median(|run| run.per_second),
            median(|run| run.p50),
            median(|run| run.p99),
            median(|run| run.p999),
            median(|run| run.server_cpu),
            p50,
            p99,
        ]
    };
    Ok(vec![Section {
        name: "open",
        title: format!(
            "Four-way DHCPv4 exchanges begun by the clock, {rate} each second, over {taps} TAPs; latency from when an \
             exchange was due."
        ),
        columns: vec![
            "Server",
            "rounds",
            "exchanges/s",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "CPU µs/exchange",
            "p50 ratio",
            "p99 ratio",
        ],
        rows: contestants.into_iter().map(row).collect(),
        targets: vec![Target::none(
            "exchanges lost in the open loop",
            rounds.faults.lost,
        )],
        faults: rounds.faults,
        figures: json!({ "rate": rate, "rounds": rounds }),
    }])
}
