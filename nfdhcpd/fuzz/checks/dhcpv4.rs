//! What must hold for any bytes in a datagram to port 67.

use nfdhcpd::wire::dhcpv4::Request;

/// Never panics; what is echoed lies within the bytes.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(request) = Request::read(bytes) else {
        return;
    };
    assert!(!request.chaddr.is_multicast());
    let echoed = request.client_identifier.encoded_len()
        + request.relay_agent.encoded_len()
        + request.machine.encoded_len();
    assert!(echoed <= bytes.len());
    assert!(request.parameters.bytes().count() < bytes.len());
}
