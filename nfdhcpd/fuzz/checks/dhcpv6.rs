//! What must hold for any bytes in a datagram to port 547.

use nfdhcpd::wire::dhcpv6::{Message, MessageType, Options};

/// Never panics; a message that is read is options to its last byte, and what is in an identity association lies in it.
pub(crate) fn check(bytes: &[u8]) {
    if let Some(kind) = bytes.first().copied().and_then(MessageType::from_number) {
        assert_eq!(Some(&kind.number()), bytes.first());
    }
    let Ok(message) = Message::read(bytes) else {
        return;
    };
    let lengths = message.options.map(|option| 4 + option.value.len());
    assert_eq!(4 + lengths.sum::<usize>(), bytes.len());
    let addresses: usize = message.ias().map(|ia| ia.addresses().count()).sum();
    assert!(addresses * 28 <= bytes.len());
    for option in message.options {
        assert!(message.options.first(option.code).is_some());
        let inner = Options::read(option.value).into_iter().flatten();
        assert!(inner.count() * 4 <= option.value.len());
    }
}
