//! What is on its way over one connection: messages sent and not settled, and those to be sent again. Holds numbers only.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::PAUSE_MAX;

/// Messages on their way at once.
pub(super) const WINDOW: usize = 64;

/// The first pause before a message is sent again.
const PAUSE: Duration = Duration::from_millis(500);

/// Numbers of messages, and how they stand.
#[derive(Debug, Default)]
pub(super) struct Flight {
    read: u64,
    open: BTreeMap<u64, Open>,
    sent: usize,
    returned: bool,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    attempts: u32,
    standing: Standing,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    Sent { at: Instant },
    Waits { until: Instant },
}

impl Flight {
    /// Up to here the spool was read.
    pub(super) const fn read(&self) -> u64 {
        self.read
    }

    pub(super) const fn has_read(&mut self, number: u64) {
        self.read = number;
    }

    pub(super) const fn on_their_way(&self) -> usize {
        self.sent
    }

    /// Those that are to be sent again by now, as many as there is room for.
    pub(super) fn due(&self) -> Vec<u64> {
        let now = Instant::now();
        let due = self
            .open
            .iter()
            .filter(|(_, open)| matches!(open.standing, Standing::Waits { until } if until <= now));
        let room = WINDOW.saturating_sub(self.sent);
        due.map(|(number, _)| *number).take(room).collect()
    }

    pub(super) fn sent(&mut self, number: u64) {
        let standing = Standing::Sent { at: Instant::now() };
        let fresh = Open {
            attempts: 0,
            standing,
        };
        self.open.entry(number).or_insert(fresh).standing = standing;
        self.sent += 1;
    }

    /// It is to be sent again, after a pause; true the first time.
    pub(super) fn again(&mut self, number: u64, returned: bool) -> bool {
        self.returned |= returned;
        let Some(open) = self.open.get_mut(&number) else {
            return false;
        };
        if let Standing::Sent { .. } = open.standing {
            self.sent -= 1;
        }
        let pause = PAUSE * 2_u32.saturating_pow(open.attempts.min(10));
        open.attempts += 1;
        open.standing = Standing::Waits {
            until: Instant::now() + pause.min(PAUSE_MAX),
        };
        open.attempts == 1
    }

    /// It is through, or waits no more.
    pub(super) fn forget(&mut self, number: u64) {
        if let Some(open) = self.open.remove(&number)
            && let Standing::Sent { .. } = open.standing
        {
            self.sent -= 1;
        }
    }

    /// When the oldest was sent that is not settled.
    pub(super) fn oldest_sent(&self) -> Option<Instant> {
        let sent = self.open.values().filter_map(|open| match open.standing {
            Standing::Sent { at } => Some(at),
            Standing::Waits { .. } => None,
        });
        sent.min()
    }

    /// Those that were sent and are not settled.
    pub(super) fn numbers_sent(&self) -> impl Iterator<Item = u64> {
        let sent = self
            .open
            .iter()
            .filter(|(_, open)| matches!(open.standing, Standing::Sent { .. }));
        sent.map(|(number, _)| *number)
    }

    /// When the next is to be sent again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        let waits = self.open.values().filter_map(|open| match open.standing {
            Standing::Waits { until } => Some(until),
            Standing::Sent { .. } => None,
        });
        waits.min()
    }

    /// True once after a message was returned.
    pub(super) const fn returned_anew(&mut self) -> bool {
        std::mem::replace(&mut self.returned, false)
    }
}
