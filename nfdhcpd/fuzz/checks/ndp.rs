//! What must hold for any bytes in the queues of router and neighbour solicitations, from the IPv6 header on.

use nfdhcpd::wire::Frame;
use nfdhcpd::wire::ndp::{NeighborSolicitation, RouterSolicitation, cease, push_succession};

/// Never panics; a packet is one solicitation or the other; what is read keeps RFC 4861 §6.1.1 and §7.1.1. The same bytes
/// as an advertisement's body: as its own successor it has nothing to expire.
pub(crate) fn check(bytes: &[u8]) {
    let router = RouterSolicitation::read(bytes, false);
    let neighbor = NeighborSolicitation::read(bytes, false);
    assert!(router.is_err() || neighbor.is_err());
    if router.is_ok() || neighbor.is_ok() {
        assert_eq!(bytes.get(7), Some(&255), "hop limit");
    }
    if let Ok(neighbor) = neighbor {
        assert!(!neighbor.target.is_multicast());
        assert!(!neighbor.source.is_multicast());
    }
    if RouterSolicitation::read(bytes, true).is_ok() {
        assert!(router.is_ok(), "a verified one is no worse");
    }

    let mut out = Frame::new();
    if bytes.len() >= 12 && push_succession(bytes, bytes, &mut out) {
        assert_eq!(out.as_slice(), bytes);
    }
    let mut last = bytes.to_vec();
    cease(&mut last);
    let once = last.clone();
    cease(&mut last);
    assert_eq!(last, once);
}
