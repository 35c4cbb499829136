//! Continuity: the daemon is killed amid a boot storm and started again. Who is bound when, and did the LAN see any of
//! it?

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::bench::client::Load;
use crate::bench::command::{Arguments, Progress};
use crate::bench::frames::at;
use crate::bench::generator::Generator;
use crate::bench::lab::{Attachment, Lab};
use crate::bench::report::{Bound, Faults, Section, Target, spread};
use crate::bench::server::{Server, UNLIMITED};
use crate::bench::stats::Spread;
use crate::world::World;

/// So often a VM asks again: short, so that the time is the daemon's and not the VM's patience.
const RETRANSMIT: Duration = Duration::from_millis(200);
const LIMIT: Duration = Duration::from_secs(30);
/// How long there is no daemon.
const ABSENT: Duration = Duration::from_millis(500);

/// Where the run is.
enum Phase {
    Before(Server),
    Absent(Instant),
    After(Server, Instant),
}

/// See the module.
///
/// # Errors
/// When a device or nfdhcpd cannot be had.
pub(crate) fn ask(
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    let taps = arguments.scaled(1000);
    progress.say(&format!("continuity: {taps} TAPs"));
    let lab = Lab::new(world, "continuity", Attachment::Bridged, taps)?;
    lab.bind_all(0)?;
    let lan = lab.lan.as_ref().context("the LAN's port")?;
    let mut generator = Generator::new(&lab.taps)?;
    let mut faults = Faults::default();
    let mut rows = Vec::new();
    let mut times = Vec::new();
    for round in 1..=arguments.rounds().min(3) {
        progress.say(&format!("continuity: kill {round}"));
        let mut phase = Phase::Before(Server::nfdhcpd(&lab, UNLIMITED)?);
        Generator::count(lan, |_| true)?;
        let (mut offered, mut bound) = (0, 0);
        let tally = generator.storm(Load::Dhcp4, RETRANSMIT, LIMIT, |tally| {
            match &phase {
                Phase::Before(server) if tally.offered >= taps as u64 / 2 => {
                    server.kill()?;
                    (offered, bound) = (tally.offered, tally.done);
                    phase = Phase::Absent(Instant::now());
                }
                Phase::Absent(since) if since.elapsed() >= ABSENT => {
                    let restart = Instant::now();
                    phase = Phase::After(Server::begin_nfdhcpd(&lab, UNLIMITED)?, restart);
                }
                Phase::Before(_) | Phase::Absent(_) | Phase::After(..) => {}
            }
            Ok(())
        })?;
        let ended = Instant::now();
        let Phase::After(server, restart) = phase else {
            anyhow::bail!("all were bound before the daemon could be killed");
        };
        let leaked = Generator::count(lan, |frame| {
            at::<6>(frame, 6).is_some_and(|source| source.starts_with(&[0x52, 0x54, 0]))
        })?;
        let seconds = (ended - restart).as_secs_f64();
        server.crash()?;
        times.push(seconds);
        faults.add(Faults {
            lost: tally.lost,
            wrong: tally.wrong,
            nak: tally.nak,
            leaked,
        });
        rows.push(vec![
            round.to_string(),
            offered.to_string(),
            bound.to_string(),
            tally.done.to_string(),
            format!("{seconds:.3}"),
            tally.again.to_string(),
            leaked.to_string(),
        ]);
    }
    let found = Spread::of(times).context("a round")?;
    Ok(vec![Section {
        name: "continuity",
        title: format!(
            "{taps} VMs boot at one instant and ask again every {} ms; the daemon is killed (SIGKILL) when half \
             have their OFFER, and started again {} ms later.",
            RETRANSMIT.as_millis(),
            ABSENT.as_millis()
        ),
        columns: vec![
            "Round",
            "offered at the kill",
            "bound at the kill",
            "bound in the end",
            "all bound, s after the restart",
            "sent again",
            "frames on the LAN",
        ],
        rows,
        targets: vec![
            Target::new(
                "continuity: all bound after the restart",
                Bound::AtMost(1.0),
                "s",
                found,
            ),
            Target::none("continuity: VMs left unbound", faults.lost),
            Target::none("continuity: requests seen on the LAN", faults.leaked),
        ],
        faults,
        figures: json!({ "seconds": spread(found) }),
    }])
}
