//! Files and devices in every order: who is served what, and above all who is not.

use super::*;
use nfdhcpd_binding::MacAddr;

const BRIDGE: u32 = 90;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn tap(index: u32) -> Link {
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    Link {
        index,
        name: name("tap0"),
        is_bridge: false,
        master: None,
        mac,
        up: true,
    }
}

fn bridge() -> Link {
    Link {
        index: BRIDGE,
        name: name("br0"),
        is_bridge: true,
        ..tap(BRIDGE)
    }
}

/// The write number `n` of a sound file, for the VM of that number.
fn write(n: u8) -> Read {
    let stamp = Stamp {
        inode: u64::from(n),
        modified: (0, 0),
        size: 1,
    };
    Read {
        stamp,
        content: Ok(Binding::new(MacAddr([2, 0, 0, 0, 0, n]))),
    }
}

fn bad_write(n: u8) -> Read {
    Read {
        content: Err(String::from("line 1: MAC=x: no")),
        ..write(n)
    }
}

/// The table, and who is served what after each step.
#[derive(Default)]
struct World {
    bindings: Bindings,
    served: BTreeMap<u32, (u8, Attachment)>,
    claims: Vec<(u64, u32)>,
    reread: Option<Read>,
}

impl World {
    fn step(&mut self, act: impl FnOnce(&mut Bindings, &mut Vec<Change>)) -> &mut Self {
        let mut changes = Vec::new();
        act(&mut self.bindings, &mut changes);
        while !changes.is_empty() {
            let mut further = Vec::new();
            for change in changes {
                self.apply(change, &mut further);
            }
            changes = further;
        }
        self
    }

    fn apply(&mut self, change: Change, further: &mut Vec<Change>) {
        match change {
            Change::Serve {
                tap,
                attachment,
                binding,
                ..
            } => {
                self.served.insert(tap, (binding.mac.0[5], attachment));
            }
            Change::Withdraw { tap, .. } => {
                self.served.remove(&tap).expect("served before");
            }
            Change::Read(name) => {
                let read = self.reread.clone().expect("a file to read again");
                self.bindings.read_again(name, read, further);
            }
            Change::Claim { stamp, tap, .. } => self.claims.push((stamp.inode, tap)),
            Change::Redirect(_) | Change::Refuse { .. } => {}
        }
    }

    fn write(&mut self, n: u8) -> &mut Self {
        self.reread = Some(write(n));
        self.step(|b, out| b.written(name("tap0"), write(n), out))
    }

    fn bad_write(&mut self, n: u8) -> &mut Self {
        self.reread = Some(bad_write(n));
        self.step(|b, out| b.written(name("tap0"), bad_write(n), out))
    }

    fn appear(&mut self, index: u32) -> &mut Self {
        self.step(|b, out| b.link_here(tap(index), out))
    }

    fn vanish(&mut self, index: u32) -> &mut Self {
        self.step(|b, out| b.link_gone(index, out))
    }

    #[track_caller]
    fn serves(&mut self, expected: &[(u32, u8)]) -> &mut Self {
        let served: Vec<_> = self.served.iter().map(|(tap, (n, _))| (*tap, *n)).collect();
        assert_eq!(served, expected);
        self
    }

    fn standing(&self) -> Option<Standing<'_>> {
        self.bindings.standing(name("tap0"))
    }

    fn redirected(&self) -> Option<Option<u32>> {
        self.bindings
            .redirected(name("tap0"))
            .map(|redirected| redirected.tap.map(|tap| tap.index))
    }
}

#[test]
fn a_binding_may_come_before_or_after_its_tap() {
    let mut world = World::default();
    world.appear(7).write(1).serves(&[(7, 1)]);
    assert_eq!(
        (world.standing(), world.redirected()),
        (Some(Standing::InForce(7)), Some(Some(7)))
    );
    let mut world = World::default();
    world.write(1).serves(&[]);
    assert_eq!(
        (world.standing(), world.redirected()),
        (Some(Standing::Waiting), Some(None))
    );
    world.appear(7).serves(&[(7, 1)]);
    assert_eq!(world.claims, [(1, 7)]);
}

/// Invariant 6; the original kept the old binding and its old descriptor (B17).
#[test]
fn b17_a_new_vm_on_the_name_never_gets_its_predecessors_binding() {
    let mut world = World::default();
    world
        .appear(7)
        .write(1)
        .vanish(7)
        .serves(&[])
        .appear(9)
        .serves(&[]);
    assert_eq!(
        (world.standing(), world.redirected()),
        (Some(Standing::Stale), None)
    );
    world.write(2).serves(&[(9, 2)]);
    // The same when the news of the end is lost, and the new device comes by the same name.
    world.appear(11).serves(&[]).write(3).serves(&[(11, 3)]);
}

#[test]
fn a_file_written_between_two_taps_is_for_the_second() {
    let mut world = World::default();
    world
        .appear(7)
        .write(1)
        .vanish(7)
        .write(2)
        .serves(&[])
        .appear(9)
        .serves(&[(9, 2)]);
}

#[test]
fn what_waited_is_spent_by_the_first_tap() {
    let mut world = World::default();
    world.write(1).appear(7).vanish(7).appear(9).serves(&[]);
}

