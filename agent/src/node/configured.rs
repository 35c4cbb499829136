//! What Ganeti has configured of a NIC, as a hook told it, against what the running instance has. Pure.
//!
//! What was configured without hotplug takes effect at the instance's next start: until then its NICs are as its runtime
//! file has them. Only what a network is like is not the NIC's own: that holds as soon as a hook tells it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::environment::Heard;
use super::runtime::Nic;

/// A NIC as a hook told it: what stands behind `GANETI_INSTANCE_NIC<n>_`, by the rest of the name.
pub type Configured = BTreeMap<String, String>;

/// Something that takes effect at the instance's next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// `ip`, `mac`, `mode`, `link`, `vlan`, `network`, or `NIC <n>` for one that comes or goes as a whole.
    pub what: String,
    /// What the running instance has; `none` where it has nothing.
    pub from: String,
    /// What it will have.
    pub to: String,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.what, self.from, self.to)
    }
}

/// What a network is like, of a NIC that is still in the network it was made in and attached as it was; `None` when it is
/// not, or in no network.
#[must_use]
pub fn network<'a>(
    nic: &Nic,
    heard: &'a Heard,
) -> Option<impl Iterator<Item = (&'a str, &'a str)>> {
    let configured = of(nic, heard)?;
    nic.network.as_ref()?;
    let stays = ["network", "mode", "link", "vlan"];
    let moves = differences(nic, configured).any(|pending| stays.contains(&pending.what.as_str()));
    let network = configured
        .iter()
        .filter(|(name, _)| name.starts_with("NETWORK_"));
    (!moves).then(|| network.map(|(name, value)| (name.as_str(), value.as_str())))
}

/// What takes effect for the NIC of this number, and what NICs come, at the next start.
#[must_use]
pub fn pending(nics: &[Nic], index: usize, heard: &Heard) -> Vec<Pending> {
    let mut pending = Vec::new();
    if let Some(nic) = nics.get(index) {
        match of(nic, heard) {
            Some(configured) => pending.extend(differences(nic, configured)),
            None => pending.push(Pending {
                what: format!("NIC {index}"),
                from: nic.mac.clone(),
                to: NONE.to_owned(),
            }),
        }
    }
    for (number, configured) in heard.nics.iter().enumerate() {
        if !nics.iter().any(|nic| is(nic, configured)) {
            pending.push(Pending {
                what: format!("NIC {number}"),
                from: NONE.to_owned(),
                to: shown(value(configured, "MAC")),
            });
        }
    }
    pending
}

/// The NIC among those that the hook told.
fn of<'a>(nic: &Nic, heard: &'a Heard) -> Option<&'a Configured> {
    heard.nics.iter().find(|configured| is(nic, configured))
}

/// By UUID; where one has none, by hardware address.
fn is(nic: &Nic, configured: &Configured) -> bool {
    match (&nic.uuid, value(configured, "UUID")) {
        (Some(uuid), Some(told)) => uuid == told,
        _ => value(configured, "MAC") == Some(&nic.mac),
    }
}

fn differences<'a>(nic: &'a Nic, configured: &'a Configured) -> impl Iterator<Item = Pending> + 'a {
    let parameters = &nic.nicparams;
    let some = |value: &'a Option<String>| value.as_deref().filter(|value| !value.is_empty());
    let own = [
        ("mac", Some(nic.mac.as_str()), "MAC"),
        ("ip", some(&nic.ip), "IP"),
        ("mode", Some(parameters.mode.as_str()), "MODE"),
        ("link", some(&parameters.link), "LINK"),
        ("vlan", some(&parameters.vlan), "VLAN"),
    ];
    let own = own.into_iter().filter_map(|(what, from, variable)| {
        let to = value(configured, variable);
        (from != to).then(|| Pending {
            what: what.to_owned(),
            from: shown(from),
            to: shown(to),
        })
    });
    let moves = nic.network.as_deref() != value(configured, "NETWORK_UUID");
    let network = moves.then(|| Pending {
        what: "network".to_owned(),
        from: shown(nic.netinfo.as_ref().map(|network| network.name.as_str())),
        to: shown(value(configured, "NETWORK_NAME")),
    });
    own.chain(network)
}

const NONE: &str = "none";

fn shown(value: Option<&str>) -> String {
    value.unwrap_or(NONE).to_owned()
}

fn value<'a>(configured: &'a Configured, variable: &str) -> Option<&'a str> {
    let value = configured.get(variable).map(String::as_str);
    value.filter(|value| !value.is_empty())
}
