//! How much one binding may hold. Chosen so that every message built from it fits: a router advertisement with all
//! lists full takes 1,224 bytes, under IPv6's smallest MTU of 1,280 (RFC 8200 §5).

use std::net::IpAddr;

use crate::{DomainName, ValueError};

/// Bytes of a binding file.
pub const FILE_BYTES: usize = 64 * 1024;
/// Addresses per family in `NAMESERVERS`, and in `NTP`.
pub const SERVERS_PER_FAMILY: usize = 8;
/// Names in `DOMAIN_SEARCH`.
pub const SEARCH_NAMES: usize = 16;
/// Bytes of all names in `DOMAIN_SEARCH` in wire form.
pub const SEARCH_BYTES: usize = 384;
/// Routes per family in `ROUTES`.
pub const ROUTES_PER_FAMILY: usize = 16;
/// Addresses in `EXTRA_IPS`.
pub const EXTRA_IPS: usize = 16;
/// Bytes of `CAPTIVE_PORTAL`.
pub const CAPTIVE_PORTAL_BYTES: usize = 200;
/// Bytes of any other text.
pub const TEXT_BYTES: usize = 255;
/// Addresses in `BOOT_TFTP_SERVERS`.
pub const TFTP_SERVERS: usize = 8;
/// Parameters in `BOOT_PARAM6`.
pub const BOOT_PARAMETERS: usize = 8;
/// `OPT<n>` keys.
pub const RAW_OPTIONS: usize = 16;
/// Bytes of all `OPT<n>` values together.
pub const RAW_OPTION_BYTES: usize = 512;

/// Whether name or time servers keep within [`SERVERS_PER_FAMILY`].
///
/// # Errors
/// When there are more of one family.
pub fn check_servers(servers: &[IpAddr]) -> Result<(), ValueError> {
    per_family(servers, SERVERS_PER_FAMILY, IpAddr::is_ipv4)
}

/// Whether a search list keeps within [`SEARCH_NAMES`] and [`SEARCH_BYTES`].
///
/// # Errors
/// When there are more.
pub fn check_search(names: &[DomainName]) -> Result<(), ValueError> {
    let bytes: usize = names.iter().map(|name| name.as_str().len() + 2).sum();
    if names.len() > SEARCH_NAMES {
        return Err(format!("has more than {SEARCH_NAMES} names").into());
    }
    if bytes > SEARCH_BYTES {
        return Err(format!("takes {bytes} bytes: at most {SEARCH_BYTES}").into());
    }
    Ok(())
}

pub(crate) fn per_family<T>(
    items: &[T],
    most: usize,
    is_v4: impl Fn(&T) -> bool,
) -> Result<(), ValueError> {
    let v4 = items.iter().filter(|item| is_v4(item)).count();
    if v4 > most || items.len() - v4 > most {
        return Err(format!("has more than {most} of one family").into());
    }
    Ok(())
}
