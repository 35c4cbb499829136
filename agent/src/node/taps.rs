//! The node's TAPs as they were when they were looked at last, and what passed them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ifup::request::IfName;
use snf_events::agent::Traffic;

use super::round::{Finding, Standing};

/// One TAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whose it is, as far as that is known.
    pub instance: Option<String>,
    /// Which of the instance's NICs.
    pub index: Option<u32>,
    /// The NIC's hardware address.
    pub mac: Option<String>,
    /// A word of `snf-agent status`.
    pub standing: &'static str,
}

/// All TAPs, shared: the thread of looks writes, publisher and scrapers read.
#[derive(Debug, Default)]
pub struct Taps(Mutex<BTreeMap<IfName, Seen>>);

/// What the kernel tells of all devices: `/proc/net/dev`.
const DEVICES: &str = "/proc/net/dev";

impl Taps {
    /// The TAPs, for a moment.
    pub fn seen(&self) -> MutexGuard<'_, BTreeMap<IfName, Seen>> {
        // Whole entries are put in and taken out.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything was looked at.
    pub fn all(&self, findings: &[Finding]) {
        let all = findings.iter().filter_map(of).collect();
        *self.seen() = all;
    }

    /// Some were.
    pub fn some(&self, findings: &[Finding]) {
        let mut seen = self.seen();
        for finding in findings {
            match of(finding) {
                Some((tap, one)) => {
                    seen.insert(tap, one);
                }
                None => {
                    seen.remove(&finding.tap);
                }
            }
        }
    }
}

/// What was found of a TAP; nothing of one that is gone.
fn of(finding: &Finding) -> Option<(IfName, Seen)> {
    if finding.standing == Standing::Gone {
        return None;
    }
    let seen = Seen {
        instance: finding.instance.clone(),
        index: finding.index,
        mac: finding.mac.clone(),
        standing: finding.standing.label(),
    };
    Some((finding.tap.clone(), seen))
}

/// What passed each device of the process's network, **as its VM sees it**.
///
/// # Errors
/// The kernel does not tell.
pub fn traffic() -> io::Result<BTreeMap<String, Traffic>> {
    Ok(parse(&fs::read_to_string(DEVICES)?))
}

/// Two lines of headings, then `NAME: ` with eight numbers of what came in, and eight of what went out.
fn parse(text: &str) -> BTreeMap<String, Traffic> {
    let mut all = BTreeMap::new();
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .map_while(|number| number.parse().ok())
            .collect();
        let [
            from_bytes,
            from_packets,
            from_errors,
            from_dropped,
            _,
            _,
            _,
            _,
            to_bytes,
            to_packets,
            to_errors,
            to_dropped,
            ..,
        ] = numbers[..]
        else {
            continue;
        };
        // What comes in to the host at a TAP is what the VM sent.
        let traffic = Traffic {
            rx_bytes: to_bytes,
            rx_packets: to_packets,
            rx_errors: to_errors,
            rx_dropped: to_dropped,
            tx_bytes: from_bytes,
            tx_packets: from_packets,
            tx_errors: from_errors,
            tx_dropped: from_dropped,
        };
        all.insert(name.trim().to_owned(), traffic);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_gets_is_what_the_vm_sent() {
        let text = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  tap0:     100       2    3    4    0     0          0         0      500       6    7    8    0     0       0          0
  torn:     100       2
";
        let all = parse(text);
        assert_eq!(all.len(), 2);
        assert_eq!(
            all.get("tap0"),
            Some(&Traffic {
                rx_bytes: 500,
                rx_packets: 6,
                rx_errors: 7,
                rx_dropped: 8,
                tx_bytes: 100,
                tx_packets: 2,
                tx_errors: 3,
                tx_dropped: 4,
            })
        );
        assert_eq!(parse(""), BTreeMap::new());
    }
}
