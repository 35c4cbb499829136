//! The options of a binding that a client may request, encoded once when the binding comes into force.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dhcproto::Encodable;
use dhcproto::v6::{DhcpOption, NtpSuboption, UnknownOption};
use nfdhcpd_binding::{Binding, Boot, ClientArch, DomainName};

use crate::responder::Settings;
use crate::wire::Frame;
use crate::wire::dhcpv6::{Message, Options, code, push_option};

/// Sent when the option request option names them (§21.7), and only then.
const REQUESTABLE: [u16; 11] = [
    code::DNS_SERVERS,
    code::DOMAIN_LIST,
    code::SNTP_SERVERS,
    code::INFORMATION_REFRESH_TIME,
    code::CLIENT_FQDN,
    code::NTP_SERVER,
    code::BOOTFILE_URL,
    code::BOOTFILE_PARAM,
    code::SOL_MAX_RT,
    code::INF_MAX_RT,
    code::CAPTIVE_PORTAL,
];

/// An option longer than this is left out: with it, an answer might not fit a frame.
const OPTION_MAX: usize = 1024;

/// Client FQDN flag S (RFC 4704 §4.1): from a client, the server shall update the DNS for it.
const FQDN_SERVER_UPDATES: u8 = 0x01;
/// Flag O: the server overrides the client's S.
const FQDN_OVERRIDE: u8 = 0x02;
/// Flag N: the server updates no DNS.
const FQDN_NO_UPDATES: u8 = 0x04;

/// The server's own options.
#[derive(Debug)]
pub(super) struct ServerOptions {
    /// One behind the other, the server identifier first.
    encoded: Box<[u8]>,
    /// Boot files for clients that say what they are; others get `BOOTFILE_URL`.
    boot: Box<[(BootClient, Box<[u8]>)]>,
}

/// Which boot client a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BootClient {
    /// Its user class says `iPXE`.
    Ipxe,
    /// Its architecture, option 61.
    Arch(ClientArch),
}

impl ServerOptions {
    pub(super) fn new(binding: &Binding, settings: &Settings) -> Self {
        let mut options = vec![raw(code::SERVER_ID, server_duid(settings))];
        let servers = v6(binding
            .nameservers
            .as_ref()
            .unwrap_or(&settings.nameservers));
        if !servers.is_empty() {
            options.push(DhcpOption::DomainNameServers(servers));
        }
        let domain = binding.domain.as_ref().or(settings.domain.as_ref());
        let search = binding.domain_search.as_deref();
        let search = search.unwrap_or(&settings.domain_search);
        // DHCPv6 has no option for the domain alone: a search list of one says it.
        let search = match domain {
            Some(domain) if search.is_empty() => std::slice::from_ref(domain),
            _ => search,
        };
        if !search.is_empty() {
            options.push(raw(code::DOMAIN_LIST, names(search)));
        }
        let time_servers = v6(binding.ntp.as_ref().unwrap_or(&settings.ntp));
        if !time_servers.is_empty() {
            let octets = time_servers.iter().flat_map(Ipv6Addr::octets).collect();
            options.push(raw(code::SNTP_SERVERS, octets));
        }
        // One option per server (RFC 5908 §4).
        for server in time_servers {
            let suboptions = vec![NtpSuboption::ServerAddress(server)];
            options.push(DhcpOption::NtpServer(suboptions));
        }
        if let Some(hostname) = &binding.hostname {
            options.push(raw(code::CLIENT_FQDN, fqdn(hostname, domain)));
        }
        options.push(DhcpOption::InformationRefreshTime(
            settings.dhcpv6.information_refresh,
        ));
        for (code, seconds) in [
            (code::SOL_MAX_RT, settings.dhcpv6.sol_max_rt),
            (code::INF_MAX_RT, settings.dhcpv6.inf_max_rt),
        ] {
            options.extend(seconds.map(|seconds| raw(code, seconds.to_be_bytes().to_vec())));
        }
        if let Some(uri) = &binding.captive_portal {
            options.push(raw(code::CAPTIVE_PORTAL, uri.clone().into_bytes()));
        }
        if let Some(url) = &binding.boot.url6 {
            options.push(raw(code::BOOTFILE_URL, url.clone().into_bytes()));
        }
        if !binding.boot.param6.is_empty() {
            options.push(raw(code::BOOTFILE_PARAM, parameters(&binding.boot.param6)));
        }
        let encoded = options.iter().filter_map(|option| option.to_vec().ok());
        let encoded = encoded.filter(|option| option.len() <= OPTION_MAX);
        Self {
            encoded: encoded.flatten().collect(),
            boot: boot_urls(&binding.boot),
        }
    }