#[test]
fn a_bad_file_leaves_the_last_good_one_in_force_while_the_tap_is_the_same() {
    let mut world = World::default();
    world.appear(7).write(1).bad_write(2).serves(&[(7, 1)]);
    let reason = "line 1: MAC=x: no";
    assert_eq!(
        world.standing(),
        Some(Standing::Refused {
            reason,
            last_good: Some(7)
        })
    );
    world.vanish(7).appear(9).serves(&[]);
    assert_eq!(
        world.standing(),
        Some(Standing::Refused {
            reason,
            last_good: None
        })
    );
    world.write(3).serves(&[(9, 3)]);
}

#[test]
fn a_bad_file_takes_back_what_waited() {
    let mut world = World::default();
    world.write(1).bad_write(2).appear(7).serves(&[]);
    assert_eq!(
        world.redirected(),
        Some(Some(7)),
        "its requests still must not reach the network"
    );
}

#[test]
fn removal_ends_it_and_a_renamed_device_too() {
    let mut world = World::default();
    world
        .appear(7)
        .write(1)
        .step(|b, out| b.removed(name("tap0"), out))
        .serves(&[]);
    assert_eq!((world.standing(), world.redirected()), (None, None));
    world.write(2).serves(&[(7, 2)]);
    let renamed = Link {
        name: name("tap1"),
        ..tap(7)
    };
    world.step(|b, out| b.link_here(renamed, out)).serves(&[]);
    // Back by its name it is the same TAP, and the file was written for it.
    world.appear(7).serves(&[(7, 2)]);
}

#[test]
fn a_restart_changes_nothing() {
    for (origin, expected) in [
        (Origin::Fresh, &[(7, 1)][..]),
        (Origin::Recorded(7), &[(7, 1)]),
        (Origin::Recorded(5), &[]),
        (Origin::EarlierBoot, &[]),
    ] {
        let mut world = World::default();
        world.step(|b, out| b.links(&[tap(7)], out));
        world
            .step(|b, out| b.found(name("tap0"), write(1), origin, out))
            .serves(expected);
    }
    // The TAP of the record is gone: the next one is another VM's.
    let mut world = World::default();
    world.step(|b, out| b.found(name("tap0"), write(1), Origin::Recorded(5), out));
    world.appear(7).serves(&[]);
    assert_eq!(world.standing(), Some(Standing::Stale));
    world.write(2).serves(&[(7, 2)]);
}

#[test]
fn devices_told_all_at_once_are_compared() {
    let mut world = World::default();
    world
        .step(|b, out| b.links(&[tap(7)], out))
        .write(1)
        .serves(&[(7, 1)]);
    world
        .step(|b, out| b.links(&[tap(7)], out))
        .serves(&[(7, 1)]);
    world.step(|b, out| b.links(&[tap(8)], out)).serves(&[]);
    assert_eq!(world.standing(), Some(Standing::Stale));
}

#[test]
fn a_tap_that_becomes_a_bridges_port_is_served_anew() {
    let mut world = World::default();
    world
        .step(|b, out| b.links(&[tap(7), bridge()], out))
        .write(1);
    assert_eq!(world.served.get(&7), Some(&(1, Attachment::Routed)));
    let port = Link {
        master: Some(BRIDGE),
        ..tap(7)
    };
    world.step(|b, out| b.link_here(port, out));
    assert_eq!(
        world.served.get(&7),
        Some(&(1, Attachment::Bridged { bridge: BRIDGE }))
    );
    let redirected = world.bindings.redirected(name("tap0")).unwrap();
    assert_eq!(redirected.bridge, Some(bridge()));
    // A port of another device, say a VRF, is routed.
    let port = Link {
        master: Some(4),
        ..tap(7)
    };
    world.step(|b, out| b.link_here(port, out));
    assert_eq!(world.served.get(&7), Some(&(1, Attachment::Routed)));
}

#[test]
fn a_change_of_the_bridge_concerns_its_ports() {
    let mut world = World::default();
    let port = Link {
        master: Some(BRIDGE),
        ..tap(7)
    };
    world
        .step(|b, out| b.links(&[port, bridge()], out))
        .write(1);
    let mut out = Vec::new();
    world.bindings.link_here(
        Link {
            mac: MacAddr([2; 6]),
            ..bridge()
        },
        &mut out,
    );
    assert!(
        matches!(out[..], [Change::Redirect(n)] if n == name("tap0")),
        "{out:?}"
    );
}

#[test]
fn a_bridge_never_stands_for_a_tap() {
    for bridge_first in [true, false] {
        let mut world = World::default();
        let there = |b: &mut Bindings, out: &mut Vec<Change>| b.link_here(bridge(), out);
        if bridge_first {
            world.step(there);
        }
        world.step(|b, out| b.written(name("br0"), write(1), out));
        if !bridge_first {
            world.step(there);
        }
        world.serves(&[]);
        let standing = world.bindings.standing(name("br0"));
        assert!(
            matches!(standing, Some(Standing::Refused { .. })),
            "{standing:?}"
        );
        assert_eq!(world.bindings.redirected(name("br0")), None);
    }
}
