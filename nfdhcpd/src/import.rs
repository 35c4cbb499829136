//! The configuration of the Python nfdhcpd, turned into ours: `nfdhcpd import-config`.
//!
//! Every setting of the original either has a line in the result or a comment that says why it has none.

mod ini;

use std::fmt::{Display, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use nfdhcpd_binding::{DomainName, limits};
use toml::Value;

use ini::Entry;

/// Why a configuration of the original cannot be turned into ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// A line that is no section, no setting, no comment.
    #[error("line {line} {reason}")]
    Syntax {
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value the original would not have taken either, or that we cannot.
    #[error("line {line}: [{section}] {key} = {value}: must be {expected}")]
    Value {
        /// Line number, from 1.
        line: usize,
        /// The section.
        section: String,
        /// The key.
        key: String,
        /// The value, items joined with commas.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// Turns the text of an original `nfdhcpd.conf` into the text of our configuration.
///
/// # Errors
/// When the text is not the original's syntax, or a value is not of its kind.
pub fn import(original: &str) -> Result<String, ImportError> {
    let mut settings = Settings {
        left: ini::entries(original)?,
        out: String::new(),
    };
    settings
        .comment("Written by nfdhcpd import-config from a configuration of the Python nfdhcpd.");
    settings.general()?;
    settings.rules();
    settings.names()?;
    let queues = settings.queues()?;
    settings.dhcpv4()?;
    settings.ra(&queues)?;
    settings.without_counterpart();
    Ok(settings.out)
}

/// Queue numbers the original was given.
struct OriginalQueues {
    rs: bool,
    ns: bool,
    dhcpv6: bool,
}

/// The settings not turned yet, and what the others were turned into.
struct Settings {
    left: Vec<Entry>,
    out: String,
}

impl Settings {
    fn general(&mut self) -> Result<(), ImportError> {
        if let Some(AbsolutePath(path)) = self.one("general", "datapath", "an absolute path")? {
            self.set("bindings", path);
        }
        match self.one::<String>("general", "user", "one user")? {
            Some(user) if user == "nobody" => {
                self.comment("user: the original ran as nobody; nfdhcpd has a user of its own.");
            }
            Some(user) => self.set("user", user),
            None => {}
        }
        Ok(())
    }

    fn rules(&mut self) {
        self.comment(
            "The original was fed by the operator's own packet filter rules, so these stay in use.",
        );
        self.comment("Once they are removed, \"managed\" lets nfdhcpd make what it needs for each TAP it serves.");
        self.set("rules", "external");
        self.comment("As the original did: packets of TAPs without a binding go on.");
        self.set("unserved", "pass");
    }

    fn names(&mut self) -> Result<(), ImportError> {
        let v4: Vec<Ipv4Addr> = self.list("dhcp", "nameservers", "IPv4 addresses")?;
        let v6: Vec<Ipv6Addr> = self.list("ipv6", "nameservers", "IPv6 addresses")?;
        let v4 = self.at_most(limits::SERVERS_PER_FAMILY, v4, "[dhcp] nameservers");
        let v6 = self.at_most(limits::SERVERS_PER_FAMILY, v6, "[ipv6] nameservers");
        let all = v4
            .into_iter()
            .map(IpAddr::V4)
            .chain(v6.into_iter().map(IpAddr::V6));
        let all: Vec<Value> = all.map(|ip| Value::from(ip.to_string())).collect();
        if !all.is_empty() {
            self.set("nameservers", all);
        }
        if let Some(domain) = self.one::<DomainName>("dhcp", "domain", "a domain name")? {
            self.set("domain", domain.as_str());
        }
        let search: Vec<DomainName> = self.list("ipv6", "domains", "domain names")?;
        let fits = |count: &usize| {
            let first = search.get(..*count).unwrap_or_default();
            limits::check_search(first).is_ok()
        };
        let fitting = (0..=search.len()).rev().find(fits).unwrap_or(0);
        let search = self.at_most(fitting, search, "[ipv6] domains");
        if !search.is_empty() {
            self.comment("Also option 119 of DHCPv4 and in router advertisements, which the original did not send.");
            let names = search.iter().map(|name| Value::from(name.as_str()));
            self.set("domain_search", names.collect::<Vec<_>>());
        }
        Ok(())
    }

    /// Each protocol must have a queue of its own: one the original had none for gets a free number.
    fn queues(&mut self) -> Result<OriginalQueues, ImportError> {
        let mut taken = Vec::new();
        let dhcpv4 = self.queue("dhcp", "dhcp_queue", &mut taken)?;
        let rs = self.queue("ipv6", "rs_queue", &mut taken)?;
        let ns = self.queue("ipv6", "ns_queue", &mut taken)?;
        let mut dhcpv6 = self.queue("ipv6", "dhcpv6_queue", &mut taken)?;
        if dhcpv6.is_none() {
            dhcpv6 = self.queue("ipv6", "dhcp_queue", &mut taken)?;
        }
        self.section("queues");
        for (key, given, usual) in [
            ("dhcpv4", dhcpv4, 42),
            ("rs", rs, 43),
            ("ns", ns, 44),
            ("dhcpv6", dhcpv6, 45),
        ] {
            let number = given.unwrap_or_else(|| {
                self.comment("The original had none for this protocol.");
                // Four protocols, so one of these is free.
                let free = (usual..)
                    .find(|number| !taken.contains(number))
                    .unwrap_or(usual);
                taken.push(free);
                free
            });
            self.set(key, i64::from(number));
        }
        Ok(OriginalQueues {
            rs: rs.is_some(),
            ns: ns.is_some(),
            dhcpv6: dhcpv6.is_some(),
        })
    }

    fn queue(
        &mut self,
        section: &str,
        key: &str,
        taken: &mut Vec<u16>,
    ) -> Result<Option<u16>, ImportError> {
        let place = self
            .left
            .iter()
            .find(|e| e.section == section && e.key == key)
            .cloned();
        let number = self.one(section, key, "a queue number, 0 to 65535")?;
        match (number, place) {
            (Some(number), Some(entry)) if taken.contains(&number) => {
                Err(refused(entry, "a queue no other protocol has"))
            }
            _ => {
                taken.extend(number);
                Ok(number)
            }
        }
    }

    fn dhcpv4(&mut self) -> Result<(), ImportError> {
        self.section("dhcpv4");
        if self.boolean("dhcp", "enable_dhcp")? == Some(false) {
            self.comment(
                "enable_dhcp = no: DHCPv4 is answered for bindings that have IP, and only if",
            );
            self.comment("a rule brings it into the queue. Leave that rule out.");
        }
        let server_ip: Option<HostAddress> =
            self.one("dhcp", "server_ip", "a host's IPv4 address")?;
        let on_link = self.boolean("dhcp", "server_on_link")? == Some(true);
        match server_ip {
            Some(HostAddress(ip)) if on_link => {
                self.comment(format!(
                    "server_on_link = yes: follows from the network, as with the original; {ip} is not used."
                ));
            }
            Some(HostAddress(ip)) => self.set("server_ip", ip.to_string()),
            None => {}
        }
        if let Some(lease) = self.one::<u32>("dhcp", "lease_lifetime", "seconds")? {
            if lease < 60 {
                self.comment(format!("lease_lifetime = {lease}: the least is 60."));
            }
            self.set("lease", i64::from(lease.max(60)));
        }
        if let Some(renewal) = self.one::<u32>("dhcp", "lease_renewal", "seconds")? {
            self.comment(format!(
                "lease_renewal = {renewal}: clients renew at half of the lease and rebind at 7/8 (RFC 2131)."
            ));
        }
        Ok(())
    }

    fn ra(&mut self, queues: &OriginalQueues) -> Result<(), ImportError> {
        self.section("ra");
        let enabled = self.boolean("ipv6", "enable_ipv6")? != Some(false);
        let mode = self.one::<String>("ipv6", "mode", "auto, slaac, slaac+dhcpv6 or dhcpv6")?;
        let detected = match (queues.rs && queues.ns, queues.dhcpv6) {
            (true, true) => Some("stateless"),
            (true, false) => Some("slaac"),
            (false, _) => None,
        };
        let mode6 = match mode.as_deref() {
            _ if !enabled => Some("none"),
            None | Some("auto") => detected,
            Some("slaac") => Some("slaac"),
            Some("slaac+dhcpv6") => Some("stateless"),
            Some(_) => None,
        };
        match mode6 {
            Some(mode6) => self.set("mode6", mode6),
            None => {
                self.comment(format!(
                    "mode = {}, with these queues: the original does not start so. Stateful DHCPv6 is",
                    mode.as_deref().unwrap_or("auto")
                ));
                self.comment("mode6 = \"stateful\", and gives each binding its IP6.");
            }
        }
        if let Some(period) = self.one::<u32>("ipv6", "ra_period", "seconds, at least 1")? {
            let interval = period.clamp(4, 1800);
            if interval != period {
                self.comment(format!(
                    "ra_period = {period}: must be 4 to 1800 (RFC 4861 6.2.1)."
                ));
            }
            self.set("max_interval", i64::from(interval));
            self.comment("The original always said 14400, more than RFC 4861 allows.");
            self.set("router_lifetime", i64::from(interval * 3));
        }
        Ok(())
    }

    fn without_counterpart(&mut self) {
        let left = std::mem::take(&mut self.left);
        if left.is_empty() {
            return;
        }
        self.out.push('\n');
        self.comment("Settings without a counterpart:");
        for entry in left {
            let why = match (entry.section.as_str(), entry.key.as_str()) {
                ("general", "pidfile") => "systemd keeps track of the process",
                ("general", "logdir") => "the log goes to standard error, and so to the journal",
                ("ipv6", "enable_dhcpv6") => "the original did not read it either",
                _ => "unknown to the original, too",
            };
            let Entry {
                section,
                key,
                values,
                ..
            } = entry;
            self.comment(format!("[{section}] {key} = {}: {why}.", values.join(", ")));
        }
    }

    /// The first of a list; a comment says how many there were.
    fn at_most<T>(&mut self, most: usize, mut list: Vec<T>, name: &str) -> Vec<T> {
        if list.len() > most {
            self.comment(format!(
                "{name}: the first {most} of {}, more are not sent.",
                list.len()
            ));
            list.truncate(most);
        }
        list
    }

    fn comment(&mut self, text: impl Display) {
        self.line(format_args!("# {text}"));
    }

    fn section(&mut self, name: &str) {
        self.line(format_args!("\n[{name}]"));
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value: Value = value.into();
        self.line(format_args!("{key} = {value}"));
    }

    fn line(&mut self, text: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{text}");
    }

    fn take(&mut self, section: &str, key: &str) -> Option<Entry> {
        let place = self
            .left
            .iter()
            .position(|e| e.section == section && e.key == key)?;
        Some(self.left.remove(place))
    }

    /// All items of a value, each of one kind.
    fn list<T: FromStr>(
        &mut self,
        section: &str,
        key: &str,
        expected: &'static str,
    ) -> Result<Vec<T>, ImportError> {
        let Some(entry) = self.take(section, key) else {
            return Ok(Vec::new());
        };
        let items: Result<Vec<T>, _> = entry.values.iter().map(|item| item.parse()).collect();
        items.map_err(|_| refused(entry, expected))
    }

    /// The only item of a value; `None` when there is none.
    fn one<T: FromStr>(
        &mut self,
        section: &str,
        key: &str,
        expected: &'static str,
    ) -> Result<Option<T>, ImportError> {
        let Some(entry) = self.take(section, key) else {
            return Ok(None);
        };
        match entry.values.as_slice() {
            [] => Ok(None),
            [one] => one.parse().map(Some).map_err(|_| refused(entry, expected)),
            _ => Err(refused(entry, expected)),
        }
    }

    fn boolean(&mut self, section: &str, key: &str) -> Result<Option<bool>, ImportError> {
        let Some(entry) = self.take(section, key) else {
            return Ok(None);
        };
        match entry.values.join(",").to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "1" => Ok(Some(true)),
            "no" | "false" | "off" | "0" => Ok(Some(false)),
            _ => Err(refused(entry, "yes or no")),
        }
    }
}

/// A path from the root on.
struct AbsolutePath(String);

impl FromStr for AbsolutePath {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.starts_with('/')
            .then(|| Self(text.to_owned()))
            .ok_or(())
    }
}

/// An address one host can have.
struct HostAddress(Ipv4Addr);

impl FromStr for HostAddress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let host = |ip: &Ipv4Addr| !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast();
        text.parse().ok().filter(host).map(Self).ok_or(())
    }
}

fn refused(entry: Entry, expected: &'static str) -> ImportError {
    let value = entry.values.join(", ");
    let Entry {
        line, section, key, ..
    } = entry;
    ImportError::Value {
        line,
        section,
        key,
        value,
        expected,
    }
}

#[cfg(test)]
mod tests;
