//! The ordinary scene of a test: one host, one TAP with a binding, one client behind it, nfdhcpd running.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use nfdhcpd_binding::MacAddr;

use crate::client::{CARD, Client};
use crate::frame::{self, Message};
use crate::ganeti::TABLE;
use crate::host::{Host, Nfdhcpd};
use crate::tap::Tap;
use crate::world::World;

/// The client's hardware address.
pub const MAC: MacAddr = MacAddr([0xaa, 0x00, 0x77, 0x51, 0xad, 0xbc]);

/// The hardware address of every routed TAP: the router's, as its VM sees it.
pub const ROUTED_TAP_MAC: MacAddr = MacAddr([0xcc, 0x47, 0x52, 0x4e, 0x45, 0x54]);

/// The hardware address of the physical network's router.
pub const ROUTER_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);

/// What the client is to be told, but for `INDEV`: a line for each key a client shows the effect of.
pub const BINDING: &str = "\
MAC=aa:00:77:51:ad:bc
HOSTNAME=web1.example.org
IP=10.77.0.2
SUBNET=10.77.0.0/24
GATEWAY=10.77.0.1
SUBNET6=2001:db8:77::/64
GATEWAY6=2001:db8:77::1
EUI64=2001:db8:77:0:a800:77ff:fe51:adbc
NAMESERVERS=10.77.0.53,2001:db8:77::53
DOMAIN=example.org
DOMAIN_SEARCH=example.org,example.net
ROUTES=198.51.100.0/24@10.77.0.254
MTU=1450
";

/// What the daemon is told: as little as possible.
pub const CONFIGURATION: &str = "\
user = \"nobody\"
[rate]
per_second = 100
";

/// The same where this host is the router of bridged VMs too: nothing at all of what they ask leaves it.
pub const HOST_IS_ROUTER: &str = "\
user = \"nobody\"
router = \"host\"
[rate]
per_second = 100
";

/// How a NIC is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// A port of bridge `br0`.
    Bridged,
    /// To nothing: the host routes.
    Routed,
}

/// The scene.
#[derive(Debug)]
pub struct Served {
    /// The client, connected and its card up.
    pub client: Client,
    /// The TAP, named `tap0`.
    pub tap: Tap,
    /// The physical network's router: all it sees is what has left the host.
    pub router: Client,
    /// The daemon.
    pub nfdhcpd: Nfdhcpd,
    /// The host.
    pub host: Host,
    /// The VM's router is one of its network: nfdhcpd passes router solicitations on to it.
    pub router_is_elsewhere: bool,
}

impl Served {
    /// Sets the scene with [`BINDING`], in which the lines of `changes` replace those of the same key.
    ///
    /// # Errors
    /// When a part of it cannot be made, or nfdhcpd does not take the binding.
    pub fn new(world: &World, attachment: Attachment, changes: &str) -> Result<Self> {
        Self::configured(world, attachment, changes, CONFIGURATION)
    }

    /// The same, with a configuration of the test's own.
    ///
    /// # Errors
    /// As [`Served::new`].
    pub fn configured(
        world: &World,
        attachment: Attachment,
        changes: &str,
        configuration: &str,
    ) -> Result<Self> {
        let host = Host::new(world, "host")?;
        let (uplink, tap, address) = match attachment {
            Attachment::Bridged => (
                host.bridge("br0")?,
                host.bridged_tap("tap0", "br0")?,
                "10.77.0.1/24",
            ),
            Attachment::Routed => {
                let uplink = host.uplink("up1")?;
                host.routed_network("up1")?;
                (uplink, routed_by_hand(&host)?, "10.79.0.1/24")
            }
        };
        let router = Client::new(world, "router", ROUTER_MAC, &uplink)?;
        router
            .namespace
            .ip(&format!("addr add {address} dev {CARD}"))?;
        let nfdhcpd = host.nfdhcpd(configuration)?;
        host.bind("tap0", &binding(changes))?;
        nfdhcpd.serves("tap0")?;
        let client = Client::new(world, "vm", MAC, &tap)?;
        Ok(Self {
            client,
            tap,
            router,
            nfdhcpd,
            host,
            router_is_elsewhere: attachment == Attachment::Bridged
                && !configuration.contains("router =")
                && !changes.contains("GATEWAY6_MAC="),
        })
    }

    /// Gives the client another IPv4 address and waits until that is in force.
    ///
    /// # Errors
    /// When it is not soon.
    pub fn move_to(&self, address: Ipv4Addr, other_changes: &str) -> Result<()> {
        self.host
            .bind("tap0", &binding(&format!("IP={address}\n{other_changes}")))?;
        self.nfdhcpd.shows("tap0", "ip", &address.to_string())
    }

    /// Nothing of what nfdhcpd is there for has left the host, but what it passes on.
    ///
    /// # Errors
    /// When something has, naming it.
    pub fn nothing_leaked(&self) -> Result<()> {
        for frame in self.router.wire.record() {
            let from_client = frame.bytes.get(6..12) == Some(&MAC.octets()[..]);
            let Some(message) = frame::read(&frame.bytes).filter(|_| from_client) else {
                continue;
            };
            let others = match message {
                Message::NeighborSolicitation { .. } | Message::NeighborAdvertisement { .. } => {
                    true
                }
                Message::RouterSolicitation => self.router_is_elsewhere,
                Message::Dhcpv4(_) | Message::Dhcpv6(_) | Message::RouterAdvertisement(_) => false,
            };
            ensure!(others, "left the host: {message}");
        }
        Ok(())
    }

    /// What [`BINDING`] says of IPv4 is on the client's card: address, prefix, MTU.
    ///
    /// # Errors
    /// When it is not soon.
    pub fn client_is_configured(&self) -> Result<()> {
        let length = self.client.has_address(IpAddr::from([10, 77, 0, 2]))?;
        ensure!(length == 24, "{CARD} has the address with /{length}");
        self.client.has_mtu(1450)
    }
}

/// What snf-ifup does for a routed NIC, so that what these tests see is nfdhcpd's doing alone.
fn routed_by_hand(host: &Host) -> Result<Tap> {
    let tap = host.tap("tap0")?;
    host.namespace
        .ip(&format!("link set tap0 address {ROUTED_TAP_MAC} up"))?;
    host.namespace
        .ip(&format!("rule add iif tap0 lookup {TABLE}"))?;
    host.namespace
        .ip(&format!("route add 10.77.0.2 dev tap0 table {TABLE}"))?;
    host.namespace.sysctl("net/ipv4/conf/tap0/proxy_arp", "1")?;
    host.namespace
        .sysctl("net/ipv4/neigh/tap0/proxy_delay", "0")?;
    Ok(tap)
}

/// [`BINDING`] with the lines of `changes` in place of those of the same key.
#[must_use]
pub fn binding(changes: &str) -> String {
    let key = |line: &str| line.split('=').next().map(str::to_owned);
    let changed: Vec<_> = changes.lines().map(key).collect();
    let kept = BINDING.lines().filter(|line| !changed.contains(&key(line)));
    kept.chain(changes.lines())
        .fold(String::new(), |text, line| text + line + "\n")
}
