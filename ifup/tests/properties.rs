//! Properties of plans, on a host that exists on paper only: it has exactly the state that steps change, and refuses what
//! the kernel would refuse.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ifup::apply::{Perform, StepError, apply};
use ifup::config::Config;
use ifup::element::Element;
use ifup::facts::{HostFacts, Link, Route, Rule, Standing, Table, Uplink};
use ifup::plan;
use ifup::record::{Proxy, Record};
use ifup::request::{IfName, Request, Variables};
use ifup::step::{Change, Step};
use nfdhcpd_binding::MacAddr;
use proptest::prelude::*;

/// What steps change, for one TAP.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Paper {
    tap: Link,
    installed: bool,
    files: BTreeMap<PathBuf, String>,
    elements: BTreeSet<Element>,
    rules: BTreeSet<Rule>,
    routes: BTreeSet<Route>,
    proxies: BTreeSet<Proxy>,
    sysctls: BTreeMap<String, String>,
    /// The step of this number fails; 0: none.
    fails: usize,
    done: usize,
}

impl Paper {
    fn new(index: u32) -> Self {
        let address = MacAddr([2, 0, 0, 0, 0, 1]);
        let tap = Link {
            index,
            address,
            mtu: 1500,
            up: false,
            carrier: false,
            master: None,
            is_bridge: false,
        };
        let sysctls = [
            ("net/ipv6/conf/tap0/addr_gen_mode", "0"),
            ("net/ipv6/conf/tap0/accept_dad", "1"),
            ("net/ipv6/conf/tap0/dad_transmits", "1"),
            ("net/ipv6/conf/tap0/accept_ra", "1"),
            ("net/ipv6/conf/tap0/disable_ipv6", "0"),
            ("net/ipv6/conf/tap0/forwarding", "0"),
            ("net/ipv6/conf/tap0/proxy_ndp", "0"),
            ("net/ipv4/conf/tap0/forwarding", "0"),
            ("net/ipv4/conf/tap0/proxy_arp", "0"),
            ("net/ipv4/neigh/tap0/proxy_delay", "80"),
            ("net/ipv6/conf/eth1/proxy_ndp", "1"),
        ];
        Self {
            tap,
            installed: true,
            files: BTreeMap::new(),
            elements: BTreeSet::new(),
            rules: BTreeSet::new(),
            routes: BTreeSet::new(),
            proxies: BTreeSet::new(),
            sysctls: sysctls
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            fails: 0,
            done: 0,
        }
    }

    /// The name's next TAP: what named the old one by its name stands, what hung on the device is gone.
    fn recreate(&mut self, index: u32) {
        let fresh = Self::new(index);
        self.tap = fresh.tap;
        self.sysctls = fresh.sysctls;
        self.routes.clear();
    }

    fn facts(&self, config: &Config) -> HostFacts {
        let tap: IfName = "tap0".parse().unwrap();
        let file = |path: PathBuf| self.files.get(&path).cloned();
        let record: Option<Record> =
            file(plan::record_path(&tap, config)).map(|text| text.parse().unwrap());
        let known = record
            .as_ref()
            .is_some_and(|record| record.ifindex == self.tap.index);
        let bridge = Link {
            index: 2,
            mtu: 1400,
            is_bridge: true,
            up: true,
            ..self.tap.clone()
        };
        let uplink = Uplink {
            name: "eth1".parse().unwrap(),
            index: 3,
            address: Some(MacAddr([2, 0, 0, 0, 0, 3])),
            link_local: None,
        };
        HostFacts {
            tap: Some(self.tap.clone()),
            bridge: Some(bridge),
            table: Some(Table {
                id: 79,
                gateway: Some("10.79.0.1".parse().unwrap()),
                subnet: Some("10.79.0.0/24".parse().unwrap()),
                uplink: Some(uplink.clone()),
                gateway6: Some("2001:db8:79::1".parse().unwrap()),
                subnet6: Some("2001:db8:79::/64".parse().unwrap()),
                uplink6: Some(uplink),
            }),
            standing: Standing {
                rules_installed: self.installed,
                elements: self.elements.iter().cloned().collect(),
                proxies: self.proxies.iter().cloned().collect(),
                rules: known.then(|| self.rules.iter().cloned().collect()),
                routes: self.routes.iter().cloned().collect(),
                sysctls: self.sysctls.clone(),
                binding: file(config.binding_dir.join("tap0")),
                record,
            },
        }
    }

    /// Adds or deletes, and refuses to do it twice.
    fn put<T: Ord + Clone>(set: &mut BTreeSet<T>, change: Change, item: &T) -> bool {
        match change {
            Change::Add => set.insert(item.clone()),
            Change::Delete => set.remove(item),
        }
    }
}

