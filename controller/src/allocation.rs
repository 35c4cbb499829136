//! Which cluster a server goes to, and which addresses it gets. Pure: what is free is told, rows hold what was chosen.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use nfdhcpd_binding::MacAddr;
use serde::{Deserialize, Serialize};

/// A cluster that a server could go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its row.
    pub backend: i64,
    /// Neither drained nor offline.
    pub is_open: bool,
    /// Templates it can store disks by.
    pub disk_templates: Vec<String>,
    /// MiB of its nodes.
    pub memory_total: i64,
    /// MiB.
    pub memory_free: i64,
    /// MiB.
    pub disk_total: i64,
    /// MiB.
    pub disk_free: i64,
    /// Processors.
    pub cpu_total: i64,
    /// Instances.
    pub instances: i64,
}

/// What a server needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need<'a> {
    /// MiB.
    pub ram: i64,
    /// GiB.
    pub disk: i64,
    /// How its disks are stored.
    pub disk_template: &'a str,
}

/// Virtual processors that an instance is counted as, and that a processor carries: only a measure of how full a cluster is.
const VCPUS_PER_INSTANCE: f64 = 4.0;
const VCPUS_PER_CPU: f64 = 3.0;
const MIB_PER_GIB: i64 = 1024;

impl Need<'_> {
    /// MiB on disks: DRBD writes all twice.
    const fn disk_mib(self) -> i64 {
        let copies = if self.disk_template.eq_ignore_ascii_case("drbd") {
            2
        } else {
            1
        };
        self.disk * MIB_PER_GIB * copies
    }
}

impl Candidate {
    /// Ganeti knows every external provider as `ext`.
    fn stores(&self, template: &str) -> bool {
        let template = template.split('_').next().unwrap_or_default();
        self.disk_templates.iter().any(|known| known == template)
    }

    fn has_room(&self, need: Need<'_>) -> bool {
        self.disk_free > need.disk_mib() && self.memory_free > need.ram && self.cpu_load() < 1.0
    }

    fn cpu_load(&self) -> f64 {
        if self.cpu_total == 0 {
            return 1.0;
        }
        (self.instances + 1) as f64 * VCPUS_PER_INSTANCE / (self.cpu_total as f64 * VCPUS_PER_CPU)
    }

    /// How full it is: processors count as much as memory and disk together.
    fn fullness(&self) -> f64 {
        let used = |free: i64, total: i64| match total {
            0 => 0.0,
            total => 1.0 - free as f64 / total as f64,
        };
        let memory = used(self.memory_free, self.memory_total);
        let disk = used(self.disk_free, self.disk_total);
        0.5f64.mul_add(self.cpu_load(), 0.5 * (memory + disk))
    }
}

/// The cluster that is least full, among those that have room, or when none has, among all that are open: Ganeti itself says
/// no where it must. `None`: none is open that stores disks so.
#[must_use]
pub fn choose_backend(candidates: &[Candidate], need: Need<'_>) -> Option<i64> {
    let able = |candidate: &&Candidate| candidate.is_open && candidate.stores(need.disk_template);
    let able: Vec<&Candidate> = candidates.iter().filter(able).collect();
    let roomy: Vec<&Candidate> = able
        .iter()
        .copied()
        .filter(|each| each.has_room(need))
        .collect();
    let among = if roomy.is_empty() { able } else { roomy };
    let least = among
        .into_iter()
        .min_by(|one, other| one.fullness().total_cmp(&other.fullness()));
    least.map(|candidate| candidate.backend)
}

/// A range that addresses are taken from, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The lowest.
    pub start: IpAddr,
    /// The highest.
    pub end: IpAddr,
}

/// Why pools cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// An end is not in the prefix, or above the other.
    #[error("the pool {start}-{end} is not in {cidr}")]
    Outside {
        /// As it was asked for.
        start: IpAddr,
        /// As it was asked for.
        end: IpAddr,
        /// The subnet's prefix.
        cidr: IpNet,
    },
    /// Two have an address in common.
    #[error("the pools overlap at {0}")]
    Overlap(IpAddr),
    /// The router's address would be given to a server.
    #[error("the gateway {0} is in a pool")]
    Gateway(IpAddr),
}

/// All hosts' addresses of an IPv4 prefix but the router's, as one or two ranges.
#[must_use]
pub fn default_pools(cidr: Ipv4Net, gateway: Option<Ipv4Addr>) -> Vec<Pool> {
    let (network, broadcast) = (u32::from(cidr.network()), u32::from(cidr.broadcast()));
    let (low, high) = if cidr.prefix_len() >= 31 {
        (network, broadcast)
    } else {
        (network + 1, broadcast - 1)
    };
    let ranges = match gateway
        .map(u32::from)
        .filter(|gateway| (low..=high).contains(gateway))
    {
        None => vec![(low, high)],
        Some(gateway) => {
            let below = (gateway > low).then(|| (low, gateway - 1));
            let above = (gateway < high).then(|| (gateway + 1, high));
            below.into_iter().chain(above).collect()
        }
    };
    let pool = |(start, end): (u32, u32)| Pool {
        start: Ipv4Addr::from(start).into(),
        end: Ipv4Addr::from(end).into(),
    };
    ranges.into_iter().map(pool).collect()
}

/// Whether these pools can be a subnet's.
///
/// # Errors
/// See [`PoolError`].
pub fn check_pools(pools: &[Pool], cidr: IpNet, gateway: Option<IpAddr>) -> Result<(), PoolError> {
    let mut sorted = pools.to_vec();
    sorted.sort_by_key(|pool| pool.start);
    for pool in &sorted {
        let Pool { start, end } = *pool;
        if !cidr.contains(&start) || !cidr.contains(&end) || start > end {
            return Err(PoolError::Outside { start, end, cidr });
        }
        if let Some(gateway) = gateway.filter(|gateway| (start..=end).contains(gateway)) {
            return Err(PoolError::Gateway(gateway));
        }
    }
    for pair in sorted.windows(2) {
        if let [one, other] = pair
            && other.start <= one.end
        {
            return Err(PoolError::Overlap(other.start));
        }
    }
    Ok(())
}

/// The lowest IPv4 address of the pools that is not taken.
#[must_use]
pub fn free_address(pools: &[Pool], taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    pools.iter().find_map(|pool| {
        let (IpAddr::V4(start), IpAddr::V4(end)) = (pool.start, pool.end) else {
            return None;
        };
        // Taken ones are walked in step: what is not next among them is free.
        let mut next = u32::from(start);
        for address in taken.range(start..=end) {
            if u32::from(*address) > next {
                break;
            }
            next = u32::from(*address).checked_add(1)?;
        }
        (next <= u32::from(end)).then(|| Ipv4Addr::from(next))
    })
}

/// A hardware address: a network's three octets, and 24 bits by chance. Whether it is taken, the rows' index tells.
#[must_use]
pub const fn mac(prefix: [u8; 3], chance: u32) -> MacAddr {
    let [_, x, y, z] = chance.to_be_bytes();
    let [a, b, c] = prefix;
    MacAddr([a, b, c, x, y, z])
}

#[cfg(test)]
mod tests;
