//! Text to `Binding`: a line of code per key.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::boot::{Boot, ClientArch};
use crate::error::{BindingError, IgnoredLine, IgnoredReason};
use crate::lines::{self, Assignment};
use crate::values::{self, Reading};
use crate::{Binding, RawOption, check, limits};

/// Keys that are known and say nothing to anybody any more.
const WITHOUT_EFFECT: &[&str] = &["BRIDGE", "IFACE"];

impl Binding {
    /// Reads a text, and says which of its lines have no effect.
    ///
    /// # Errors
    /// A value that is not taken, two that contradict each other, a missing `MAC`, a control character.
    pub fn parse(text: &str) -> Result<(Self, Vec<IgnoredLine>), BindingError> {
        let (assignments, mut ignored) = lines::assignments(text)?;
        let mut keys = Keys(assignments);
        let binding = keys.binding()?;
        if let Some((key, reason)) = check::contradiction(&binding) {
            return Err(keys.contradiction(key, reason));
        }
        let is_unknown = |(key, assignment): &(&&str, &Assignment<'_>)| {
            !assignment.is_known && !WITHOUT_EFFECT.contains(key)
        };
        let unknown = keys.0.iter().filter(is_unknown);
        ignored.extend(
            unknown.map(|(key, at)| IgnoredLine::new(at.line, key, IgnoredReason::UnknownKey)),
        );
        ignored.sort_by_key(|line| line.line);
        Ok((binding, ignored))
    }
}

impl FromStr for Binding {
    type Err = BindingError;

    fn from_str(text: &str) -> Result<Self, BindingError> {
        Self::parse(text).map(|(binding, _)| binding)
    }
}

/// The last assignment of each key.
struct Keys<'a>(BTreeMap<&'a str, Assignment<'a>>);

impl<'a> Keys<'a> {
    fn binding(&mut self) -> Result<Binding, BindingError> {
        let mac = self
            .take("MAC", values::mac)?
            .ok_or(BindingError::Missing { key: "MAC" })?;
        Ok(Binding {
            mac,
            indev: self.take("INDEV", values::note)?,
            link: self.take("LINK", values::note)?,
            tags: self.take("TAGS", tags)?.unwrap_or_default(),
            hostname: self.take("HOSTNAME", values::domain)?,

            ip: self.take("IP", values::ipv4)?,
            subnet: self.take("SUBNET", values::subnet4)?,
            gateway: self.take("GATEWAY", values::ipv4)?,
            server_ip: self.take("SERVER_IP", values::ipv4)?,
            lease: self.take("LEASE", |text| values::number(text, 60..=u32::MAX))?,
            v6only_wait: self.take("V6ONLY_WAIT", |text| values::number(text, 300..=u32::MAX))?,

            subnet6: self.take("SUBNET6", values::subnet6)?,
            gateway6: self.take("GATEWAY6", values::ipv6)?,
            gateway6_mac: self.take("GATEWAY6_MAC", values::mac)?,
            eui64: self.take("EUI64", values::ipv6_beyond_link)?,
            ip6: self.take("IP6", values::ipv6_beyond_link)?,
            mode6: self.take("MODE6", values::mode6)?,

            extra_ips: self
                .take("EXTRA_IPS", |text| {
                    values::list(text, limits::EXTRA_IPS, values::ip)
                })?
                .unwrap_or_default(),
            nameservers: self.take("NAMESERVERS", values::servers)?,
            domain: self.take("DOMAIN", values::domain)?,
            domain_search: self.take("DOMAIN_SEARCH", values::search)?,
            routes: self.take("ROUTES", values::routes)?.unwrap_or_default(),
            ntp: self.take("NTP", values::servers)?,
            mtu: self.take("MTU", |text| values::number(text, 68..=u16::MAX))?,
            captive_portal: self.take("CAPTIVE_PORTAL", |text| {
                values::uri(text, limits::CAPTIVE_PORTAL_BYTES)
            })?,
            boot: self.boot()?,
            raw_options: self.raw_options()?,

            mac_spoof: self.take("MACSPOOF", values::boolean)?.unwrap_or(false),
            private: self.take("PRIVATE", values::boolean)?.unwrap_or(false),
        })
    }

