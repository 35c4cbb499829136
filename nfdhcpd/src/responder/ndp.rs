//! Router advertisements and neighbour advertisements (RFC 4861).
//!
//! **Which router is announced.** On a routed NIC, this host: `router_mac` and its link-local address, the same on every
//! host. On a bridged NIC the network's router is another machine, unless the settings say that it is this host or the
//! binding names it by `GATEWAY6_MAC`: then it is announced in its name, at `GATEWAY6` if that is link-local. Without
//! either, an advertisement tells prefix, resolvers and MTU, and its router lifetime is 0: it names no router.
//!
//! **Whose neighbours are answered for.** On a bridged NIC, the announced router's own addresses and nothing else: all
//! other neighbours are on the link and answer for themselves. On a routed NIC the VM is alone with this host on its
//! link, so the host answers for the router and, as a proxy (§7.2.8), for all of `SUBNET6` except the VM itself.
//!
//! **Duplicate address detection** (RFC 4862 §5.4, a solicitation from `::`). A probe is answered, which forbids the VM
//! the address, only if the address is the router's. Any other address of `SUBNET6` may well be the VM's own: one it
//! formed by SLAAC, a temporary one (RFC 8981), a stable private one (RFC 7217); nothing in the binding tells, and an
//! answer would leave the VM without an address. So a VM that takes another VM's address is not told; it gains nothing
//! by it, as the host's route for that address leads to the other TAP. The same VM's solicitations from an address of
//! its own are answered, also for an address it once probed: a node does not solicit itself.
//!
//! A proxy may delay its answer so that the owner's comes first (§7.2.7); at a TAP there is no owner, so none is delayed.
//! For the same reason a unicast advertisement answers a router solicitation at once: the delay of §6.2.6 keeps the
//! routers of a link apart, and this link has one.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZero;

use ipnet::Ipv6Net;
use nfdhcpd_binding::{Binding, MacAddr, Mode6, Route};

use super::{Attachment, Decision, Ignored, Reply, Served, Settings};
use crate::wire::ip::{
    ETHERNET_HEADER, ETHERTYPE_IPV6, IPV6_HEADER, Link, begin_icmpv6, finish, multicast_mac,
};
use crate::wire::ndp::{
    ALL_NODES, ALL_ROUTERS, NEIGHBOR_ADVERTISEMENT, NeighborAdvertisement, NeighborSolicitation,
    Prefix, ROUTER_ADVERTISEMENT, RouterAdvertisement, RouterSolicitation, cease, push_succession,
};
use crate::wire::{Frame, Inbound};

/// The smallest link MTU of IPv6 (RFC 8200 §5): the MTU option may not say less.
const MTU_MIN: u16 = 1280;

/// What a VM is advertised, encoded, and whose addresses are answered for.
#[derive(Debug)]
pub struct Router {
    /// Ethernet source of what is sent.
    mac: MacAddr,
    /// IPv6 source of what is sent: the router's link-local address.
    address: Ipv6Addr,
    proxied: Proxied,
    /// The bridge, when the router is a machine of its network.
    network: Option<NonZero<u32>>,
    /// `GATEWAY6`, another address of the router.
    gateway: Option<Ipv6Addr>,
    prefix: Option<Ipv6Net>,
    /// The VM's own addresses that do not follow from its hardware address.
    own: Box<[Ipv6Addr]>,
    /// What follows the ICMPv6 header; empty = nothing to advertise.
    advertisement: Box<[u8]>,
}

/// Whose neighbour solicitations are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proxied {
    /// Nobody's.
    Nobody,
    /// The router's own addresses.
    Router,
    /// Those, and all of `SUBNET6` except the VM's.
    Subnet,
}

impl Router {
    /// `None` when the mode leaves IPv6 to the network's own router. Without `SUBNET6` nothing is advertised.
    #[must_use]
    pub fn new(binding: &Binding, attachment: Attachment, settings: &Settings) -> Option<Self> {
        let mode = binding.mode6.unwrap_or(settings.ra.mode6);
        if mode == Mode6::None {
            return None;
        }
        let named = binding.gateway6_mac;
        let (mac, proxied) = match attachment {
            Attachment::Routed => (settings.router_mac, Proxied::Subnet),
            Attachment::Bridged { .. } if named.is_some() || settings.router_is_host => {
                (named.unwrap_or(settings.router_mac), Proxied::Router)
            }
            Attachment::Bridged { .. } => (settings.router_mac, Proxied::Nobody),
        };
        let network = match attachment {
            Attachment::Bridged { bridge } if proxied == Proxied::Nobody => NonZero::new(bridge),
            Attachment::Bridged { .. } | Attachment::Routed => None,
        };
        let at_gateway = binding
            .gateway6
            .filter(|gateway| proxied == Proxied::Router && gateway.is_unicast_link_local());
        let extra = binding.extra_ips.iter().filter_map(|ip| match ip {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        });
        let router = (proxied != Proxied::Nobody).then_some(mac);
        let advertisement = binding
            .subnet6
            .map(|prefix| encode_advertisement(binding, settings, mode, prefix, router));
        Some(Self {
            mac,
            address: at_gateway.unwrap_or(mac.link_local()),
            proxied,
            network,
            gateway: binding.gateway6,
            prefix: binding.subnet6,
            own: extra.chain(binding.ip6).chain(binding.eui64).collect(),
            advertisement: advertisement.unwrap_or_default(),
        })
    }

