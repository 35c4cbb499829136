//! Judges a TAP, from what snf-ifup recorded, what stands, and what Ganeti and its hooks say. Pure.
//!
//! Only what snf-ifup made is ours: a TAP with its record, of the device's own index. A record without a device is of a TAP
//! that is gone. Which NIC a TAP is, its hardware address tells: Ganeti numbers NICs anew when one is removed, and leaves
//! the files under `nic/` as they were (`hv_kvm.HotDelDevice`).

use std::fmt;

use ifup::element::Element;
use ifup::facts::Link;
use ifup::record::Record;
use ifup::request::{IfName, Variables};
use nfdhcpd_binding::{Binding, MacAddr};

use super::configured::{self, Pending};
use super::environment::Heard;
use super::observe::{Ganeti, Recorded};

/// What is to be done about a TAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is gone: what is left of it is taken away.
    Gone,
    /// It lives: it is to be as these variables say.
    Lives {
        /// Whose it is.
        instance: String,
        /// Number of the NIC.
        index: usize,
        /// What snf-ifup would be told today.
        variables: Variables,
        /// The instance's tags, where the call that made the TAP told them and no hook has since: worth keeping.
        learnt: Option<Learnt>,
        /// What is configured and takes effect at the instance's next start.
        pending: Vec<Pending>,
    },
    /// It is left as it is.
    Left(Why),
}

/// An instance's tags, as the call of snf-ifup that made a TAP told them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learnt {
    /// The tags.
    pub tags: Vec<String>,
    /// When, milliseconds since 1970.
    pub at: u64,
}

/// Why a TAP is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// There is no record: snf-ifup did not make it, or has not been called for it yet.
    NoRecord,
    /// The record is of a TAP that is gone, the device another's: the next `up` replaces what is left.
    OtherDevice,
    /// Ganeti's files name no NIC that this could be.
    NoNic,
}

impl Why {
    /// The label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoRecord => "no_record",
            Self::OtherDevice => "other_device",
            Self::NoNic => "no_nic",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRecord => "snf-ifup has no record of this device",
            Self::OtherDevice => "snf-ifup's record is of another device of this name",
            Self::NoNic => "Ganeti's files name no NIC that this could be",
        })
    }
}

/// What is known of one TAP.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its name.
    pub tap: &'a IfName,
    /// snf-ifup's record.
    pub recorded: Option<&'a Recorded>,
    /// The device.
    pub link: Option<&'a Link>,
    /// The binding that stands.
    pub binding: Option<&'a Binding>,
}

