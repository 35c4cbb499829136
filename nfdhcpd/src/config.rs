//! nfdhcpd's configuration: one TOML file, read at start and at SIGHUP.
//!
//! `file::File` is the text's shape with every default in one place, `Config` the checked values. Key by key in
//! `docs/nfdhcpd.md`. A binding's own keys win over what is configured here.

mod file;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use nfdhcpd_binding::{DomainName, MacAddr, Mode6, limits};

pub use file::{Dhcpv4File, Dhcpv6File, File, QueuesFile, RaFile, RateFile};

use crate::responder::{Dhcpv4Settings, Dhcpv6Settings, RaSettings, Settings};
use crate::rules::plan::Mark;
use crate::wire::Protocol;

/// Where the configuration is looked for when the command line names no other.
pub const DEFAULT_PATH: &str = "/etc/nfdhcpd/nfdhcpd.toml";

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of binding files.
    pub bindings: PathBuf,
    /// Directory of the control socket and of the record of claims.
    pub runtime: PathBuf,
    /// The user the daemon becomes; `None` = it stays root without root's capabilities.
    pub user: Option<String>,
    /// Where the metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Who brings packets into the queues.
    pub rules: Rules,
    /// What becomes of queued packets of a TAP without a binding, with external rules.
    pub unserved: Absent,
    /// How marked packets name their TAP, with managed rules.
    pub mark: Mark,
    /// The queues.
    pub queues: Queues,
    /// What one TAP may ask.
    pub rate: Rate,
    /// What the kernel lets one TAP ask, per protocol.
    pub kernel_rate: Rate,
    /// What the answers depend on.
    pub settings: Settings,
}

/// Who brings packets into the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// We, for the TAPs that have a binding.
    Managed {
        /// What happens while we are absent.
        on_absent: Absent,
    },
    /// The operator's own rules.
    External,
}

/// What becomes of packets nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// They go nowhere.
    Drop,
    /// They go on, as if there were no nfdhcpd.
    Pass,
}

/// NFQUEUE numbers: each protocol's range starts at its number and is `shards` long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queues {
    /// First queue of DHCPv4.
    pub dhcpv4: u16,
    /// First queue of router solicitations.
    pub rs: u16,
    /// First queue of neighbour solicitations.
    pub ns: u16,
    /// First queue of DHCPv6.
    pub dhcpv6: u16,
    /// Queues per protocol, at least 1.
    pub shards: u16,
    /// Packets a queue holds.
    pub length: u32,
}

impl Queues {
    /// The protocols with the first queue of each.
    #[must_use]
    pub const fn first(&self) -> [(Protocol, u16); 4] {
        [
            (Protocol::Dhcpv4, self.dhcpv4),
            (Protocol::RouterSolicitation, self.rs),
            (Protocol::NeighborSolicitation, self.ns),
            (Protocol::Dhcpv6, self.dhcpv6),
        ]
    }
}

/// A token bucket's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Packets per second, at least 1.
    pub per_second: u32,
    /// Packets at once, at least 1.
    pub burst: u32,
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("configuration {}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value out of range.
    #[error("configuration {}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key, which value, why.
        source: ValueError,
    },
}

/// A value that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {reason}")]
pub struct ValueError {
    /// The key, with its section.
    pub key: &'static str,
    /// The value as written.
    pub value: String,
    /// What it must be.
    pub reason: String,
}

impl ValueError {
    fn new(key: &'static str, value: impl ToString, reason: impl ToString) -> Self {
        Self {
            key,
            value: value.to_string(),
            reason: reason.to_string(),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML of our shape, or has a value out of range.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Checks a file's text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Self::try_from(file).map_err(|source| ConfigError::Value {
            path: path.to_owned(),
            source,
        })
    }

    /// Keys whose new value in `new` only a restart brings into force.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        let mut differs = |key, is: bool| {
            if is {
                keys.push(key);
            }
        };
        differs("bindings", self.bindings != new.bindings);
        differs("runtime", self.runtime != new.runtime);
        differs("user", self.user != new.user);
        differs("metrics", self.metrics != new.metrics);
        differs("rules, on_absent", self.rules != new.rules);
        differs("unserved", self.unserved != new.unserved);
        differs("mark", self.mark != new.mark);
        differs("queues", self.queues != new.queues);
        keys
    }
}

impl TryFrom<File> for Config {
    type Error = ValueError;