impl Perform for Paper {
    fn perform(&mut self, step: &Step) -> Result<(), StepError> {
        self.done += 1;
        if self.done == self.fails {
            return Err(StepError::OnPurpose);
        }
        let is_done = match step {
            Step::File {
                path,
                before,
                after,
            } => {
                let found = match after {
                    Some(text) => self.files.insert(path.clone(), text.clone()),
                    None => self.files.remove(path),
                };
                found == *before
            }
            Step::InstallRules => {
                self.installed = true;
                true
            }
            Step::Elements { delete, add } => {
                delete.iter().all(|element| self.elements.remove(element))
                    && add
                        .iter()
                        .all(|element| self.elements.insert(element.clone()))
            }
            Step::Address { before, after, .. } => {
                std::mem::replace(&mut self.tap.address, *after) == *before
            }
            Step::Mtu { before, after, .. } => {
                std::mem::replace(&mut self.tap.mtu, *after) == *before
            }
            Step::Master { before, after, .. } => {
                std::mem::replace(&mut self.tap.master, after.clone()) == *before
            }
            Step::Admin { up, .. } => {
                // A device that goes down has no route left.
                assert!(
                    *up || self.routes.is_empty(),
                    "the kernel would take routes away"
                );
                std::mem::replace(&mut self.tap.up, *up) != *up
            }
            Step::Sysctl { key, after, .. } => {
                self.sysctls.insert(key.clone(), after.clone()).is_some()
            }
            Step::PurgeRules { .. } => {
                self.rules.clear();
                true
            }
            Step::Rule(change, rule) => Self::put(&mut self.rules, *change, rule),
            Step::Route(change, route) => {
                // The kernel takes no route out of a device that is down.
                let is_possible = self.tap.up || *change == Change::Delete;
                is_possible && Self::put(&mut self.routes, *change, route)
            }
            Step::Proxy(change, proxy) => Self::put(&mut self.proxies, *change, proxy),
            Step::Announce(_) => true,
        };
        assert!(is_done, "{step}: the host was not as the plan says");
        Ok(())
    }
}