    /// The server identifier: the same in every answer, after every restart and on every host (§11).
    pub(super) fn server_id(&self) -> &[u8] {
        self.options().first(code::SERVER_ID).unwrap_or_default()
    }

    /// Appends what the message requests. `information`: the answer is to an Information-request, the only one that has
    /// a refresh time (§21.23). What does not fit is left out: the rest is worth sending, and nothing here is a must.
    pub(super) fn push(&self, message: &Message<'_>, information: bool, out: &mut Frame) {
        let mut requested = [false; REQUESTABLE.len()];
        let list = message.options.first(code::OPTION_REQUEST);
        for code in list.unwrap_or_default().as_chunks::<2>().0 {
            let code = u16::from_be_bytes(*code);
            let place = REQUESTABLE.iter().position(|known| *known == code);
            if let Some(requested) = place.and_then(|place| requested.get_mut(place)) {
                *requested = true;
            }
        }
        let is_requested = |code| {
            let mut all = REQUESTABLE.iter().zip(requested);
            all.any(|(known, requested)| *known == code && requested)
        };
        for option in self.options() {
            let so_far = out.as_slice().len();
            let pushed = match option.code {
                code::INFORMATION_REFRESH_TIME if !information => true,
                code if !is_requested(code) => true,
                code::CLIENT_FQDN => push_fqdn(option.value, message, out),
                code::BOOTFILE_URL => true,
                code => push_option(out, code, option.value),
            };
            if !pushed {
                out.truncate(so_far);
            }
        }
        if is_requested(code::BOOTFILE_URL)
            && let Some(url) = self.boot_url(message)
        {
            let so_far = out.as_slice().len();
            if !(push_option(out, code::BOOTFILE_URL, url) && push_http_class(message, out)) {
                out.truncate(so_far);
            }
        }
    }

    /// The boot file for what the client says it is.
    fn boot_url(&self, message: &Message<'_>) -> Option<&[u8]> {
        let file_for = |client| {
            let mut files = self.boot.iter();
            files.find(|(of, _)| *of == client).map(|(_, url)| &**url)
        };
        let ipxe = || {
            is_ipxe(message)
                .then(|| file_for(BootClient::Ipxe))
                .flatten()
        };
        let arch = || {
            let types = message.options.first(code::CLIENT_ARCH_TYPE)?;
            let mut types = types.as_chunks::<2>().0.iter();
            types.find_map(|kind| {
                let arch = ClientArch::from_type(u16::from_be_bytes(*kind))?;
                file_for(BootClient::Arch(arch))
            })
        };
        ipxe()
            .or_else(arch)
            .or_else(|| self.options().first(code::BOOTFILE_URL))
    }

    /// Bytes outside the struct itself.
    #[cfg(test)]
    pub(super) fn heap_len(&self) -> usize {
        let boot = self.boot.iter();
        let boot = boot.map(|entry| size_of_val(entry) + entry.1.len());
        self.encoded.len() + boot.sum::<usize>()
    }

    fn options(&self) -> Options<'_> {
        // Encoded above, so every length is right.
        Options::of_encoded(&self.encoded)
    }
}

fn raw(code: u16, value: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(code.into(), value))
}

/// The configured one, or the DUID-LL of the router's hardware address (§11.4): it follows from the network, not from
/// the host, and has no time in it.
fn server_duid(settings: &Settings) -> Vec<u8> {
    settings.dhcpv6.server_duid.clone().unwrap_or_else(|| {
        let (duid_ll, ethernet) = ([0, 3], [0, 1]);
        [&duid_ll[..], &ethernet, &settings.router_mac.octets()].concat()
    })
}