    fn try_from(file: File) -> Result<Self, ValueError> {
        let on_absent = absent("on_absent", &file.on_absent)?;
        let rules = match file.rules.as_str() {
            "managed" => Rules::Managed { on_absent },
            "external" => Rules::External,
            other => {
                return Err(ValueError::new(
                    "rules",
                    other,
                    "must be managed or external",
                ));
            }
        };
        let metrics = match file.metrics.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                ValueError::new(
                    "metrics",
                    text,
                    "must be address:port, as in 127.0.0.1:9547",
                )
            })?),
        };
        Ok(Self {
            rules,
            metrics,
            mark: Mark::new(file.mark).ok_or_else(|| {
                let reason = "must not be 0, and its 24 low bits must be";
                ValueError::new("mark", format_args!("{:#x}", file.mark), reason)
            })?,
            unserved: absent("unserved", &file.unserved)?,
            user: (!file.user.is_empty()).then(|| file.user.clone()),
            queues: queues(&file.queues)?,
            rate: rate(
                "rate.per_second",
                file.rate.per_second,
                "rate.burst",
                file.rate.burst,
            )?,
            kernel_rate: rate(
                "rate.kernel_per_second",
                file.rate.kernel_per_second,
                "rate.kernel_burst",
                file.rate.kernel_burst,
            )?,
            settings: settings(&file)?,
            bindings: absolute("bindings", file.bindings)?,
            runtime: absolute("runtime", file.runtime)?,
        })
    }
}

fn absolute(key: &'static str, path: PathBuf) -> Result<PathBuf, ValueError> {
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(ValueError::new(
            key,
            path.display(),
            "must be an absolute path",
        ))
    }
}

fn absent(key: &'static str, text: &str) -> Result<Absent, ValueError> {
    match text {
        "drop" => Ok(Absent::Drop),
        "pass" => Ok(Absent::Pass),
        other => Err(ValueError::new(key, other, "must be drop or pass")),
    }
}

fn queues(file: &QueuesFile) -> Result<Queues, ValueError> {
    if !(1..=64).contains(&file.shards) {
        return Err(ValueError::new(
            "queues.shards",
            file.shards,
            "must be 1 to 64",
        ));
    }
    if !(1..=1_000_000).contains(&file.length) {
        return Err(ValueError::new(
            "queues.length",
            file.length,
            "must be 1 to 1000000",
        ));
    }
    let named = [
        ("queues.dhcpv4", file.dhcpv4),
        ("queues.rs", file.rs),
        ("queues.ns", file.ns),
        ("queues.dhcpv6", file.dhcpv6),
    ];
    for (place, (key, first)) in named.iter().enumerate() {
        if first.checked_add(file.shards - 1).is_none() {
            return Err(ValueError::new(
                key,
                first,
                "its range ends beyond queue 65535",
            ));
        }
        for (other_key, other) in named.iter().skip(place + 1) {
            if first.abs_diff(*other) < file.shards {
                let reason = format!("its range of {} meets that of {other_key}", file.shards);
                return Err(ValueError::new(key, first, reason));
            }
        }
    }
    Ok(Queues {
        dhcpv4: file.dhcpv4,
        rs: file.rs,
        ns: file.ns,
        dhcpv6: file.dhcpv6,
        shards: file.shards,
        length: file.length,
    })
}

fn rate(
    rate_key: &'static str,
    per_second: u32,
    burst_key: &'static str,
    burst: u32,
) -> Result<Rate, ValueError> {
    for (key, value) in [(rate_key, per_second), (burst_key, burst)] {
        if !(1..=1_000_000).contains(&value) {
            return Err(ValueError::new(key, value, "must be 1 to 1000000"));
        }
    }
    Ok(Rate { per_second, burst })
}

fn settings(file: &File) -> Result<Settings, ValueError> {
    let router_mac: MacAddr = file
        .router_mac
        .parse()
        .map_err(|reason| ValueError::new("router_mac", &file.router_mac, reason))?;
    if router_mac.is_multicast() || router_mac.octets() == [0; 6] {
        let reason = "must be the address of one station";
        return Err(ValueError::new("router_mac", &file.router_mac, reason));
    }
    let router_is_host = match file.router.as_str() {
        "network" => false,
        "host" => true,
        other => return Err(ValueError::new("router", other, "must be network or host")),
    };
    for (key, servers) in [("nameservers", &file.nameservers), ("ntp", &file.ntp)] {
        let within = limits::check_servers(servers);
        within.map_err(|reason| ValueError::new(key, format!("{servers:?}"), reason))?;
    }
    let names = &file.domain_search;
    let domain_search = names.iter().map(|name| domain("domain_search", name));
    let domain_search: Vec<DomainName> = domain_search.collect::<Result<_, _>>()?;
    let within = limits::check_search(&domain_search);
    within.map_err(|reason| ValueError::new("domain_search", format!("{names:?}"), reason))?;
    Ok(Settings {
        router_mac,
        router_is_host,
        nameservers: file.nameservers.clone(),
        domain: match file.domain.as_str() {
            "" => None,
            name => Some(domain("domain", name)?),
        },
        domain_search,
        ntp: file.ntp.clone(),
        dhcpv4: dhcpv4(&file.dhcpv4)?,
        dhcpv6: dhcpv6(&file.dhcpv6)?,
        ra: ra(&file.ra)?,
    })
}

