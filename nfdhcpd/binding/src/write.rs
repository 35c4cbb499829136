//! `Binding` to text, a line per key that has a value.

use std::fmt;

use crate::lines::quote;
use crate::{Binding, Boot, Mode6, RawOption, Route};

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "INDEV", self.indev.as_ref())?;
        line(f, "LINK", self.link.as_ref())?;
        line(f, "MAC", Some(self.mac))?;
        line(f, "HOSTNAME", self.hostname.as_ref())?;
        line(f, "TAGS", some(self.tags.join(" ")))?;

        line(f, "IP", self.ip)?;
        line(f, "SUBNET", self.subnet)?;
        line(f, "GATEWAY", self.gateway)?;
        line(f, "SERVER_IP", self.server_ip)?;
        line(f, "LEASE", self.lease)?;
        line(f, "V6ONLY_WAIT", self.v6only_wait)?;

        line(f, "SUBNET6", self.subnet6)?;
        line(f, "GATEWAY6", self.gateway6)?;
        line(f, "GATEWAY6_MAC", self.gateway6_mac)?;
        line(f, "EUI64", self.eui64)?;
        line(f, "IP6", self.ip6)?;
        line(f, "MODE6", self.mode6)?;

        line(f, "EXTRA_IPS", some(joined(&self.extra_ips)))?;
        line(
            f,
            "NAMESERVERS",
            self.nameservers.as_ref().map(|list| joined_or_none(list)),
        )?;
        line(f, "DOMAIN", self.domain.as_ref())?;
        line(
            f,
            "DOMAIN_SEARCH",
            self.domain_search.as_ref().map(|list| joined_or_none(list)),
        )?;
        line(f, "ROUTES", some(joined(&self.routes)))?;
        line(f, "NTP", self.ntp.as_ref().map(|list| joined_or_none(list)))?;
        line(f, "MTU", self.mtu)?;
        line(f, "CAPTIVE_PORTAL", self.captive_portal.as_ref())?;
        boot(f, &self.boot)?;
        for option in &self.raw_options {
            line(f, &format!("OPT{}", option.code), Some(option))?;
        }

        line(f, "MACSPOOF", self.mac_spoof.then_some("yes"))?;
        line(f, "PRIVATE", self.private.then_some("yes"))
    }
}

fn boot(f: &mut fmt::Formatter<'_>, boot: &Boot) -> fmt::Result {
    line(f, "BOOT_SERVER", boot.server)?;
    line(f, "BOOT_SERVER_NAME", boot.server_name.as_ref())?;
    line(f, "BOOT_FILE", boot.file.as_ref())?;
    line(f, "BOOT_FILE_IPXE", boot.file_ipxe.as_ref())?;
    for (arch, file) in &boot.by_arch {
        line(f, arch.key(), Some(file))?;
    }
    line(f, "BOOT_TFTP_SERVERS", some(joined(&boot.tftp_servers)))?;
    line(f, "BOOT_PREFIX", boot.prefix.as_ref())?;
    line(f, "BOOT_URL6", boot.url6.as_ref())?;
    line(f, "BOOT_PARAM6", some(boot.param6.join(" ")))
}

fn line(f: &mut fmt::Formatter<'_>, key: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    match value {
        Some(value) => writeln!(f, "{key}={}", quote(&value.to_string())),
        None => Ok(()),
    }
}

fn some(list: String) -> Option<String> {
    (!list.is_empty()).then_some(list)
}

fn joined<T: fmt::Display>(list: &[T]) -> String {
    let items: Vec<String> = list.iter().map(T::to_string).collect();
    items.join(",")
}

fn joined_or_none<T: fmt::Display>(list: &[T]) -> String {
    some(joined(list)).unwrap_or_else(|| "none".into())
}

impl fmt::Display for Mode6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Slaac => "slaac",
            Self::Stateless => "stateless",
            Self::Stateful => "stateful",
        })
    }
}

impl fmt::Display for Route {
    /// `PREFIX@GATEWAY`, as `ROUTES` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4 {
                destination,
                gateway,
            } => write!(f, "{destination}@{gateway}"),
            Self::V6 {
                destination,
                gateway,
            } => write!(f, "{destination}@{gateway}"),
        }
    }
}

impl fmt::Display for RawOption {
    /// The value as `OPT<n>` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hex:")?;
        self.value
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
