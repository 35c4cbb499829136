//! Reading QEMU's record of a network card (`filter-dump`), a file in libpcap's classic form.
//!
//! It is the only place where all of a guest's frames can be seen: nfdhcpd's replies pass the queueing discipline by,
//! and with it every packet socket on the TAP.

use std::time::{Duration, SystemTime};

use nfdhcpd_binding::MacAddr;

use crate::frame::{Direction, Frame};

/// Bytes before the first record, and before each record's frame.
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// The whole frames of a record that may still be growing. Those from `guest` were asked, all others answered.
#[must_use]
pub fn frames(file: &[u8], guest: MacAddr) -> Vec<Frame> {
    let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
    let mut frames = Vec::new();
    while let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) {
        let number = |at: usize| {
            let bytes = header
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            u32::from_ne_bytes(bytes.unwrap_or_default())
        };
        let (seconds, microseconds, length) = (number(0), number(4), number(8));
        let Some((frame, after)) = usize::try_from(length)
            .ok()
            .and_then(|length| after.split_at_checked(length))
        else {
            break;
        };
        rest = after;
        let frame = without_virtio_header(frame);
        let own = frame.get(6..12) == Some(&guest.octets()[..]);
        let at = Duration::from_secs(seconds.into()) + Duration::from_micros(microseconds.into());
        frames.push(Frame {
            at: SystemTime::UNIX_EPOCH + at,
            direction: if own {
                Direction::Asked
            } else {
                Direction::Answered
            },
            partial_checksum: false,
            bytes: frame.to_vec(),
        });
    }
    frames
}

/// QEMU writes the frame with its virtio header, where the card has one: of 12 bytes when the driver merges buffers,
/// else of 10.
fn without_virtio_header(bytes: &[u8]) -> &[u8] {
    let ethernet = |frame: &&[u8]| matches!(frame.get(12..14), Some([8, 0 | 6] | [0x86, 0xdd]));
    [12, 10]
        .into_iter()
        .filter_map(|header| bytes.get(header..))
        .find(ethernet)
        .unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(frame: &[u8]) -> Vec<u8> {
        let length = u32::try_from(frame.len()).unwrap();
        let header = [7, 42, length, length].map(u32::to_ne_bytes).concat();
        [header, frame.to_vec()].concat()
    }

    #[test]
    fn tells_who_sent_and_when_and_waits_for_the_rest() {
        let guest = MacAddr([2, 0, 0, 0, 0, 1]);
        let asked = [&[0xff; 6], &guest.octets()[..], &[8, 0], b"ask"].concat();
        let answered = [&guest.octets()[..], &[2; 6], &[0x86, 0xdd], b"answer"].concat();
        let with_header = [&[0; 12], &answered[..]].concat();
        let whole = [vec![0; FILE_HEADER], record(&asked), record(&with_header)].concat();
        let read = frames(&whole, guest);
        let directions: Vec<_> = read.iter().map(|frame| frame.direction).collect();
        assert_eq!(directions, [Direction::Asked, Direction::Answered]);
        assert_eq!(read[1].bytes, answered);
        assert_eq!(
            read[0].at,
            SystemTime::UNIX_EPOCH + Duration::new(7, 42_000)
        );
        let cut = &whole[..whole.len() - 1];
        assert_eq!(frames(cut, guest).len(), 1);
        assert!(frames(&[], guest).is_empty());
    }
}