/// Any NIC we serve.
fn request() -> impl Strategy<Value = Request> {
    let tags = (any::<bool>(), any::<bool>(), any::<bool>());
    let nic = (any::<bool>(), 2_u8..=254, any::<bool>(), tags);
    nic.prop_map(
        |(is_routed, n, has_network, (served, isolated, has_prefix))| {
            let mut variables: Variables = [
                ("INTERFACE", "tap0"),
                ("INSTANCE", "vm.example.org"),
                ("LINK", if is_routed { "79" } else { "br0" }),
                ("MODE", if is_routed { "routed" } else { "bridged" }),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
            let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
            set("MAC", format!("aa:00:77:00:00:{n:02x}"));
            set("IP", format!("10.79.0.{n}"));
            if has_network {
                let isolation = if is_routed {
                    "ip-less-routed"
                } else {
                    "private-filtered"
                };
                set("NETWORK_NAME", "net".to_owned());
                set("NETWORK_SUBNET", "10.79.0.0/24".to_owned());
                set("NETWORK_GATEWAY", "10.79.0.1".to_owned());
                set("NETWORK_SUBNET6", "2001:db8:79::/64".to_owned());
                let words = [(served, "nfdhcpd"), (isolated, isolation)];
                let words = words
                    .into_iter()
                    .filter_map(|(is_set, word)| is_set.then_some(word));
                set("NETWORK_TAGS", words.collect::<Vec<_>>().join(" "));
                if has_prefix {
                    set("NETWORK_MAC_PREFIX", "aa:00:77".to_owned());
                }
            }
            Request::from_variables(&variables, &Config::parse("").unwrap().tags).unwrap()
        },
    )
}

/// A host on which NICs came up on the same TAP name one after the other, each on a new TAP or on the one that stood.
fn lived_in() -> impl Strategy<Value = Paper> {
    proptest::collection::vec((request(), any::<bool>()), 0..4).prop_map(|past| {
        let config = Config::parse("").unwrap();
        let mut host = Paper::new(7);
        for (request, is_new) in past {
            if is_new {
                host.recreate(host.tap.index + 1);
            }
            let plan = plan::up(&request, &host.facts(&config), &config).unwrap();
            apply(&mut host, plan.changes()).unwrap();
        }
        host
    })
}

proptest! {
    /// What stands after `up` is what the NIC wants, whatever stood before; a second `up` has nothing to do.
    #[test]
    fn up_twice_is_up_once(mut host in lived_in(), request in request()) {
        let config = Config::parse("").unwrap();
        let plan = plan::up(&request, &host.facts(&config), &config).unwrap();
        apply(&mut host, plan.changes()).unwrap();
        let facts = host.facts(&config);
        let wanted = plan::wiring(&request, &facts, &config).unwrap();
        prop_assert_eq!(&host.elements, &wanted.elements.into_iter().collect());
        prop_assert_eq!(&host.rules, &wanted.rules.into_iter().collect());
        prop_assert_eq!(&host.routes, &wanted.routes.into_iter().collect());
        prop_assert_eq!(&host.proxies, &wanted.proxies.into_iter().collect());
        prop_assert_eq!(&host.tap.master, &wanted.master);
        prop_assert!(host.tap.up);
        prop_assert_eq!(plan::up(&request, &facts, &config).unwrap().steps, vec![]);
    }

    /// However far `up` came, undoing leaves what was; but for rules of the name that nobody knows.
    #[test]
    fn a_failure_leaves_what_was(host in lived_in(), request in request(), fails in 1_usize..40) {
        let config = Config::parse("").unwrap();
        let plan = plan::up(&request, &host.facts(&config), &config).unwrap();
        prop_assume!(fails <= plan.changes().len());
        let mut after = Paper { fails, done: 0, ..host.clone() };
        let error = apply(&mut after, plan.changes()).unwrap_err();
        prop_assert!(error.left.is_empty());
        let is_purged = plan.steps.iter().any(|step| matches!(step, Step::PurgeRules { .. }));
        let rules = if is_purged { after.rules.clone() } else { host.rules.clone() };
        prop_assert_eq!(Paper { fails: 0, done: 0, ..after }, Paper { rules, done: 0, ..host });
    }

    /// Isolation stands whenever the TAP is up.
    #[test]
    fn the_tap_is_never_up_without_its_isolation(host in lived_in(), request in request()) {
        let config = Config::parse("").unwrap();
        let facts = host.facts(&config);
        let wanted = plan::wiring(&request, &facts, &config).unwrap();
        let plan = plan::up(&request, &facts, &config).unwrap();
        let mut host = host;
        let was_up = host.tap.up;
        for step in plan.changes() {
            host.perform(step).unwrap();
            let stands = wanted.elements.iter().all(|element| host.elements.contains(element));
            let moved = host.tap.master != facts.tap.as_ref().unwrap().master;
            let opened = matches!(step, Step::Admin { up: true, .. }) || (was_up && moved);
            prop_assert!(!opened || !host.tap.up || stands, "{}", step);
        }
    }

    /// Down leaves nothing, from wherever, and is nothing the second time.
    #[test]
    fn down_leaves_nothing(mut host in lived_in()) {
        let config = Config::parse("").unwrap();
        let tap: IfName = "tap0".parse().unwrap();
        let facts = |host: &Paper| {
            let mut facts = host.facts(&config);
            facts.standing.rules = Some(host.rules.iter().cloned().collect());
            facts
        };
        let plan = plan::down(&tap, &facts(&host), &config);
        apply(&mut host, &plan.steps).unwrap();
        prop_assert!(host.files.is_empty() && host.elements.is_empty() && host.rules.is_empty());
        prop_assert!(host.routes.is_empty() && host.proxies.is_empty());
        prop_assert!(!host.tap.up && host.tap.master.is_none());
        prop_assert_eq!(plan::down(&tap, &facts(&host), &config).steps, vec![]);
    }

    /// No text makes the request's reader panic, and what it takes it can name.
    #[test]
    fn any_variables_are_read_or_refused(
        values in proptest::collection::vec("[ -~]{0,40}|tap[0-9]|routed|bridged|[0-9a-f:./@ ]{0,30}", 12),
        tag in "(synnefo:)?(dns|route|mtu|search|hostname|network|x)?:?[!-~]{0,20}",
    ) {
        let names = [
            "INTERFACE", "INSTANCE", "MAC", "IP", "MODE", "LINK", "NETWORK_NAME", "NETWORK_SUBNET",
            "NETWORK_GATEWAY", "NETWORK_SUBNET6", "NETWORK_MAC_PREFIX", "TAGS",
        ];
        let mut variables: Variables =
            names.iter().map(|name| (*name).to_owned()).zip(values).collect();
        variables.insert("NETWORK_TAGS".to_owned(), tag);
        let config = Config::parse("").unwrap();
        if let Err(error) = Request::from_variables(&variables, &config.tags) {
            let text = error.to_string();
            prop_assert!(text.contains('=') || text.contains("is not set"), "{}", text);
            prop_assert!(!text.contains('\n'), "{}", text);
        }
    }
}