    fn boot(&mut self) -> Result<Boot, BindingError> {
        let mut by_arch = Vec::new();
        for arch in ClientArch::ALL {
            if let Some(file) = self.take(arch.key(), values::ascii)? {
                by_arch.push((arch, file));
            }
        }
        Ok(Boot {
            server: self.take("BOOT_SERVER", values::ipv4)?,
            server_name: self.take("BOOT_SERVER_NAME", values::ascii)?,
            file: self.take("BOOT_FILE", values::ascii)?,
            file_ipxe: self.take("BOOT_FILE_IPXE", values::ascii)?,
            by_arch,
            tftp_servers: self
                .take("BOOT_TFTP_SERVERS", tftp_servers)?
                .unwrap_or_default(),
            prefix: self.take("BOOT_PREFIX", values::ascii)?,
            url6: self.take("BOOT_URL6", |text| values::uri(text, limits::TEXT_BYTES))?,
            param6: self.take("BOOT_PARAM6", parameters)?.unwrap_or_default(),
        })
    }

    /// All `OPT<n>`, in the order of their codes.
    fn raw_options(&mut self) -> Result<Vec<RawOption>, BindingError> {
        let mut found: Vec<(u8, &'a str)> = self
            .0
            .keys()
            .filter_map(|key| Some((RawOption::code_of(key)?, *key)))
            .collect();
        found.sort_unstable();
        let mut options: Vec<RawOption> = Vec::new();
        let mut bytes = 0;
        for (code, key) in found {
            let (given, so_far) = (options.len(), bytes);
            let value = self.take(key, |text| {
                RawOption::may_be_given(code)?;
                let value = values::option_bytes(text)?;
                if given == limits::RAW_OPTIONS {
                    return Err(format!(
                        "is one OPT key more than the {} there may be",
                        limits::RAW_OPTIONS
                    ));
                }
                if so_far + value.len() > limits::RAW_OPTION_BYTES {
                    let most = limits::RAW_OPTION_BYTES;
                    return Err(format!("makes all OPT values longer than {most} bytes"));
                }
                Ok(value)
            })?;
            if let Some(value) = value {
                bytes += value.len();
                options.push(RawOption { code, value });
            }
        }
        Ok(options)
    }

    /// The value of a key; `None` when it is not there or empty.
    fn take<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> Reading<T>,
    ) -> Result<Option<T>, BindingError> {
        let Some(assignment) = self.0.get_mut(key) else {
            return Ok(None);
        };
        assignment.is_known = true;
        let value = match &assignment.value {
            Ok(value) if value.trim().is_empty() => Ok(None),
            Ok(value) => read(value).map(Some),
            Err(reason) => Err((*reason).to_owned()),
        };
        value
            .map_err(|reason| BindingError::value(assignment.line, key, assignment.written, reason))
    }

    fn contradiction(&self, key: &str, reason: String) -> BindingError {
        let (line, written) = self.0.get(key).map_or((0, ""), |at| (at.line, at.written));
        BindingError::value(line, key, written, reason)
    }
}

fn tags(text: &str) -> Reading<Vec<String>> {
    Ok(values::words(text).into_iter().map(str::to_owned).collect())
}

fn tftp_servers(text: &str) -> Reading<Vec<Ipv4Addr>> {
    values::list(text, limits::TFTP_SERVERS, |word| match values::ip(word)? {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(_) => Err("is not an IPv4 address".into()),
    })
}

fn parameters(text: &str) -> Reading<Vec<String>> {
    let words = values::words(text);
    if words.len() > limits::BOOT_PARAMETERS {
        return Err(format!(
            "has more than {} parameters",
            limits::BOOT_PARAMETERS
        ));
    }
    values::ascii(text)?;
    Ok(words.into_iter().map(str::to_owned).collect())
}
