//! Rounds: the contestants one after the other on the same load, again and again; a round on a busy machine is not
//! counted.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bench::client::Load;
use crate::bench::floor::Variant;
use crate::bench::generator::{Generator, Pace, Tally};
use crate::bench::lab::{Attachment, Lab};
use crate::bench::report::Faults;
use crate::bench::server::{Server, UNLIMITED};
use crate::bench::stats::{Spread, micros};
use crate::world::World;

/// A round counts when server and generator together waited less than this for a CPU, as a share of the time.
const QUIET: f64 = 0.08;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
pub(crate) enum Contestant {
    /// The floor, one packet per system call.
    FloorOne,
    /// The floor, batched.
    FloorBatch,
    /// The floor, batched, behind nfdhcpd's rules instead of iptables': what the rules cost.
    FloorOurRules,
    /// What all this is for.
    Nfdhcpd,
}

impl Contestant {
    pub(crate) const ALL: [Self; 4] = [
        Self::FloorOne,
        Self::FloorBatch,
        Self::FloorOurRules,
        Self::Nfdhcpd,
    ];
    /// Of those named, those that `only` lets play: all when it is empty.
    pub(crate) fn wanted(named: &[Self], only: &[Self]) -> Vec<Self> {
        let plays = |contestant: &&Self| only.is_empty() || only.contains(contestant);
        named.iter().filter(plays).copied().collect()
    }

    /// The floors nfdhcpd is compared with.
    pub(crate) const FLOORS: [Self; 2] = [Self::FloorOne, Self::FloorBatch];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FloorOne => "floor, one by one",
            Self::FloorBatch => "floor, batched",
            Self::FloorOurRules => "floor, batched, our rules",
            Self::Nfdhcpd => "nfdhcpd",
        }
    }
}

/// Three hosts with the same TAPs: the floor's, the floor's behind our rules, nfdhcpd's.
pub(crate) struct Arena {
    floor: Lab,
    ruled: Lab,
    ours: Lab,
    nfdhcpd: Option<Server>,
}

impl Arena {
    /// Bridged, with `taps` TAPs each; nfdhcpd runs only when it or its rules are wanted.
    ///
    /// # Errors
    /// When a device cannot be made or nfdhcpd does not start.
    pub(crate) fn new(world: &World, taps: usize, wanted: &[Contestant]) -> Result<Self> {
        let lab = |name: &str| Lab::new(world, &format!("{name}{taps}"), Attachment::Bridged, taps);
        let floor = lab("floor")?;
        floor.floor_rules()?;
        let ruled = lab("ruled")?;
        ruled.bind_all(0)?;
        if wanted.contains(&Contestant::FloorOurRules) {
            // A crash leaves the rules, and the marks in them name the TAPs.
            Server::nfdhcpd(&ruled, UNLIMITED)?.crash()?;
        }
        let ours = lab("ours")?;
        ours.bind_all(0)?;
        let wanted = wanted.contains(&Contestant::Nfdhcpd);
        let nfdhcpd = wanted
            .then(|| Server::nfdhcpd(&ours, UNLIMITED))
            .transpose()?;
        Ok(Self {
            floor,
            ruled,
            ours,
            nfdhcpd,
        })
    }

    fn lab(&self, contestant: Contestant) -> &Lab {
        match contestant {
            Contestant::FloorOne | Contestant::FloorBatch => &self.floor,
            Contestant::FloorOurRules => &self.ruled,
            Contestant::Nfdhcpd => &self.ours,
        }
    }

    /// Loads one contestant.
    ///
    /// # Errors
    /// When a server does not start or a TAP is gone.
    pub(crate) fn load(
        &self,
        contestant: Contestant,
        load: impl FnOnce(&mut Generator<'_>) -> Result<Tally>,
    ) -> Result<Run> {
        let lab = self.lab(contestant);
        let floor = match contestant {
            Contestant::FloorOne => Some(Server::floor(lab, Variant::One)?),
            Contestant::FloorBatch | Contestant::FloorOurRules => {
                Some(Server::floor(lab, Variant::Batch)?)
            }
            Contestant::Nfdhcpd => None,
        };
        let server = floor
            .as_ref()
            .or(self.nfdhcpd.as_ref())
            .context("a server")?;
        let mut generator = Generator::new(&lab.taps)?;
        let run = Run::of(server, || load(&mut generator))?;
        if let Some(floor) = floor {
            floor.crash()?;
        }
        Ok(run)
    }
}

/// One contestant in one round.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) done: u64,
    pub(crate) per_second: f64,
    /// Microseconds.
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Microseconds of CPU for one exchange.
    pub(crate) server_cpu: f64,
    pub(crate) generator_cpu: f64,
    /// Milliseconds from the first message to the last exchange's end.
    pub(crate) elapsed: f64,
    /// Share of the time in which server or generator waited for a CPU.
    pub(crate) waited: f64,
    /// KiB.
    pub(crate) rss: u64,
    pub(crate) lost: u64,
    pub(crate) again: u64,
    pub(crate) wrong: u64,
    pub(crate) nak: u64,
    pub(crate) overrun: u64,
    pub(crate) flooded: u64,
}

