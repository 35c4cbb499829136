//! The names and addresses in a lab: the same in every lab, since no two see each other.

/// The place that stands for the network between the nodes and the world outside.
pub const SWITCH: &str = "switch";

/// The domain all names are in.
pub const DOMAIN: &str = "gnt.test";

/// The cluster's name.
pub const CLUSTER: &str = "cluster.gnt.test";

/// The cluster's address: on whichever node is the master.
pub const CLUSTER_ADDRESS: &str = "192.168.77.10";

/// The place of the message broker.
pub const BROKER: &str = "broker";
/// The broker's address, on the nodes' network; it listens at AMQP's port, 5672.
pub const BROKER_ADDRESS: &str = "192.168.77.20";
/// Who may do everything at the broker: the control plane, which declares the topology and consumes.
pub const BROKER_USER: &str = "synnefo";
/// And with which password.
pub const BROKER_PASSWORD: &str = "secret";
/// As whom the cluster's nodes publish: to the one exchange, and nothing else.
pub const PUBLISHER: &str = "cluster";
/// And with which password.
pub const PUBLISHER_PASSWORD: &str = "publish";

/// What our names begin with.
pub const PREFIX: &str = "snf-";

/// Where eventd serves its metrics, on each node.
pub const EVENTD_METRICS: &str = "127.0.0.1:9548";
/// Where eventd tells its journal, on each node.
pub const EVENTD_JOURNAL: &str = "127.0.0.1:9549";
/// Who knows this may ask for the journal.
pub const JOURNAL_TOKEN: &str = "secret";

/// The switch's address, on the nodes' network.
pub const SWITCH_ADDRESS: &str = "192.168.77.254";

/// The cluster's remote API.
pub const RAPI: &str = "https://192.168.77.10:5080";
/// Who may use the API.
pub const RAPI_USER: &str = "synnefo";
/// And with which password.
pub const RAPI_PASSWORD: &str = "secret";

/// The bridge that carries a node's own address and is its VMs' bridge.
pub const BRIDGE: &str = "br0";
/// A node's end of the wire into its bridge.
pub const BRIDGE_UPLINK: &str = "up0";
/// A node's end of the wire of the routed networks.
pub const ROUTED_UPLINK: &str = "up1";
/// The switch's bridge of the routed networks.
pub const ROUTED_BRIDGE: &str = "br1";

/// The OS definition of diskless instances.
pub const OS: &str = "noop+default";

/// The network on the nodes' bridges.
pub const BRIDGED_NETWORK: Network = Network {
    name: "bridged",
    prefix: "10.77.0.0/24",
    router: "10.77.0.1",
    prefix6: "2001:db8:77::/64",
    router6: "2001:db8:77::1",
    tags: "nfdhcpd",
    link: "mode=bridged,link=br0",
};

/// The network that the nodes route, by table `rt79`.
pub const ROUTED_NETWORK: Network = Network {
    name: "routed",
    prefix: "10.79.0.0/24",
    router: "10.79.0.1",
    prefix6: "2001:db8:79::/64",
    router6: "2001:db8:79::1",
    tags: "nfdhcpd,ip-less-routed",
    link: "mode=routed,link=rt79",
};

/// A network for VMs, as it is told to Ganeti.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// Its name.
    pub name: &'static str,
    /// Its IPv4 prefix.
    pub prefix: &'static str,
    /// Its IPv4 router: the switch.
    pub router: &'static str,
    /// Its IPv6 prefix.
    pub prefix6: &'static str,
    /// Its IPv6 router: the switch.
    pub router6: &'static str,
    /// Its tags, with commas between.
    pub tags: &'static str,
    /// Mode and link of its NICs.
    pub link: &'static str,
}

/// The short name of node `number`, counted from 1.
#[must_use]
pub fn node(number: usize) -> String {
    format!("node{number}")
}

/// The number of the node with this short name.
#[must_use]
pub fn number(node: &str) -> Option<usize> {
    node.strip_prefix("node")?.parse().ok()
}

/// The full name of a place.
#[must_use]
pub fn full_name(place: &str) -> String {
    format!("{place}.{DOMAIN}")
}

/// The address of node `number` on the nodes' network.
#[must_use]
pub fn address(number: usize) -> String {
    format!("192.168.77.{}", 10 + number)
}

/// What every place's `/etc/hosts` says.
#[must_use]
pub fn hosts(nodes: usize) -> String {
    let mut text = format!("127.0.0.1 localhost\n{CLUSTER_ADDRESS} {CLUSTER} cluster\n");
    text.push_str(&format!(
        "{SWITCH_ADDRESS} {} {SWITCH}\n",
        full_name(SWITCH)
    ));
    text.push_str(&format!(
        "{BROKER_ADDRESS} {} {BROKER}\n",
        full_name(BROKER)
    ));
    for number in 1..=nodes {
        let name = node(number);
        text.push_str(&format!(
            "{} {} {name}\n",
            address(number),
            full_name(&name)
        ));
    }
    text
}