fn domain(key: &'static str, name: &str) -> Result<DomainName, ValueError> {
    name.parse()
        .map_err(|reason| ValueError::new(key, name, reason))
}

fn dhcpv4(file: &Dhcpv4File) -> Result<Dhcpv4Settings, ValueError> {
    let server_ip = match file.server_ip.as_str() {
        "" => None,
        text => Some(
            text.parse::<Ipv4Addr>()
                .ok()
                .filter(|ip| !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast())
                .ok_or_else(|| {
                    ValueError::new("dhcpv4.server_ip", text, "must be one host's IPv4 address")
                })?,
        ),
    };
    if file.lease < 60 {
        return Err(ValueError::new(
            "dhcpv4.lease",
            file.lease,
            "must be at least 60 seconds",
        ));
    }
    Ok(Dhcpv4Settings {
        server_ip,
        lease: file.lease,
        rapid_commit: file.rapid_commit,
    })
}

fn dhcpv6(file: &Dhcpv6File) -> Result<Dhcpv6Settings, ValueError> {
    let server_duid = match file.server_duid.as_str() {
        "" => None,
        text => Some(duid(text).ok_or_else(|| {
            let reason = "must be 3 to 130 bytes in hexadecimal, type first (RFC 8415 §11.1)";
            ValueError::new("dhcpv6.server_duid", text, reason)
        })?),
    };
    if file.preferred_lifetime > file.valid_lifetime {
        let reason = "must not be over dhcpv6.valid_lifetime";
        return Err(ValueError::new(
            "dhcpv6.preferred_lifetime",
            file.preferred_lifetime,
            reason,
        ));
    }
    if file.information_refresh < 600 {
        let reason = "must be at least 600 seconds (RFC 8415 §21.23)";
        return Err(ValueError::new(
            "dhcpv6.information_refresh",
            file.information_refresh,
            reason,
        ));
    }
    let retransmission = |key, value| match value {
        0 => Ok(None),
        60..=86400 => Ok(Some(value)),
        _ => Err(ValueError::new(
            key,
            value,
            "must be 60 to 86400 seconds, or 0 for none",
        )),
    };
    Ok(Dhcpv6Settings {
        server_duid,
        preferred_lifetime: file.preferred_lifetime,
        valid_lifetime: file.valid_lifetime,
        information_refresh: file.information_refresh,
        sol_max_rt: retransmission("dhcpv6.sol_max_rt", file.sol_max_rt)?,
        inf_max_rt: retransmission("dhcpv6.inf_max_rt", file.inf_max_rt)?,
        answer_stateless_solicit: file.answer_stateless_solicit,
    })
}

fn duid(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let nibble = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    let bytes: Option<Vec<u8>> = digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        })
        .collect();
    bytes.filter(|bytes| (3..=130).contains(&bytes.len()))
}

fn ra(file: &RaFile) -> Result<RaSettings, ValueError> {
    if !(4..=1800).contains(&file.max_interval) {
        let reason = "must be 4 to 1800 seconds (RFC 4861 §6.2.1)";
        return Err(ValueError::new(
            "ra.max_interval",
            file.max_interval,
            reason,
        ));
    }
    if file.router_lifetime != 0 && u32::from(file.router_lifetime) < file.max_interval {
        let reason = "must be 0, or at least ra.max_interval (RFC 4861 §6.2.1)";
        return Err(ValueError::new(
            "ra.router_lifetime",
            file.router_lifetime,
            reason,
        ));
    }
    if file.prefix_preferred > file.prefix_valid {
        let reason = "must not be over ra.prefix_valid";
        return Err(ValueError::new(
            "ra.prefix_preferred",
            file.prefix_preferred,
            reason,
        ));
    }
    Ok(RaSettings {
        max_interval: file.max_interval,
        router_lifetime: file.router_lifetime,
        prefix_preferred: file.prefix_preferred,
        prefix_valid: file.prefix_valid,
        mode6: mode6(&file.mode6)?,
    })
}

fn mode6(text: &str) -> Result<Mode6, ValueError> {
    match text {
        "none" => Ok(Mode6::None),
        "slaac" => Ok(Mode6::Slaac),
        "stateless" => Ok(Mode6::Stateless),
        "stateful" => Ok(Mode6::Stateful),
        other => {
            let reason = "must be none, slaac, stateless or stateful";
            Err(ValueError::new("ra.mode6", other, reason))
        }
    }
}

#[cfg(test)]
mod tests;
