//! A hook's environment → [`Told`]: what it says of one instance.
//!
//! Names and values come from users by way of Ganeti: each is checked, and what is not as Ganeti writes it is refused whole.
//! In the post phase the `GANETI_POST_*` variables tell the configuration after the operation; the others, before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What hooks said of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The instance's name.
    pub instance: String,
    /// The hook that said it, as `instance-modify`.
    pub hook: String,
    /// When, milliseconds since 1970.
    pub at: u64,
    /// The node it runs on.
    pub primary: Option<String>,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// When the call of snf-ifup that made a TAP told the tags, later than the hook, milliseconds since 1970.
    #[serde(default)]
    pub tags_learnt: Option<u64>,
    /// Its NICs in Ganeti's order: what stands behind `GANETI_INSTANCE_NIC<n>_`, by the rest of the name.
    pub nics: Vec<BTreeMap<String, String>>,
}

/// In the place of a hook's name: all that is known came from calls of snf-ifup.
pub const IFUP: &str = "snf-ifup";

impl Heard {
    /// Whether no hook has spoken yet: only the tags are known.
    #[must_use]
    pub fn is_of_ifup(&self) -> bool {
        self.hook == IFUP
    }

    /// When the tags were told.
    #[must_use]
    pub fn tags_at(&self) -> u64 {
        self.tags_learnt.unwrap_or(self.at)
    }
}

/// What is to be done with what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Keep it.
    Keep(Heard),
    /// Keep it in place of what was known under another name.
    Rename {
        /// The name before.
        from: String,
        /// What is known of it under its new name.
        to: Heard,
    },
    /// The instance is gone.
    Forget(String),
}

/// Why an environment is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than is read, or cut off.
    #[error("not whole: {got} of {announced} bytes, at most {MESSAGE_MAX}")]
    NotWhole {
        /// What the message says of itself.
        announced: usize,
        /// What came.
        got: usize,
    },
    /// Not a hook's, or not one we are installed for.
    #[error("{variable}={value:?}: not a hook that the agent is told by")]
    NotOurs {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// A variable that must be there is not.
    #[error("{0} is not set")]
    Missing(String),
    /// A value is not as Ganeti writes it.
    #[error("{variable}: {reason}")]
    Malformed {
        /// The variable.
        variable: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Refusal {
    /// The label in the metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotWhole { .. } => "not_whole",
            Self::NotOurs { .. } => "not_ours",
            Self::Missing(_) => "missing",
            Self::Malformed { .. } => "malformed",
        }
    }
}

/// Longest environment that is read, bytes: Ganeti's are some ten thousand.
pub const MESSAGE_MAX: usize = 1 << 20;
/// Most NICs of an instance: Ganeti's own limit is 8.
const NICS_MAX: usize = 64;
/// Longest value that is kept, bytes.
const VALUE_MAX: usize = 64 << 10;

/// The hooks we are installed for (`GANETI_HOOKS_PATH`).
const HOOKS: [&str; 9] = [
    "instance-add",
    "instance-failover",
    "instance-migrate",
    "instance-modify",
    "instance-reboot",
    "instance-remove",
    "instance-rename",
    "instance-start",
    "instance-stop",
];

/// What is kept of each NIC.
const OF_A_NIC: [&str; 16] = [
    "BRIDGE",
    "IP",
    "LINK",
    "MAC",
    "MODE",
    "NAME",
    "NETWORK_GATEWAY",
    "NETWORK_GATEWAY6",
    "NETWORK_MAC_PREFIX",
    "NETWORK_NAME",
    "NETWORK_SUBNET",
    "NETWORK_SUBNET6",
    "NETWORK_TAGS",
    "NETWORK_UUID",
    "UUID",
    "VLAN",
];

