//! Closed loops: how many exchanges, how fast, at what cost.

use anyhow::Result;
use serde_json::json;

use super::rounds::{Arena, Contestant, Rounds, closed, seconds};
use crate::bench::client::Load;
use crate::bench::command::{Arguments, Progress};
use crate::bench::report::{Bound, Faults, Section, Target, number, spread};
use crate::world::World;

/// TAPs, and which loads with how many under way.
const PLAN: [(usize, &[(Load, usize)]); 4] = [
    (1, &[(Load::Dhcp4, 1)]),
    (10, &[(Load::Dhcp4, 1), (Load::Dhcp4, 10)]),
    (
        100,
        &[
            (Load::Dhcp4, 1),
            (Load::Dhcp4, 32),
            (Load::Rs, 1),
            (Load::Rs, 32),
            (Load::Ns, 1),
            (Load::Ns, 32),
            (Load::Dhcp6, 1),
            (Load::Dhcp6, 32),
            (Load::Info6, 1),
            (Load::Info6, 32),
        ],
    ),
    (1000, &[(Load::Dhcp4, 1), (Load::Dhcp4, 32)]),
];

/// See the module.
///
/// # Errors
/// When a device or a server cannot be had.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let contestants = Contestant::wanted(&Contestant::ALL, &arguments.only);
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    let mut faults = Faults::default();
    let mut figures = Vec::new();
    for (taps, cases) in PLAN {
        let wanted = |(load, in_flight): &&(Load, usize)| {
            (arguments.load.is_empty() || arguments.load.contains(load))
                && arguments
                    .in_flight
                    .is_none_or(|wanted| wanted == *in_flight)
        };
        let cases: Vec<_> = cases.iter().filter(wanted).collect();
        let left_out = arguments.quick && taps != 100;
        if arguments.taps.is_some_and(|wanted| wanted != taps) || cases.is_empty() || left_out {
            continue;
        }
        let taps = arguments.scaled(taps);
        progress.say(&format!("loops: three hosts with {taps} TAPs"));
        let arena = Arena::new(world, taps, &contestants)?;
        for (load, in_flight) in cases {
            let about = format!("{}, {taps} TAPs, {in_flight} under way", load.name());
            progress.say(&format!("loops: {about}"));
            let rounds = Rounds::play(&contestants, arguments.rounds(), |contestant| {
                arena.load(contestant, closed(*load, *in_flight, arguments.duration()))
            })?;
            faults.add(rounds.faults);
            rows.extend(
                contestants
                    .iter()
                    .map(|contestant| row(&about, *contestant, &rounds)),
            );
            targets.extend(promises(&about, *load, taps, *in_flight, &rounds));
            figures.push(json!({ "case": about, "rounds": rounds }));
        }
    }
    targets.push(Target::none("exchanges lost in closed loops", faults.lost));
    let title = format!(
        "Closed loops of {} per contestant and round; medians over the rounds in which nobody waited for a CPU more \
         than 8 % of the time (a star: no round was that quiet). Ratios are to the best floor, round by round: median \
         [min, max].",
        seconds(arguments.duration())
    );
    let columns = vec![
        "Load",
        "Server",
        "rounds",
        "exchanges/s",
        "p50 µs",
        "p99 µs",
        "CPU µs/exchange",
        "RSS MiB",
        "exchanges/s ratio",
        "CPU ratio",
        "p50 ratio",
    ];
    let figures = json!(figures);
    Ok(vec![Section {
        name: "loops",
        title,
        columns,
        rows,
        targets,
        faults,
        figures,
    }])
}

fn row(about: &str, contestant: Contestant, rounds: &Rounds) -> Vec<String> {
    let median = |figure: fn(&_) -> f64| number(rounds.spread(contestant, figure).median);
    let mut cells = vec![
        about.to_owned(),
        contestant.name().to_owned(),
        rounds.kept(),
        median(|run| run.per_second),
        median(|run| run.p50),
        median(|run| run.p99),
        median(|run| run.server_cpu),
        median(|run| f64::from(u32::try_from(run.rss).unwrap_or(u32::MAX)) / 1024.0),
    ];
    if contestant == Contestant::Nfdhcpd {
        cells.push(spread(rounds.ratio(true, |run| run.per_second)));
        cells.push(spread(rounds.ratio(false, |run| run.server_cpu)));
        cells.push(spread(rounds.ratio(false, |run| run.p50)));
    }
    cells.resize(11, String::new());
    cells
}

/// Promised are the four-way exchange's throughput with many under way, its cost, and its latency with one.
fn promises(
    about: &str,
    load: Load,
    taps: usize,
    in_flight: usize,
    rounds: &Rounds,
) -> Vec<Target> {
    let mut targets = Vec::new();
    if taps < 100 {
        return targets;
    }
    if load == Load::Dhcp4 && in_flight > 1 {
        let (bound, found) = (
            Bound::AtLeast(0.8),
            rounds.ratio(true, |run| run.per_second),
        );
        targets.push(Target::new(
            format!("exchanges/s: {about}"),
            bound,
            "× the floor's",
            found,
        ));
    }
    let (bound, found) = (
        Bound::AtMost(1.3),
        rounds.ratio(false, |run| run.server_cpu),
    );
    targets.push(Target::new(
        format!("CPU per exchange: {about}"),
        bound,
        "× the floor's",
        found,
    ));
    if in_flight == 1 {
        let (bound, found) = (Bound::AtMost(1.3), rounds.ratio(false, |run| run.p50));
        targets.push(Target::new(
            format!("p50: {about}"),
            bound,
            "× the floor's",
            found,
        ));
    }
    targets
}
