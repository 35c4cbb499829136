//! What must hold for any bytes in a binding file.

use nfdhcpd_binding::Binding;

/// Never panics; what is read is written so that it is read as the same again, without a line that has no effect; what
/// is refused is refused in one line.
pub(crate) fn check(bytes: &[u8]) {
    match Binding::read_bytes(bytes) {
        Ok(file) => {
            let written = file.binding.to_file();
            assert!(written.is_ok(), "{written:?} of {:?}", file.binding);
            let again = Binding::read_bytes(written.unwrap_or_default().as_bytes());
            assert_eq!(
                again.as_ref().map(|again| &again.binding),
                Ok(&file.binding)
            );
            assert_eq!(again.map(|again| again.ignored), Ok(Vec::new()));
            for line in file.ignored {
                assert!(is_one_line(&line.to_string()));
            }
        }
        Err(error) => assert!(is_one_line(&error.to_string())),
    }
}

fn is_one_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control() || c == '\u{2028}')
}