/// Reads `NAME=value` and a zero byte for each variable. `at`: milliseconds since 1970.
///
/// # Errors
/// See [`Refusal`].
pub fn told(body: &[u8], at: u64) -> Result<Told, Refusal> {
    let given = Given::new(body);
    let hook = given.one_of("GANETI_HOOKS_PATH", &HOOKS)?;
    given.one_of("GANETI_HOOKS_PHASE", &["post"])?;
    given.one_of("GANETI_HOOKS_VERSION", &["2"])?;
    let before = given.instance("GANETI_INSTANCE_NAME")?;
    if hook == "instance-remove" {
        return Ok(Told::Forget(before));
    }
    let has_after = given.text("GANETI_POST_INSTANCE_NIC_COUNT")?.is_some();
    let prefix = if has_after { "GANETI_POST_" } else { "GANETI_" };
    let of = |name: &str| format!("{prefix}INSTANCE_{name}");
    let mut tags: Vec<String> = given
        .text(&of("TAGS"))?
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    tags.sort();
    let heard = Heard {
        hook: hook.to_owned(),
        at,
        primary: given.text(&of("PRIMARY"))?.map(str::to_owned),
        tags,
        tags_learnt: None,
        nics: given.nics(&of)?,
        instance: before.clone(),
    };
    if hook == "instance-rename" {
        let instance = given.instance("GANETI_INSTANCE_NEW_NAME")?;
        let to = Heard { instance, ..heard };
        return Ok(Told::Rename { from: before, to });
    }
    Ok(Told::Keep(heard))
}

/// Whether this can be an instance's name, and so a file's: Ganeti's are host names.
#[must_use]
pub fn is_instance_name(name: &str) -> bool {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=253).contains(&name.len()) && !name.starts_with(['.', '-']) && name.bytes().all(sound)
}

/// The variables; of one given twice, the first counts.
struct Given<'a>(BTreeMap<&'a [u8], &'a [u8]>);

impl<'a> Given<'a> {
    fn new(body: &'a [u8]) -> Self {
        let mut variables = BTreeMap::new();
        for variable in body.split(|byte| *byte == 0) {
            if let Some(at) = variable.iter().position(|byte| *byte == b'=')
                && let (Some(name), Some(value)) = (variable.get(..at), variable.get(at + 1..))
            {
                variables.entry(name).or_insert(value);
            }
        }
        Self(variables)
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let Some(value) = self.0.get(name.as_bytes()) else {
            return Ok(None);
        };
        let malformed = |reason| Refusal::Malformed {
            variable: name.to_owned(),
            reason,
        };
        if value.len() > VALUE_MAX {
            return Err(malformed("too long"));
        }
        let text = std::str::from_utf8(value).map_err(|_| malformed("not UTF-8"))?;
        if text.chars().any(char::is_control) {
            return Err(malformed("holds a control character"));
        }
        Ok(Some(text))
    }

    fn required(&self, name: &str) -> Result<&'a str, Refusal> {
        self.text(name)?
            .ok_or_else(|| Refusal::Missing(name.to_owned()))
    }

    fn one_of(&self, variable: &'static str, words: &[&str]) -> Result<&'a str, Refusal> {
        let value = self.required(variable)?;
        if words.contains(&value) {
            return Ok(value);
        }
        let value = value.chars().take(80).collect();
        Err(Refusal::NotOurs { variable, value })
    }

    fn instance(&self, variable: &str) -> Result<String, Refusal> {
        let name = self.required(variable)?;
        if is_instance_name(name) {
            return Ok(name.to_owned());
        }
        Err(Refusal::Malformed {
            variable: variable.to_owned(),
            reason: "not an instance's name",
        })
    }

    fn nics(&self, of: &impl Fn(&str) -> String) -> Result<Vec<BTreeMap<String, String>>, Refusal> {
        let variable = of("NIC_COUNT");
        let count: Option<usize> = self.required(&variable)?.parse().ok();
        let Some(count) = count.filter(|count| *count <= NICS_MAX) else {
            return Err(Refusal::Malformed {
                variable,
                reason: "not a number of NICs",
            });
        };
        let mut nics = Vec::with_capacity(count);
        for index in 0..count {
            let mut nic = BTreeMap::new();
            for key in OF_A_NIC {
                if let Some(value) = self.text(&of(&format!("NIC{index}_{key}")))? {
                    nic.insert(key.to_owned(), value.to_owned());
                }
            }
            if !nic.contains_key("MAC") {
                return Err(Refusal::Missing(of(&format!("NIC{index}_MAC"))));
            }
            nics.push(nic);
        }
        Ok(nics)
    }
}

#[cfg(test)]
mod tests;
