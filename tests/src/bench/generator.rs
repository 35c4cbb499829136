//! The load: many VMs, one thread. Frames go into the TAPs' far sides as QEMU would write them, answers are read there.
//!
//! Closed loop: so many exchanges under way, the next begins when one ends. Open loop: exchanges begin by the clock,
//! and their latency counts from when they were due, so that a server that stalls is not spared. Storm: all begin at
//! one instant, and ask again after a pause until each has its answer.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::client::{Client, Heard, Load};
use super::cpu::CpuTime;
use super::frames::{Vm, dhcpv4, ndp};
use super::stats::Latencies;
use crate::tap::Tap;

/// An exchange that takes longer is lost: a closed or open loop does not ask again.
const PATIENCE: u64 = 5_000_000_000;
/// How long answers are waited for after the last exchange has begun.
const GRACE: u64 = 200_000_000;
/// How often unanswered exchanges are looked for.
const CHECK: u64 = 50_000_000;
/// Ready TAPs taken per turn.
const EVENTS: usize = 64;
/// Room for a frame and its header.
const ROOM: usize = 2048;

/// How exchanges begin.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many under way.
    Closed {
        /// Exchanges.
        in_flight: usize,
    },
    /// So many begin each second.
    Open {
        /// Exchanges per second.
        rate: u32,
        /// The first VM takes no part: it sends DISCOVERs and neighbour solicitations as fast as it can and reads no
        /// answer. Otherwise it is merely left out.
        flood: Option<bool>,
    },
}

/// What became of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Complete and right.
    pub(crate) done: u64,
    /// First answers that were followed by a second question.
    pub(crate) offered: u64,
    /// Begun and not answered in time.
    pub(crate) lost: u64,
    /// Messages sent again (storm).
    pub(crate) again: u64,
    /// Answers with an address, network or router that is not this VM's.
    pub(crate) wrong: u64,
    /// DHCPNAKs.
    pub(crate) nak: u64,
    /// Exchanges due when all VMs were busy (open loop).
    pub(crate) overrun: u64,
    /// Frames of the flood.
    pub(crate) flooded: u64,
    /// From first message to complete, nanoseconds.
    latencies: Vec<u64>,
    /// From the beginning to the last exchange's end, nanoseconds.
    pub(crate) elapsed: u64,
    /// The generator's own.
    pub(crate) cpu: CpuTime,
}

impl Tally {
    /// In order.
    pub(crate) fn latencies(&self) -> Latencies {
        Latencies::new(self.latencies.clone())
    }
}

/// The VMs behind TAPs.
pub(crate) struct Generator<'a> {
    taps: &'a [Tap],
    clients: Vec<Client>,
    epoll: Epoll,
    origin: Instant,
    /// Where the round robin is.
    next: usize,
    busy: usize,
    frame: Vec<u8>,
    room: Vec<u8>,
    tally: Tally,
}

