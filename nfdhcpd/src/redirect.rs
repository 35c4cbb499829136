//! Whose packets the managed redirect is to take: from the table of bindings to changes of the rules.
//!
//! A TAP whose file is refused is taken too, and a file's that still waits for its TAP: a VM that is meant to be served
//! must not get an answer from the LAN. One whose file is another VM's is left alone.

use snf_nft::IfName;

use crate::bindings::{Bindings, Redirected};
use crate::config::{Config, Rules};
use crate::ports::Port;
use crate::rules::plan::Settings;
use crate::rules::{BridgePort, Protocols, ServedTap, TapChange};

/// What the rules depend on; `None` with external rules.
#[must_use]
pub fn settings(config: &Config) -> Option<Settings> {
    match config.rules {
        Rules::Managed { on_absent } => Some(Settings {
            queues: config.queues,
            rate: config.kernel_rate,
            on_absent,
            mark: config.mark,
        }),
        Rules::External => None,
    }
}

/// What is to be taken on account of this file. `port`: what its TAP is served.
#[must_use]
pub fn change(bindings: &Bindings, name: IfName, port: Option<&Port>) -> TapChange {
    match bindings.redirected(name) {
        Some(redirected) => TapChange::Serve(served(name, redirected, port)),
        None => TapChange::Withdraw(name),
    }
}

fn served(name: IfName, Redirected { tap, bridge }: Redirected, port: Option<&Port>) -> ServedTap {
    let router = port.and_then(|port| port.served.ndp.as_ref());
    ServedTap {
        name,
        ifindex: tap.map_or(0, |tap| tap.index),
        port: tap.zip(bridge).map(|(tap, bridge)| BridgePort {
            bridge: bridge.name,
            bridge_ifindex: bridge.index,
            mac: tap.mac,
        }),
        protocols: match port {
            None => Protocols::ALL,
            Some(port) => Protocols {
                dhcpv4: true,
                rs: port.served.ndp.is_some(),
                ns: port.served.ndp.is_some(),
                dhcpv6: port.served.dhcpv6.is_some(),
            },
        },
        ns_targets: router
            .into_iter()
            .flat_map(|router| router.bridged_targets())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use nfdhcpd_binding::{Binding, MacAddr};

    use super::*;
    use crate::bindings::{Read, Stamp};
    use crate::link::Link;

    fn name() -> IfName {
        "tap0".parse().unwrap()
    }

    fn link() -> Link {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        Link {
            index: 7,
            name: name(),
            is_bridge: false,
            master: None,
            mac,
            up: true,
        }
    }

    fn read(content: Result<Binding, String>) -> Read {
        Read {
            stamp: Stamp {
                inode: 1,
                modified: (0, 0),
                size: 1,
            },
            content,
        }
    }

    #[track_caller]
    fn takes(bindings: &Bindings, ifindex: Option<u32>) {
        match (change(bindings, name(), None), ifindex) {
            (TapChange::Serve(tap), Some(ifindex)) => {
                assert_eq!((tap.ifindex, tap.protocols), (ifindex, Protocols::ALL));
            }
            (TapChange::Withdraw(_), None) => {}
            (change, _) => panic!("{change:?}"),
        }
    }

    #[test]
    fn what_is_meant_to_be_served_is_taken_and_what_is_anothers_is_not() {
        let mut bindings = Bindings::default();
        let out = &mut Vec::new();
        takes(&bindings, None);
        bindings.written(name(), read(Ok(Binding::new(MacAddr([2; 6])))), out);
        takes(&bindings, Some(0));
        bindings.written(name(), read(Err(String::from("no"))), out);
        takes(&bindings, Some(0));
        bindings.link_here(link(), out);
        takes(&bindings, Some(7));
        bindings.link_here(Link { index: 9, ..link() }, out);
        takes(&bindings, None);
    }
}
