//! `private-filtered` by real frames through a bridge.

use crate::frames::{ethernet, holds};
use crate::namespace::{Capture, Nic, Tap, in_namespace};

const BROADCAST: [u8; 6] = [0xff; 6];
const OWN: [u8; 6] = [0xaa, 0, 0x77, 0, 0, 2];
const MATE: [u8; 6] = [0xaa, 0, 0x77, 0, 0, 3];
/// Another network on the same bridge.
const STRANGER: [u8; 6] = [0xaa, 0, 0x78, 0, 0, 2];
/// nfdhcpd's frames have the router's address.
const ROUTER: [u8; 6] = [0xcc, 0x47, 0x52, 0x4e, 0x45, 0x54];
/// For experiments (IEEE 802).
const KIND: u16 = 0x88b5;

fn word(frame: &[u8; 6], word: u32) -> Vec<u8> {
    ethernet(BROADCAST, *frame, KIND, &word.to_be_bytes())
}

#[test]
fn a_vm_sends_as_itself_and_hears_its_network_and_nfdhcpd() {
    in_namespace(|| {
        let tap = Tap::open("tap0");
        Nic::bridged("tap0", 2).run("up");
        let far = Capture::on("far0");
        tap.send(&word(&STRANGER, 0xdead_0001));
        tap.send(&word(&MATE, 0xdead_0002));
        tap.send(&word(&OWN, 0x600d_0001));
        let seen = far.receive_until("the VM's own frame", |frame| holds(frame, 0x600d_0001));
        let spoofed = |frame: &Vec<u8>| holds(frame, 0xdead_0001) || holds(frame, 0xdead_0002);
        assert!(!seen.iter().any(spoofed), "a spoofed frame passed");

        far.send(&word(&STRANGER, 0xdead_0003));
        far.send(&word(&MATE, 0x600d_0003));
        let heard = tap.receive_until("its network's frame", |frame| holds(frame, 0x600d_0003));
        assert!(
            !heard.iter().any(|frame| holds(frame, 0xdead_0003)),
            "a stranger's frame passed"
        );

        // Below the bridge: what nfdhcpd sends on the TAP itself.
        Capture::on("tap0").send(&word(&ROUTER, 0x600d_0004));
        tap.receive_until("nfdhcpd's frame", |frame| holds(frame, 0x600d_0004));
    });
}

#[test]
fn without_a_prefix_twenty_bits_of_the_own_address_decide() {
    in_namespace(|| {
        let tap = Tap::open("tap0");
        Nic::bridged("tap0", 2)
            .with("NETWORK_MAC_PREFIX", "")
            .run("up");
        let far = Capture::on("far0");
        let outside = [0xaa, 0, 0x80, 0, 0, 2];
        far.send(&word(&outside, 0xdead_0001));
        far.send(&word(&STRANGER, 0x600d_0001));
        let heard = tap.receive_until("a frame of its 20 bits", |frame| holds(frame, 0x600d_0001));
        assert!(!heard.iter().any(|frame| holds(frame, 0xdead_0001)));
    });
}

/// Until isolation stands no frame passes; an unfiltered network's NIC is not held to anything.
#[test]
fn an_unfiltered_nic_may_send_from_any_address() {
    in_namespace(|| {
        let filtered = Tap::open("tap0");
        Nic::bridged("tap0", 2).run("up");
        let open = Tap::open("tap1");
        Nic::bridged("tap1", 3)
            .with("NETWORK_TAGS", "nfdhcpd")
            .run("up");
        let far = Capture::on("far0");
        open.send(&word(&STRANGER, 0x600d_0001));
        far.receive_until("a frame from any address", |frame| {
            holds(frame, 0x600d_0001)
        });
        open.send(&word(&MATE, 0x600d_0002));
        let heard = filtered.receive_until("its mate's frame", |frame| holds(frame, 0x600d_0002));
        assert!(!heard.iter().any(|frame| holds(frame, 0x600d_0001)));
    });
}
