//! Which TAP is served what: the table the packet threads look into. A packet's second step.
//!
//! A table is never changed: a new one takes its place, so that threads read without a lock.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use crate::policer::{Bucket, Policy};
use crate::responder::Served;
use crate::story::Story;

/// What one TAP is served.
#[derive(Debug)]
pub struct Port {
    /// The TAP's interface index.
    pub tap: u32,
    /// The answers.
    pub served: Served,
    /// The addresses, for people.
    pub addresses: Addresses,
    /// What outlives a new binding of the same TAP.
    pub record: Arc<Record>,
}

/// The addresses a binding gives, for people: the answers hold them encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Addresses {
    /// DHCPv4's.
    pub ip: Option<Ipv4Addr>,
    /// DHCPv6's, or the one the VM forms itself.
    pub ip6: Option<Ipv6Addr>,
}

/// What is kept of a TAP for as long as it exists.
#[derive(Debug, Default)]
pub struct Record {
    /// Its token bucket.
    pub bucket: Bucket,
    /// What its VM asked and got.
    pub story: Story,
    /// An advertisement to all nodes is asked for and not yet seen to.
    pub advertise: AtomicBool,
    /// When the VM's last decline was reported, seconds of the packet threads' clock and one; 0 = never.
    pub decline_reported: AtomicU32,
    /// When its last router solicitation was passed on to the network; likewise.
    pub passed_on: AtomicU32,
}

/// All TAPs that are served, and how fast each may ask.
#[derive(Debug, Clone)]
pub struct Ports {
    by_index: HashMap<u32, Arc<Port>, BuildHasherDefault<IndexHasher>>,
    /// The rate of every TAP's bucket.
    pub policy: Policy,
}

impl Ports {
    /// Nobody is served.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            by_index: HashMap::default(),
            policy,
        }
    }

    /// What the TAP of this interface index is served.
    #[must_use]
    pub fn find(&self, tap: u32) -> Option<&Arc<Port>> {
        self.by_index.get(&tap)
    }

    /// Serves a TAP, in the place of what it was served before.
    pub fn serve(&mut self, port: Port) {
        self.by_index.insert(port.tap, Arc::new(port));
    }

    /// Serves a TAP no more; what it was served.
    pub fn withdraw(&mut self, tap: u32) -> Option<Arc<Port>> {
        self.by_index.remove(&tap)
    }

    /// How many TAPs are served.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_index.len()
    }

    /// True when nobody is served.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_index.is_empty()
    }

    /// All that are served, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Port>> {
        self.by_index.values()
    }
}

/// Interface indexes are small and dense, and no VM chooses them: multiplication spreads them well enough.
#[derive(Debug, Default)]
struct IndexHasher(u64);

impl Hasher for IndexHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(32);
    }
}