impl<'a> Generator<'a> {
    /// VM n is behind TAP n.
    ///
    /// # Errors
    /// When the kernel refuses an epoll instance.
    pub(crate) fn new(taps: &'a [Tap]) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll")?;
        let mut clients = Vec::with_capacity(taps.len());
        for (number, tap) in taps.iter().enumerate() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
            epoll
                .add(tap.file().as_fd(), event)
                .context("watch a TAP")?;
            clients.push(Client::new(Vm(u32::try_from(number)?)));
        }
        Ok(Self {
            taps,
            clients,
            epoll,
            origin: Instant::now(),
            next: 0,
            busy: 0,
            frame: Vec::with_capacity(ROOM),
            room: vec![0; ROOM],
            tally: Tally::default(),
        })
    }

    /// Runs exchanges for `duration`.
    ///
    /// # Errors
    /// When a TAP is gone.
    pub(crate) fn run(&mut self, load: Load, pace: Pace, duration: Duration) -> Result<Tally> {
        self.drain()?;
        let cpu = CpuTime::of_this_thread()?;
        let start = self.now();
        let end = start + nanoseconds(duration);
        let mut due = start;
        let mut check = start + CHECK;
        let mut last = start;
        let mut flood = Flood::new();
        let left_out = matches!(pace, Pace::Open { flood: Some(_), .. });
        let limit = if let Pace::Closed { in_flight } = pace {
            in_flight.min(self.taps.len())
        } else {
            self.taps.len()
        };
        loop {
            let now = self.now();
            match pace {
                Pace::Closed { .. } => {
                    while now < end && self.busy < limit {
                        self.begin_next(load, now, left_out)?;
                    }
                }
                Pace::Open { rate, .. } => {
                    while due <= now && due < end {
                        if !self.begin_next(load, due, left_out)? {
                            self.tally.overrun += 1;
                        }
                        due += 1_000_000_000 / u64::from(rate);
                    }
                }
            }
            if now >= end && (self.busy == 0 || now >= last + GRACE + PATIENCE) {
                break;
            }
            if now < end {
                last = now;
            }
            let heard = self.turn(load, EVENTS)?;
            if let Pace::Open {
                flood: Some(true), ..
            } = pace
                && heard == 0
                && now < end
                && let Some(tap) = self.taps.first()
            {
                flood.send(tap);
            }
            if now >= check {
                check = now + CHECK;
                self.give_up(now);
            }
        }
        self.tally.flooded = flood.sent;
        self.finish(start, cpu)
    }

    /// Every VM begins at one instant and asks again `pause` after its last message, until all are answered or `limit`
    /// has passed. `turn` is called after every few reads with what has become of them so far.
    ///
    /// # Errors
    /// When a TAP is gone, or what `turn` returns.
    pub(crate) fn storm(
        &mut self,
        load: Load,
        pause: Duration,
        limit: Duration,
        mut turn: impl FnMut(&Tally) -> Result<()>,
    ) -> Result<Tally> {
        self.drain()?;
        let cpu = CpuTime::of_this_thread()?;
        let pause = nanoseconds(pause);
        let start = self.now();
        for number in 0..self.clients.len() {
            self.begin(load, number, start)?;
        }
        let few = 1 + self.clients.len() / EVENTS;
        let mut check = start + pause.min(CHECK);
        while self.busy > 0 {
            self.turn(load, few)?;
            turn(&self.tally)?;
            let now = self.now();
            if now > start + nanoseconds(limit) {
                break;
            }
            if now < check {
                continue;
            }
            check = now + pause.min(CHECK) / 4;
            for number in 0..self.clients.len() {
                if self
                    .clients
                    .get(number)
                    .is_some_and(|client| late(client, now, pause))
                {
                    self.tally.again += 1;
                    self.begin(load, number, start)?;
                }
            }
        }
        self.finish(start, cpu)
    }

    /// Reads and counts the frames that wait at one TAP, by `wanted`.
    ///
    /// # Errors
    /// When the TAP is gone.
    pub(crate) fn count(tap: &Tap, wanted: impl Fn(&[u8]) -> bool) -> Result<u64> {
        let mut room = [0; ROOM];
        let mut count = 0;
        while let Some(length) = tap.receive_raw(&mut room)? {
            let frame = room.get(crate::tap::HEADER..length).unwrap_or_default();
            count += u64::from(wanted(frame));
        }
        Ok(count)
    }

    fn finish(&mut self, start: u64, cpu: CpuTime) -> Result<Tally> {
        for client in &mut self.clients {
            if client.busy() {
                client.abandon();
                self.tally.lost += 1;
            }
        }
        self.busy = 0;
        let mut tally = std::mem::take(&mut self.tally);
        tally.elapsed = tally.elapsed.saturating_sub(start);
        tally.cpu = CpuTime::of_this_thread()? - cpu;
        Ok(tally)
    }

    /// Nanoseconds since this generator was made.
    fn now(&self) -> u64 {
        nanoseconds(self.origin.elapsed())
    }

    fn drain(&mut self) -> Result<()> {
        for tap in self.taps {
            while tap.receive_raw(&mut self.room)?.is_some() {}
        }
        Ok(())
    }

    /// Begins with the next VM that is free; false when none is.
    fn begin_next(&mut self, load: Load, due: u64, first_left_out: bool) -> Result<bool> {
        for _ in 0..self.clients.len() {
            let number = self.next;
            self.next = (self.next + 1) % self.clients.len();
            let left_out = first_left_out && number == 0;
            if !left_out
                && self
                    .clients
                    .get(number)
                    .is_some_and(|client| !client.busy())
            {
                self.begin(load, number, due)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn begin(&mut self, load: Load, number: usize, due: u64) -> Result<()> {
        let now = self.now();
        let (Some(client), Some(tap)) = (self.clients.get_mut(number), self.taps.get(number))
        else {
            return Ok(());
        };
        if !client.busy() {
            self.busy += 1;
        }
        client.begun = due;
        client.sent = now;
        client.begin(load, &mut self.frame);
        tap.send_raw(&self.frame)
    }

    /// Reads one answer each from TAPs that have some, of at most `most`; returns from how many. It never sleeps: what a
    /// sleeping CPU takes to wake up would be measured with every answer.
    fn turn(&mut self, load: Load, most: usize) -> Result<usize> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let room = events.get_mut(..most.min(EVENTS)).unwrap_or_default();
        let ready = match self.epoll.wait(room, EpollTimeout::ZERO) {
            Ok(ready) => ready,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error).context("look for answers"),
        };
        for event in events.iter().take(ready) {
            let number = usize::try_from(event.data())?;
            let (Some(client), Some(tap)) = (self.clients.get_mut(number), self.taps.get(number))
            else {
                continue;
            };
            let Some(length) = tap.receive_raw(&mut self.room)? else {
                continue;
            };
            let frame = self.room.get(..length).unwrap_or_default();
            let heard = client.hear(load, frame, &mut self.frame);
            let (begun, now) = (client.begun, nanoseconds(self.origin.elapsed()));
            match heard {
                Heard::Nothing => continue,
                Heard::Send => {
                    client.sent = now;
                    self.tally.offered += 1;
                    tap.send_raw(&self.frame)?;
                    continue;
                }
                Heard::Done => {
                    self.tally.done += 1;
                    self.tally.elapsed = now;
                    self.tally.latencies.push(now.saturating_sub(begun));
                }
                Heard::Wrong => self.tally.wrong += 1,
                Heard::Nak => self.tally.nak += 1,
            }
            self.busy -= 1;
        }
        Ok(ready)
    }

    fn give_up(&mut self, now: u64) {
        for client in &mut self.clients {
            if late(client, now, PATIENCE) {
                client.abandon();
                self.busy -= 1;
                self.tally.lost += 1;
            }
        }
    }
}

fn late(client: &Client, now: u64, patience: u64) -> bool {
    client.busy() && now.saturating_sub(client.sent) >= patience
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What the hostile neighbour sends, by turns.
struct Flood {
    frames: [Vec<u8>; 2],
    sent: u64,
}

impl Flood {
    fn new() -> Self {
        let (mut discover, mut solicitation) = (Vec::new(), Vec::new());
        dhcpv4::discover(Vm(0), 0x00ff_ffff, &mut discover);
        ndp::neighbor_solicitation(Vm(0), &mut solicitation);
        Self {
            frames: [discover, solicitation],
            sent: 0,
        }
    }

    fn send(&mut self, tap: &Tap) {
        let place = usize::from(self.sent % 2 == 1);
        // A TAP that takes no more has the flood's effect already.
        if let Some(frame) = self.frames.get(place)
            && tap.file().write(frame).is_ok()
        {
            self.sent += 1;
        }
    }
}