impl Run {
    /// Watches the server while the load runs.
    ///
    /// # Errors
    /// When the server has died, or what `load` returns.
    pub(crate) fn of(server: &Server, load: impl FnOnce() -> Result<Tally>) -> Result<Self> {
        let before = server.cpu()?;
        let tally = load()?;
        let cpu = server.cpu()? - before;
        let latencies = tally.latencies();
        let each = 1.0 / micros(tally.done.max(1) * 1000);
        let microseconds = micros(tally.elapsed.max(1));
        Ok(Self {
            done: tally.done,
            per_second: micros(tally.done * 1000) / microseconds * 1e6,
            p50: latencies.percentile(50.0),
            p90: latencies.percentile(90.0),
            p99: latencies.percentile(99.0),
            p999: latencies.percentile(99.9),
            max: latencies.percentile(100.0),
            server_cpu: micros(cpu.run) * each,
            generator_cpu: micros(tally.cpu.run) * each,
            elapsed: microseconds / 1e3,
            waited: micros(cpu.wait + tally.cpu.wait) / microseconds,
            rss: server.kibibytes("VmRSS")?,
            lost: tally.lost,
            again: tally.again,
            wrong: tally.wrong,
            nak: tally.nak,
            overrun: tally.overrun,
            flooded: tally.flooded,
        })
    }

    /// What nfdhcpd must not do.
    pub(crate) fn faults(&self) -> Faults {
        Faults {
            lost: self.lost,
            wrong: self.wrong,
            nak: self.nak,
            leaked: 0,
        }
    }

    fn quiet(&self) -> bool {
        self.waited < QUIET
    }
}

/// All rounds of a comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Rounds {
    /// Those that count.
    pub(crate) kept: Vec<Vec<(Contestant, Run)>>,
    /// Played in all.
    pub(crate) played: usize,
    /// True when no round was quiet and all count.
    pub(crate) noisy: bool,
    /// nfdhcpd's, over all rounds played.
    pub(crate) faults: Faults,
}

impl Rounds {
    /// Plays until `wanted` rounds count, or twice as many and two more are played.
    ///
    /// # Errors
    /// What `play` returns.
    pub(crate) fn play(
        contestants: &[Contestant],
        wanted: usize,
        mut play: impl FnMut(Contestant) -> Result<Run>,
    ) -> Result<Self> {
        let mut rounds = Self {
            kept: vec![],
            played: 0,
            noisy: false,
            faults: Faults::default(),
        };
        let mut spoilt = Vec::new();
        while rounds.kept.len() < wanted && rounds.played < 2 * wanted + 2 {
            let mut round = Vec::new();
            for place in 0..contestants.len() {
                // Nobody always comes after the same one.
                let turn = (place + rounds.played) % contestants.len();
                let contestant = *contestants.get(turn).context("a contestant")?;
                let run = play(contestant)?;
                if contestant == Contestant::Nfdhcpd {
                    rounds.faults.add(run.faults());
                }
                round.push((contestant, run));
            }
            rounds.played += 1;
            if round.iter().all(|(_, run)| run.quiet()) {
                rounds.kept.push(round);
            } else {
                spoilt.push(round);
            }
        }
        if rounds.kept.is_empty() {
            (rounds.kept, rounds.noisy) = (spoilt, true);
        }
        Ok(rounds)
    }

    fn runs(&self, of: Contestant) -> impl Iterator<Item = &Run> {
        let find = move |round: &'_ Vec<(Contestant, Run)>| {
            round.iter().position(|(contestant, _)| *contestant == of)
        };
        self.kept
            .iter()
            .filter_map(move |round| round.get(find(round)?).map(|(_, run)| run))
    }

    /// A figure of a contestant over the rounds.
    pub(crate) fn spread(&self, of: Contestant, figure: impl Fn(&Run) -> f64) -> Spread {
        let none = Spread {
            median: f64::NAN,
            min: f64::NAN,
            max: f64::NAN,
        };
        Spread::of(self.runs(of).map(figure)).unwrap_or(none)
    }

    /// nfdhcpd's figure as a multiple of the best floor's, round by round. The best is the one with the best median:
    /// the highest when `more_is_better`, else the lowest.
    pub(crate) fn ratio(&self, more_is_better: bool, figure: impl Fn(&Run) -> f64) -> Spread {
        let median = |floor: &Contestant| self.spread(*floor, &figure).median;
        let present = Contestant::FLOORS
            .into_iter()
            .filter(|floor| !median(floor).is_nan());
        let best = if more_is_better {
            present.max_by(|one, other| median(one).total_cmp(&median(other)))
        } else {
            present.min_by(|one, other| median(one).total_cmp(&median(other)))
        };
        self.ratio_to(best.unwrap_or(Contestant::FloorBatch), figure)
    }

    /// nfdhcpd's figure as a multiple of another contestant's, round by round.
    pub(crate) fn ratio_to(&self, other: Contestant, figure: impl Fn(&Run) -> f64) -> Spread {
        let pairs = self.runs(Contestant::Nfdhcpd).zip(self.runs(other));
        let ratios = pairs.map(|(ours, theirs)| figure(ours) / figure(theirs));
        Spread::of(ratios).unwrap_or(Spread {
            median: f64::NAN,
            min: f64::NAN,
            max: f64::NAN,
        })
    }

    /// "5 of 7", with a star when the machine was never quiet.
    pub(crate) fn kept(&self) -> String {
        let star = if self.noisy { "*" } else { "" };
        format!("{} of {}{star}", self.kept.len(), self.played)
    }
}

/// How long a round's load is, in words.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// A closed loop.
pub(crate) fn closed(
    load: Load,
    in_flight: usize,
    duration: Duration,
) -> impl FnOnce(&mut Generator<'_>) -> Result<Tally> {
    move |generator| generator.run(load, Pace::Closed { in_flight }, duration)
}