/// What is to be done about a TAP. `heard` looks up what the hooks said of an instance.
pub fn judge(
    known: &Known<'_>,
    ganeti: &Ganeti,
    heard: impl FnOnce(&str) -> Option<Heard>,
) -> Verdict {
    let Some(recorded) = known.recorded else {
        return Verdict::Left(Why::NoRecord);
    };
    let Some(link) = known.link else {
        return Verdict::Gone;
    };
    if link.index != recorded.record.ifindex {
        return Verdict::Left(Why::OtherDevice);
    }
    let Some((instance, index)) = nic_of(known, ganeti) else {
        return Verdict::Left(Why::NoNic);
    };
    let nics = ganeti
        .instances
        .get(instance)
        .map_or(&[][..], Vec::as_slice);
    let Some(nic) = nics.get(index) else {
        return Verdict::Left(Why::NoNic);
    };
    let heard = heard(instance);
    let (tags, is_news) = tags(heard.as_ref(), recorded.at, known.binding);
    let mut variables = nic.variables(instance, index, known.tap, &tags);
    let mut pending = Vec::new();
    // An older word is of an instance that has been started since.
    let news = heard.filter(|heard| heard.at >= recorded.at && !heard.is_of_ifup());
    if let Some(heard) = &news {
        if let Some(network) = configured::network(nic, heard) {
            variables.retain(|name, _| !name.starts_with("NETWORK_"));
            variables.extend(network.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        pending = configured::pending(nics, index, heard);
    }
    Verdict::Lives {
        instance: instance.to_owned(),
        index,
        variables,
        learnt: is_news.then_some(Learnt {
            tags,
            at: recorded.at,
        }),
        pending,
    }
}

/// Whether a binding's text is snf-ifup's: each byte of it, with the keys that it always writes. Of a device that is not
/// there and has no record, such a one was left by a reboot, or by somebody who took the records away.
#[must_use]
pub fn is_of_ifup(text: &str) -> bool {
    let binding: Option<Binding> = text.parse().ok();
    binding.is_some_and(|binding| {
        let written = binding.indev.is_some() && binding.hostname.is_some();
        written && binding.to_file().is_ok_and(|whole| whole == text)
    })
}

/// The instance's tags, and whether a binding was the first to tell them. A binding holds those of the call that made the
/// TAP: tags changed on a stopped instance are told by no hook, but by the call that starts it. Ganeti gives tags in no
/// order: the same tags in another order are the binding's.
fn tags(heard: Option<&Heard>, recorded_at: u64, binding: Option<&Binding>) -> (Vec<String>, bool) {
    let is_old = heard.is_none_or(|heard| heard.tags_at() < recorded_at);
    match (heard, binding) {
        (_, Some(binding)) if is_old => (binding.tags.clone(), true),
        (Some(heard), Some(binding)) if same(&binding.tags, &heard.tags) => {
            (binding.tags.clone(), false)
        }
        (Some(heard), _) => (heard.tags.clone(), false),
        (None, _) => (Vec::new(), false),
    }
}

fn same(left: &[String], right: &[String]) -> bool {
    let sorted = |tags: &[String]| {
        let mut tags = tags.to_vec();
        tags.sort();
        tags
    };
    sorted(left) == sorted(right)
}

/// Which NIC of which instance a TAP is: by the hardware address that its record, its device or its binding tell, and
/// failing these by the file under `nic/`, where the instance's NICs were never renumbered.
#[must_use]
pub fn nic_of<'a>(known: &Known<'_>, ganeti: &'a Ganeti) -> Option<(&'a str, usize)> {
    let record = known.recorded.map(|recorded| &recorded.record);
    let evidence: [Option<Evidence>; 3] = [
        record.and_then(source).map(Evidence::Whole),
        known.link.map(|link| Evidence::Port(link.address)),
        known.binding.map(|binding| Evidence::Whole(binding.mac)),
    ];
    let by_address = evidence.iter().flatten().find_map(|evidence| {
        ganeti.instances.iter().find_map(|(instance, nics)| {
            let index = nics
                .iter()
                .position(|nic| nic.mac.parse().is_ok_and(|mac| evidence.is_of(mac)))?;
            Some((instance.as_str(), index))
        })
    });
    by_address.or_else(|| by_file(known.tap, ganeti))
}

/// What tells a VM's hardware address.
enum Evidence {
    /// The address itself.
    Whole(MacAddr),
    /// The address of a bridged TAP: the VM's with another first byte.
    Port(MacAddr),
}

impl Evidence {
    fn is_of(&self, mac: MacAddr) -> bool {
        match self {
            Self::Whole(address) => *address == mac,
            Self::Port(address) => {
                let ([first, port @ ..], [_, rest @ ..]) = (address.octets(), mac.octets());
                first == 0xfe && port == rest
            }
        }
    }
}

/// The hardware address a `private-filtered` TAP may send from.
fn source(record: &Record) -> Option<MacAddr> {
    record.elements.iter().find_map(|element| match element {
        Element::Source(_, mac) => Some(*mac),
        Element::Filtered(_)
        | Element::Network(..)
        | Element::OwnPrefix(..)
        | Element::Routed(_)
        | Element::Source4(..)
        | Element::Source6(..)
        | Element::Gateway(..) => None,
    })
}

/// By number, if the instance's files are numbered 0 to n − 1 as its NICs are.
fn by_file<'a>(tap: &IfName, ganeti: &'a Ganeti) -> Option<(&'a str, usize)> {
    let (instance, index) = ganeti.taps.get(tap)?;
    let nics = ganeti.instances.get(instance)?.len();
    let numbers = ganeti.taps.values().filter(|(whose, _)| whose == instance);
    let mut numbers: Vec<usize> = numbers.map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    numbers
        .iter()
        .copied()
        .eq(0..nics)
        .then_some((instance.as_str(), *index))
}

#[cfg(test)]
mod tests;
