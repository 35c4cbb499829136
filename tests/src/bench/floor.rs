//! The floor: the least a program can do to answer at a TAP through NFQUEUE. What nfdhcpd is measured against.
//!
//! It knows no bindings and reads next to nothing of the packet: a canned answer, patched with the VM's addresses and
//! the transaction identifier. Batched: `recvmmsg`, one verdict for the batch, `sendmmsg`. One by one: `recv`, `sendto`,
//! verdict. The best of the two, case by case, is the floor.

mod canned;
mod queue;
mod sender;

use anyhow::Result;

use self::canned::Canned;
use self::queue::Queues;
use self::sender::Sender;

/// The queues of DHCPv4, router solicitations, neighbour solicitations, DHCPv6.
pub(crate) const QUEUES: [u16; 4] = [42, 43, 44, 45];
/// Packets taken at once when batched.
const BATCH: usize = 32;

/// How the floor works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Variant {
    /// One packet per system call.
    One,
    /// As many as are there, up to 32, per system call.
    Batch,
}

/// Answers until it is killed.
///
/// # Errors
/// When the kernel refuses a socket or a queue.
pub(crate) fn run(variant: Variant) -> Result<()> {
    let size = match variant {
        Variant::One => 1,
        Variant::Batch => BATCH,
    };
    let mut queues = Queues::open(&QUEUES, size)?;
    let mut sender = Sender::open(size)?;
    let canned = Canned::new();
    super::server::say_ready()?;
    loop {
        // The highest number taken from each queue: a batch verdict is for all up to it.
        let mut last = [None; QUEUES.len()];
        queues.receive(|packet| {
            if let Some(place) = QUEUES.iter().position(|queue| *queue == packet.queue)
                && let Some(last) = last.get_mut(place)
            {
                *last = Some(packet.id);
            }
            canned.answer(packet, sender.frame(packet.device));
        })?;
        sender.send()?;
        for (queue, id) in QUEUES.into_iter().zip(last) {
            if let Some(id) = id {
                queues.drop_up_to(queue, id)?;
            }
        }
    }
}

/// Sends one canned router advertisement to each of `devices`, all in one `sendmmsg`, and tells what that took.
///
/// # Errors
/// When the kernel refuses the socket or the frames.
pub(crate) fn advertise(devices: &[u32]) -> Result<super::cpu::CpuTime> {
    let mut sender = Sender::open(devices.len())?;
    let canned = Canned::new();
    let before = super::cpu::CpuTime::of_this_thread()?;
    for device in devices {
        canned.advertise(sender.frame(*device));
    }
    sender.send()?;
    Ok(super::cpu::CpuTime::of_this_thread()? - before)
}
