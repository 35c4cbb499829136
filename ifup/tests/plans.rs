//! Golden plans: `tests/plans/NAME.env` (Ganeti's variables, most of them real dumps of a 3.0.2 cluster) and `NAME.toml`
//! (the host's facts) give `NAME.plan`. `UPDATE_GOLDEN=1 cargo test -p snf-ifup --test plans` writes the plans anew; read
//! the difference before you commit it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ifup::apply::chain;
use ifup::config::Config;
use ifup::facts::{Family, HostFacts, Link, Route, Rule, Standing, Table, Uplink};
use ifup::plan::{self, Plan};
use ifup::record::Proxy;
use ifup::request::{IfName, Request, Variables};
use serde::Deserialize;

/// The facts of one case. What a fresh TAP of the kernel's has need not be said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    /// What the case is for.
    about: String,
    /// up, unless it says down.
    #[serde(default)]
    down: bool,
    tap: Option<LinkFacts>,
    bridge: Option<LinkFacts>,
    table: Option<TableFacts>,
    #[serde(default)]
    standing: StandingFacts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkFacts {
    index: u32,
    address: String,
    #[serde(default = "ethernet_mtu")]
    mtu: u32,
    #[serde(default)]
    up: bool,
    master: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFacts {
    id: u32,
    gateway: Option<String>,
    subnet: Option<String>,
    uplink: Option<UplinkFacts>,
    gateway6: Option<String>,
    subnet6: Option<String>,
    uplink6: Option<UplinkFacts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UplinkFacts {
    name: String,
    index: u32,
    address: Option<String>,
    link_local: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StandingFacts {
    rules_installed: bool,
    elements: Vec<String>,
    /// ADDRESS dev UPLINK
    proxies: Vec<String>,
    /// 4|6 TABLE PRIORITY
    rules: Option<Vec<String>>,
    /// PREFIX TABLE
    routes: Vec<String>,
    sysctls: BTreeMap<String, String>,
    binding: Option<String>,
    record: Option<String>,
}

fn ethernet_mtu() -> u32 {
    1500
}

impl LinkFacts {
    fn link(&self, is_bridge: bool) -> Link {
        Link {
            index: self.index,
            address: self.address.parse().unwrap(),
            mtu: self.mtu,
            up: self.up,
            carrier: false,
            master: self.master.as_ref().map(|name| name.parse().unwrap()),
            is_bridge,
        }
    }
}

impl TableFacts {
    fn table(&self) -> Table {
        let uplink = |facts: &UplinkFacts| Uplink {
            name: facts.name.parse().unwrap(),
            index: facts.index,
            address: facts
                .address
                .as_ref()
                .map(|address| address.parse().unwrap()),
            link_local: facts
                .link_local
                .as_ref()
                .map(|address| address.parse().unwrap()),
        };
        Table {
            id: self.id,
            gateway: self.gateway.as_ref().map(|text| text.parse().unwrap()),
            subnet: self.subnet.as_ref().map(|text| text.parse().unwrap()),
            uplink: self.uplink.as_ref().map(uplink),
            gateway6: self.gateway6.as_ref().map(|text| text.parse().unwrap()),
            subnet6: self.subnet6.as_ref().map(|text| text.parse().unwrap()),
            uplink6: self.uplink6.as_ref().map(uplink),
        }
    }
}

impl StandingFacts {
    fn standing(&self, tap: &IfName) -> Standing {
        let mut sysctls = fresh(tap);
        sysctls.extend(self.sysctls.clone());
        let rule = |text: &String| {
            let (family, rest) = text.split_once(' ').unwrap();
            let (table, priority) = rest.split_once(' ').unwrap();
            Rule {
                family: if family == "6" {
                    Family::V6
                } else {
                    Family::V4
                },
                tap: tap.clone(),
                table: table.parse().unwrap(),
                priority: priority.parse().unwrap(),
            }
        };
        let route = |text: &String| {
            let (prefix, table) = text.split_once(' ').unwrap();
            Route {
                destination: prefix.parse().unwrap(),
                tap: tap.clone(),
                table: table.parse().unwrap(),
            }
        };
        let proxy = |text: &String| {
            let (address, uplink) = text.split_once(" dev ").unwrap();
            Proxy {
                address: address.parse().unwrap(),
                uplink: uplink.parse().unwrap(),
            }
        };
        Standing {
            rules_installed: self.rules_installed,
            elements: self
                .elements
                .iter()
                .map(|text| text.parse().unwrap())
                .collect(),
            proxies: self.proxies.iter().map(proxy).collect(),
            rules: self
                .rules
                .as_ref()
                .map(|rules| rules.iter().map(rule).collect()),
            routes: self.routes.iter().map(route).collect(),
            sysctls,
            binding: self.binding.clone(),
            record: self.record.as_ref().map(|text| text.parse().unwrap()),
        }
    }
}

/// What Linux 6.18 gives a TAP that was just made, on a host that forwards.
fn fresh(tap: &IfName) -> BTreeMap<String, String> {
    [
        (format!("net/ipv6/conf/{tap}/disable_ipv6"), "0"),
        (format!("net/ipv6/conf/{tap}/addr_gen_mode"), "0"),
        (format!("net/ipv6/conf/{tap}/accept_dad"), "1"),
        (format!("net/ipv6/conf/{tap}/dad_transmits"), "1"),
        (format!("net/ipv6/conf/{tap}/accept_ra"), "1"),
        (format!("net/ipv6/conf/{tap}/forwarding"), "1"),
        (format!("net/ipv6/conf/{tap}/proxy_ndp"), "0"),
        (format!("net/ipv4/conf/{tap}/forwarding"), "1"),
        (format!("net/ipv4/conf/{tap}/proxy_arp"), "0"),
        (format!("net/ipv4/neigh/{tap}/proxy_delay"), "80"),
        ("net/ipv6/conf/all/forwarding".to_owned(), "1"),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .into()
}

fn variables(text: &str) -> Variables {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn plan(env: &str, facts: &str) -> String {
    let config = Config::parse("").unwrap();
    let file: Facts = toml::from_str(facts).unwrap();
    let request = match Request::from_variables(&variables(env), &config.tags) {
        Ok(request) => request,
        Err(error) => return format!("# {}\nrefused: {}\n", file.about, chain(&error)),
    };
    let facts = HostFacts {
        tap: file.tap.map(|link| link.link(false)),
        bridge: file.bridge.map(|link| link.link(true)),
        table: file.table.map(|table| table.table()),
        standing: file.standing.standing(&request.tap),
    };
    let planned = if file.down {
        Ok(plan::down(&request.tap, &facts, &config))
    } else {
        plan::up(&request, &facts, &config)
    };
    match planned {
        Ok(plan) => format!("# {}\n{}", file.about, text(&plan)),
        Err(error) => format!("# {}\nrefused: {}\n", file.about, chain(&error)),
    }
}

fn text(plan: &Plan) -> String {
    let warnings = plan
        .warnings
        .iter()
        .map(|warning| format!("# warning: {warning}\n"));
    warnings
        .chain(plan.steps.iter().map(|step| format!("{step}\n")))
        .collect()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans")
}

fn cases() -> BTreeSet<String> {
    let mut cases = BTreeSet::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|extension| extension == "env") {
            cases.insert(name);
        }
    }
    cases
}

#[test]
fn plans_are_as_written() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let path = |extension: &str| directory().join(format!("{case}.{extension}"));
        let env = fs::read_to_string(path("env")).unwrap();
        let facts = fs::read_to_string(path("toml")).unwrap_or_else(|_| panic!("{case}.toml"));
        let planned = plan(&env, &facts);
        if update {
            fs::write(path("plan"), planned).unwrap();
        } else if fs::read_to_string(path("plan")).unwrap_or_default() != planned {
            wrong.push(format!(
                "--- {case}.plan is not what is planned now:\n{planned}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

/// A file that no test reads is one that nobody mends.
#[test]
fn every_file_belongs_to_a_case() {
    let cases = cases();
    assert!(cases.len() > 10, "the cases are gone");
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let known = matches!(extension, Some("env" | "toml" | "plan"));
        assert!(
            known && cases.contains(name),
            "{} belongs to no case",
            path.display()
        );
    }
}