    /// The addresses answered for on a bridged NIC (the router's own); empty when neighbours are left alone. The
    /// redirect takes only solicitations for these from a bridge.
    pub fn bridged_targets(&self) -> impl Iterator<Item = Ipv6Addr> {
        let gateway = self.gateway.filter(|gateway| *gateway != self.address);
        [Some(self.address), gateway]
            .into_iter()
            .flatten()
            .filter(|_| self.proxied == Proxied::Router)
    }

    fn is_router(&self, target: Ipv6Addr) -> bool {
        target == self.address || self.gateway == Some(target)
    }

    /// Whether an address is known to be the VM's.
    fn is_own(&self, mac: MacAddr, target: Ipv6Addr) -> bool {
        self.own.contains(&target)
            || target == mac.link_local()
            || self.prefix.and_then(|prefix| mac.eui64(prefix)) == Some(target)
    }

    fn begin_advertisement(&self, (host, host_mac): (Ipv6Addr, MacAddr), out: &mut Frame) -> bool {
        let link = Link {
            source: self.mac,
            destination: host_mac,
        };
        begin_icmpv6(out, link, self.address, host, ROUTER_ADVERTISEMENT)
    }

    /// Writes the advertisement to one host or all of them. False when it does not fit.
    fn write_advertisement(&self, to: (Ipv6Addr, MacAddr), out: &mut Frame) -> bool {
        self.begin_advertisement(to, out) && out.push(&self.advertisement) && finish(out)
    }
}

/// `router`: its hardware address, when one is announced.
fn encode_advertisement(
    binding: &Binding,
    settings: &Settings,
    mode: Mode6,
    prefix: Ipv6Net,
    router: Option<MacAddr>,
) -> Box<[u8]> {
    let ra = &settings.ra;
    // Long enough that two advertisements may be lost (RFC 4861 §6.2.1, RFC 8106 §5.1).
    let lifetime = ra.max_interval.saturating_mul(3);
    let default_router = router.is_some() && !binding.private;
    let router_lifetime = if default_router {
        ra.router_lifetime
    } else {
        0
    };
    let managed = mode == Mode6::Stateful;
    let other = matches!(mode, Mode6::Stateless | Mode6::Stateful);
    let mut message = RouterAdvertisement::new(managed, other, router_lifetime);
    if let Some(mac) = router {
        message.source_link_layer(mac);
    }
    message.prefix(Prefix {
        prefix,
        autonomous: prefix.prefix_len() == 64 && !managed,
        preferred: ra.prefix_preferred.min(ra.prefix_valid),
        valid: ra.prefix_valid,
    });
    if let Some(mtu) = binding.mtu.filter(|mtu| *mtu >= MTU_MIN) {
        message.mtu(u32::from(mtu));
    }
    let servers = binding.nameservers.as_ref();
    let servers = servers.unwrap_or(&settings.nameservers).iter();
    let servers: Vec<Ipv6Addr> = servers
        .filter_map(|address| match address {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        })
        .collect();
    message.recursive_dns(&servers, lifetime);
    let search = binding.domain_search.as_deref();
    let search = search.unwrap_or(&settings.domain_search);
    let domain = binding.domain.as_ref().or(settings.domain.as_ref());
    match domain {
        // As in DHCPv6: a search list of one says the domain.
        Some(domain) if search.is_empty() => {
            message.dns_search_list(std::slice::from_ref(domain), lifetime);
        }
        _ => message.dns_search_list(search, lifetime),
    }
    if let Some(uri) = &binding.captive_portal {
        message.captive_portal(uri);
    }
    // A route leads to whoever advertises it, so there must be a router; not necessarily a default one (RFC 4191 §2.3).
    for route in binding.routes.iter().filter(|_| router.is_some()) {
        if let Route::V6 { destination, .. } = route {
            message.route(*destination, u32::from(ra.router_lifetime).max(lifetime));
        }
    }
    message.into_bytes()
}

/// Writes the unsolicited advertisement of a TAP. False when it is advertised nothing.
#[must_use]
pub fn advertise(served: &Served, out: &mut Frame) -> bool {
    let all = (ALL_NODES, multicast_mac(ALL_NODES));
    advertiser(served).is_some_and(|router| router.write_advertisement(all, out))
}

