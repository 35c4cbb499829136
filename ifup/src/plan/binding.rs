//! What nfdhcpd is to answer, from request, tags and table.

use nfdhcpd_binding::{Binding, Mode6};

use crate::facts::Table;
use crate::request::{IfName, Network, NicMode, Request};

/// The binding of a NIC in a network. `indev` is the device the host sees its packets come in on.
pub(super) fn of_network(request: &Request, network: &Network, indev: &IfName) -> Binding {
    let guest = &network.tags.guest;
    let address6 = network.subnet6.and_then(|subnet| request.mac.eui64(subnet));
    Binding {
        indev: Some(indev.to_string()),
        subnet: network.subnet,
        gateway: network.gateway,
        subnet6: network.subnet6,
        gateway6: network.gateway6,
        eui64: address6,
        // Stateful: DHCPv6 gives the address that the host routes and filters by.
        ip6: address6.filter(|_| guest.mode6 == Some(Mode6::Stateful)),
        mode6: guest.mode6,
        nameservers: some(&guest.nameservers),
        domain: guest.domain.clone(),
        domain_search: some(&guest.search),
        routes: guest.routes.clone(),
        ntp: some(&guest.ntp),
        mtu: guest.mtu,
        ..of_request(request)
    }
}

/// The binding of a routed NIC without a network: what its table says.
pub(super) fn of_table(request: &Request, table: &Table) -> Binding {
    let link = match &request.mode {
        NicMode::Routed { table } => table.to_string(),
        NicMode::Bridged { bridge } => bridge.to_string(),
    };
    Binding {
        indev: Some(request.tap.to_string()),
        link: Some(link),
        subnet: table.subnet,
        gateway: table.gateway,
        subnet6: table.subnet6,
        gateway6: table.gateway6,
        eui64: table.subnet6.and_then(|subnet| request.mac.eui64(subnet)),
        ..of_request(request)
    }
}

fn of_request(request: &Request) -> Binding {
    let hostname = request
        .instance_tags
        .hostname
        .as_ref()
        .unwrap_or(&request.instance);
    Binding {
        ip: request.ip,
        hostname: Some(hostname.clone()),
        tags: request.tags.clone(),
        ..Binding::new(request.mac)
    }
}

/// No tag, no key: nfdhcpd's configuration then says.
fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::facts::{HostFacts, Link};
    use crate::plan::{PlanError, up};
    use crate::request::{Request, Variables};

    #[test]
    fn what_nfdhcpd_would_refuse_is_not_planned() {
        let config = Config::parse("").unwrap();
        let variables: Variables = [
            ("INTERFACE", "tap0"),
            ("INSTANCE", "k1.gnt.test"),
            ("MAC", "aa:00:77:51:ad:bc"),
            ("MODE", "bridged"),
            ("LINK", "br0"),
            ("IP", "10.77.0.1"),
            ("NETWORK_NAME", "netbr"),
            ("NETWORK_SUBNET", "10.77.0.0/24"),
            ("NETWORK_GATEWAY", "10.77.0.1"),
            ("NETWORK_TAGS", "nfdhcpd"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let request = Request::from_variables(&variables, &config.tags).unwrap();
        let link = |is_bridge| Link {
            index: 4,
            address: "1a:dc:13:53:91:eb".parse().unwrap(),
            mtu: 1500,
            up: false,
            carrier: false,
            master: None,
            is_bridge,
        };
        let facts = HostFacts {
            tap: Some(link(false)),
            bridge: Some(link(true)),
            ..HostFacts::default()
        };
        let Err(PlanError::Binding { source }) = up(&request, &facts, &config) else {
            panic!("the VM's address is the router's");
        };
        assert!(
            source
                .to_string()
                .contains("GATEWAY=10.77.0.1: is the VM's own address")
        );
    }
}
