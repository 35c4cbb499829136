//! How much one binding may hold. Chosen so that every message built from it fits: a router advertisement with all
//! lists full takes 1,224 bytes, under IPv6's smallest MTU of 1,280 (RFC 8200 §5).

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
