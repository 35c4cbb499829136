//! What must hold for any bytes in a binding file.

use nfdhcpd_binding::Binding;

/// Never panics; a binding that is read is written so that it is read as the same again.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(binding) = text.parse::<Binding>() {
        assert_eq!(binding.to_string().parse(), Ok(binding));
    }
}