fn v6(addresses: &[IpAddr]) -> Vec<Ipv6Addr> {
    let v6 = addresses.iter().filter_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    });
    v6.collect()
}

/// Uncompressed, as RFC 8415 §10 demands.
fn names(names: &[DomainName]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for name in names {
        name.encode(&mut encoded);
    }
    encoded
}

/// Flags and name (RFC 4704 §4): fully qualified by the domain, or, without one, a part, which has no zero byte last. A
/// part, too, when the whole would be longer than a name may be (RFC 1035 §3.1).
fn fqdn(hostname: &DomainName, domain: Option<&DomainName>) -> Vec<u8> {
    const NAME_MAX: usize = 255;
    let mut value = vec![FQDN_NO_UPDATES];
    hostname.encode(&mut value);
    if hostname.labels().nth(1).is_none() {
        value.pop();
        let part = value.len();
        if let Some(domain) = domain {
            domain.encode(&mut value);
        }
        if value.len() > 1 + NAME_MAX {
            value.truncate(part);
        }
    }
    value
}

/// Each behind its length (RFC 5970 §3.2).
fn parameters(parameters: &[String]) -> Vec<u8> {
    let mut value = Vec::new();
    for parameter in parameters {
        if let Ok(len) = u16::try_from(parameter.len()) {
            value.extend(len.to_be_bytes());
            value.extend(parameter.as_bytes());
        }
    }
    value
}

/// The files of the keys that are by client, where they are URLs an IPv6 client can fetch.
fn boot_urls(boot: &Boot) -> Box<[(BootClient, Box<[u8]>)]> {
    let ipxe = boot.file_ipxe.iter().map(|file| (BootClient::Ipxe, file));
    let by_arch = boot.by_arch.iter();
    let by_arch = by_arch.map(|(arch, file)| (BootClient::Arch(*arch), file));
    let urls = ipxe.chain(by_arch).filter(|(_, file)| is_url6(file));
    urls.map(|(client, file)| (client, file.as_bytes().into()))
        .collect()
}

/// A URL, and not one of a host with an IPv4 address.
fn is_url6(file: &str) -> bool {
    file.split_once("://").is_some_and(|(_, rest)| {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        host.parse::<Ipv4Addr>().is_err()
    })
}

fn push_fqdn(value: &[u8], message: &Message<'_>, out: &mut Frame) -> bool {
    let Some((flags, name)) = value.split_first() else {
        return true;
    };
    let client = message.options.first(code::CLIENT_FQDN);
    let client = client.and_then(<[u8]>::first).copied().unwrap_or_default();
    let overridden = client & FQDN_SERVER_UPDATES != 0;
    let flags = flags | if overridden { FQDN_OVERRIDE } else { 0 };
    let Ok(len) = u16::try_from(value.len()) else {
        return false;
    };
    out.push(&code::CLIENT_FQDN.to_be_bytes())
        && out.push(&len.to_be_bytes())
        && out.push(&[flags])
        && out.push(name)
}

/// A UEFI client that boots by HTTP takes a URL only from a server that names its vendor class.
fn push_http_class(message: &Message<'_>, out: &mut Frame) -> bool {
    const HTTP_CLIENT: &[u8] = b"HTTPClient";
    let Some(([a, b, c, d, _, _], class)) = message
        .options
        .first(code::VENDOR_CLASS)
        .and_then(<[u8]>::split_first_chunk::<6>)
    else {
        return true;
    };
    if !class.starts_with(HTTP_CLIENT) {
        return true;
    }
    let mut value = [0; 16];
    let (head, name) = value.split_at_mut(6);
    head.copy_from_slice(&[*a, *b, *c, *d, 0, 10]);
    name.copy_from_slice(HTTP_CLIENT);
    push_option(out, code::VENDOR_CLASS, &value)
}

fn is_ipxe(message: &Message<'_>) -> bool {
    let mut classes = message.options.first(code::USER_CLASS).unwrap_or_default();
    while let Some((len, rest)) = classes.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        let Some((class, rest)) = rest.split_at_checked(len) else {
            return false;
        };
        if class == b"iPXE" {
            return true;
        }
        classes = rest;
    }
    false
}
