//! The daemon's sockets on the kernel, in a network namespace of the test's own.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it skips"
)]

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd;

use nfdhcpd::link::{Link, LinkEvent};
use nfdhcpd::netlink::Links;
use nfdhcpd::queue::{Queue, QueueError, Wait};
use nfdhcpd::tap::{Outbox, Sent, Tap};
use nfdhcpd::wire::Protocol;
use nix::sched::{CloneFlags, unshare};

/// Runs `body` in a network namespace of its own; skips, unless `CI=true`, when there may be none.
fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let entered = std::thread::spawn(|| match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {
            body();
            true
        }
        Err(_) => false,
    });
    let entered = match entered.join() {
        Ok(entered) => entered,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    if !entered {
        assert!(
            !std::env::vars_os().any(|(k, v)| k == "CI" && v == "true"),
            "needs root"
        );
        println!("skipped: needs root, to make a network namespace");
    }
}

mod ioctls {
    //! `TUNSETIFF` (linux/if_tun.h), `SIOCSIFFLAGS` (linux/sockios.h).
    nix::ioctl_write_ptr_bad!(set_interface, 0x4004_54ca, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_flags, 0x8914, libc::ifreq);
}

fn request(name: &str, flags: i32) -> libc::ifreq {
    let flags = i16::try_from(flags).unwrap();
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// A TAP's far side; nothing reads it unless the test does.
#[expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper")]
fn make_tap(name: &str) -> File {
    let tun = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .unwrap();
    let request = request(name, libc::IFF_TAP | libc::IFF_NO_PI);
    // SAFETY: `request` is a whole ifreq with a terminated name.
    unsafe { ioctls::set_interface(tun.as_raw_fd(), &raw const request) }.unwrap();
    tun
}

#[expect(unsafe_code, reason = "SIOCSIFFLAGS has no safe wrapper")]
fn set_up(name: &str) {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    let request = request(name, libc::IFF_UP);
    // SAFETY: as above.
    unsafe { ioctls::set_flags(socket.as_raw_fd(), &raw const request) }.unwrap();
}

fn index_of(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

fn frame_to(outbox: &mut Outbox, tap: u32, mark: u8) {
    let frame = outbox.vacant().unwrap();
    frame.clear();
    assert!(frame.push(&[0xff; 6]) && frame.push(&[2, 0, 0, 0, 0, 1, 0x88, 0xb5]));
    assert!(frame.push(&[mark; 46]));
    outbox.put(tap);
}

#[test]
fn one_bad_tap_keeps_back_no_other_frame() {
    in_namespace(|| {
        let (mut good, _down) = (make_tap("tap0"), make_tap("tap1"));
        set_up("tap0");
        let (up, down, missing) = (index_of("tap0"), index_of("tap1"), 999_999);
        let socket = Tap::open().unwrap();
        let mut outbox = Outbox::new(8);
        for (number, tap) in [down, up, missing, missing, up, down]
            .into_iter()
            .enumerate()
        {
            frame_to(&mut outbox, tap, u8::try_from(number).unwrap());
        }
        let sent = socket.send(&mut outbox);
        assert_eq!(
            sent,
            Sent {
                sent: 2,
                full: 0,
                gone: 4,
                failed: 0
            }
        );
        assert!(outbox.is_empty());
        let mut frame = [0; 2000];
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let length = good.read(&mut frame).unwrap();
            if frame[12..14] == [0x88, 0xb5] {
                assert_eq!(length, 60);
                seen.push(frame[20]);
            }
        }
        assert_eq!(seen, [1, 4]);
    });
}

/// A VM that reads nothing fills its own ring and holds nothing of ours.
#[test]
fn a_tap_nobody_reads_is_full_and_others_are_not() {
    in_namespace(|| {
        let (_deaf, mut other) = (make_tap("tap0"), make_tap("tap1"));
        set_up("tap0");
        set_up("tap1");
        let (deaf, heard) = (index_of("tap0"), index_of("tap1"));
        let socket = Tap::open().unwrap();
        let mut outbox = Outbox::new(32);
        let mut full = 0;
        for _ in 0..100 {
            for _ in 0..32 {
                frame_to(&mut outbox, deaf, 1);
            }
            let result = socket.send(&mut outbox);
            assert_eq!((result.gone, result.failed), (0, 0));
            full += result.full;
        }
        assert!(full > 1000, "{full}");
        frame_to(&mut outbox, heard, 2);
        assert_eq!(socket.send(&mut outbox).sent, 1);
        let mut frame = [0; 2000];
        loop {
            let length = other.read(&mut frame).unwrap();
            if frame[12..length].starts_with(&[0x88, 0xb5]) {
                return;
            }
        }
    });
}

#[test]
fn a_queue_that_is_taken_says_so_and_queue_zero_is_one() {
    in_namespace(|| {
        let open = || Queue::open(0, Protocol::Dhcpv4, 100, true);
        let mut first = open().unwrap();
        assert!(matches!(open(), Err(QueueError::Taken { number: 0 })));
        assert!(first.receive(Wait::Not).unwrap().is_empty());
        drop(first);
        open().unwrap();
    });
}

#[test]
fn a_thread_that_waits_for_packets_is_woken_and_takes_it_for_no_packet() {
    in_namespace(|| {
        let mut queue = Queue::open(7, Protocol::Dhcpv4, 100, false).unwrap();
        let waker = queue.waker().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut batch = queue.receive(Wait::ForOne).unwrap();
                let packets = (0..batch.len()).filter(|place| batch.packet(*place).is_some());
                (packets.count(), batch.len(), batch.strange())
            });
            waker.wake().unwrap();
            assert_eq!(waiting.join().unwrap(), (0, 1, 0));
        });
        assert!(queue.receive(Wait::Not).unwrap().is_empty());
    });
}

#[test]
fn devices_are_listed_and_their_changes_told() {
    in_namespace(|| {
        let mut links = Links::open().unwrap();
        let listed = links.list().unwrap();
        assert_eq!(names(&listed), ["lo"]);
        let tap = make_tap("tap0");
        let index = index_of("tap0");
        set_up("tap0");
        let mut events = Vec::new();
        links.events(&mut events).unwrap();
        let last = events.iter().rev().find_map(|event| match event {
            LinkEvent::Here(link) if link.index == index => Some(*link),
            LinkEvent::Here(_) | LinkEvent::Gone(_) => None,
        });
        let last = last.unwrap();
        assert_eq!(
            (last.name.as_str(), last.up, last.is_bridge),
            ("tap0", true, false)
        );
        assert!(links.list().unwrap().contains(&last));
        drop(tap);
        events.clear();
        links.events(&mut events).unwrap();
        assert!(events.contains(&LinkEvent::Gone(index)), "{events:?}");
        assert_eq!(names(&links.list().unwrap()), ["lo"]);
    });
}

fn names(links: &[Link]) -> Vec<String> {
    links.iter().map(|link| link.name.to_string()).collect()
}