/// Writes what a TAP is told when its binding is replaced or removed, before anything else it is advertised. Another
/// router, or none: the last advertisement of the one before (§6.2.5). The same router: an advertisement in which
/// expires what is no longer so. False when there is nothing to tell. A daemon that stops tells nothing: its successor
/// goes on.
#[must_use]
pub fn withdraw(before: &Served, after: Option<&Served>, out: &mut Frame) -> bool {
    let Some(router) = advertiser(before) else {
        return false;
    };
    let all = (ALL_NODES, multicast_mac(ALL_NODES));
    let Some(successor) = after
        .filter(|after| is_same_router(before, after))
        .and_then(advertiser)
    else {
        if !router.write_advertisement(all, out) {
            return false;
        }
        let body = ETHERNET_HEADER + IPV6_HEADER + 4;
        cease(out.as_mut_slice().get_mut(body..).unwrap_or_default());
        return finish(out);
    };
    successor.advertisement != router.advertisement
        && successor.begin_advertisement(all, out)
        && push_succession(&router.advertisement, &successor.advertisement, out)
        && finish(out)
}

/// Whether both are advertised one and the same router. If not, the VM has none between the last advertisement of the one
/// and the first of the other.
#[must_use]
pub fn is_same_router(before: &Served, after: &Served) -> bool {
    let router = |served| advertiser(served).map(|router| (router.mac, router.address));
    router(before) == router(after)
}

/// The router of a TAP that is advertised one.
fn advertiser(served: &Served) -> Option<&Router> {
    let router = served.ndp.as_ref();
    router.filter(|router| !router.advertisement.is_empty())
}

pub(super) fn answer_rs(
    served: &Served,
    packet: &Inbound<'_>,
    out: &mut Frame,
) -> Result<Decision, Ignored> {
    let Some(router) = &served.ndp else {
        return Ok(Decision::NotOurs);
    };
    let solicitation = RouterSolicitation::read(packet.payload, packet.verify_checksum)
        .map_err(|_| Ignored::Malformed)?;
    if router.advertisement.is_empty() {
        return Err(Ignored::NoAddress);
    }
    if solicitation.source.is_unspecified() {
        return Ok(Decision::Advertise);
    }
    let host_mac = packet.source.unwrap_or(served.mac);
    if router.write_advertisement((solicitation.source, host_mac), out) {
        Ok(Decision::Reply(Reply::RouterAdvertisement))
    } else {
        Err(Ignored::TooLarge)
    }
}

/// Writes a bridged VM's router solicitation for the routers of its network, when none is announced here: what we
/// advertise names no router, and those on the network advertise seldom without being asked. The interface index of the
/// bridge it is for. `None`: it is for nobody else. `packet`: a well-formed solicitation.
#[must_use]
pub fn pass_on(served: &Served, packet: &Inbound<'_>, out: &mut Frame) -> Option<u32> {
    let bridge = served.ndp.as_ref()?.network?;
    let to_all = packet.payload.get(24..40) == Some(&ALL_ROUTERS.octets()[..]);
    out.clear();
    let whole = out.push(&multicast_mac(ALL_ROUTERS).octets())
        && out.push(&packet.source.unwrap_or(served.mac).octets())
        && out.push(&ETHERTYPE_IPV6)
        && out.push(packet.payload)
        && finish(out); // a virtio guest may have left the checksum to its card
    (to_all && whole).then_some(bridge.get())
}

pub(super) fn answer_ns(
    served: &Served,
    packet: &Inbound<'_>,
    out: &mut Frame,
) -> Result<Decision, Ignored> {
    let Some(router) = served
        .ndp
        .as_ref()
        .filter(|router| router.proxied != Proxied::Nobody)
    else {
        return Ok(Decision::NotOurs);
    };
    let solicitation = NeighborSolicitation::read(packet.payload, packet.verify_checksum)
        .map_err(|_| Ignored::Malformed)?;
    let target = solicitation.target;
    let is_router = router.is_router(target);
    if router.proxied == Proxied::Router && !is_router {
        return Ok(Decision::NotOurs);
    }
    if router.is_own(served.mac, target) {
        return Err(Ignored::NotProxied);
    }
    let in_subnet = router.prefix.is_some_and(|prefix| prefix.contains(&target));
    if !is_router {
        if solicitation.is_probe() {
            return Err(Ignored::NotProxied);
        }
        // Not of this network: this host's own stack may know it.
        if !in_subnet {
            return Ok(Decision::NotOurs);
        }
    }
    // §7.2.4: to whoever asked, or to all when that was nobody.
    let (host, host_mac) = if solicitation.is_probe() {
        (ALL_NODES, multicast_mac(ALL_NODES))
    } else {
        (solicitation.source, packet.source.unwrap_or(served.mac))
    };
    let link = Link {
        source: router.mac,
        destination: host_mac,
    };
    let advertisement = NeighborAdvertisement {
        router: is_router,
        solicited: !solicitation.is_probe(),
        // §7.2.8: a proxy's answer does not replace the owner's.
        override_: is_router,
        target,
        mac: router.mac,
    };
    // From the target itself, as its owner would: ndisc6, for one, takes it from nobody else.
    if begin_icmpv6(out, link, target, host, NEIGHBOR_ADVERTISEMENT)
        && advertisement.push(out)
        && finish(out)
    {
        Ok(Decision::Reply(Reply::NeighborAdvertisement))
    } else {
        Err(Ignored::TooLarge)
    }
}

#[cfg(test)]
mod tests;
