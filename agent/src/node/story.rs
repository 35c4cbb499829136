//! The whole story of a TAP, gathered for people and machines: Ganeti's view, the plan, what stands in the kernel, what
//! nfdhcpd last answered. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ifup::facts::HostFacts;
use ifup::host::{Host, HostError};
use ifup::plan::{Setting, Wiring, wiring};
use ifup::request::{IfName, Request, Variables};
use nfdhcpd_binding::Binding;
use serde::Serialize;
use serde_json::Value;

use super::config::Config;
use super::configured::Pending;
use super::counters::Figures;
use super::environment::Heard;
use super::observe::{self, Ganeti};
use super::reconcile::{Known, Verdict, judge};
use super::round::{Finding, Mode, Standing, all, look};
use super::socket::FIGURES;
use super::store::Store;

/// One TAP.
#[derive(Debug, Serialize)]
pub struct Story {
    /// The TAP.
    pub tap: String,
    /// Whose it is.
    pub instance: Option<String>,
    /// `sound`, `drifted`, `gone`, `failed`, or why it is left alone.
    pub standing: &'static str,
    /// The reason, where there is one.
    pub reason: Option<String>,
    /// What snf-ifup would be told today.
    pub ganeti: Option<Variables>,
    /// What the hooks said last.
    pub hooks: Option<Heard>,
    /// The device.
    pub device: Option<Device>,
    /// What has to stand, and whether it does.
    pub parts: Vec<Part>,
    /// What the agent would do now, as commands.
    pub plan: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// What is configured and takes effect at the instance's next start.
    pub pending: Vec<Pending>,
    /// What nfdhcpd tells of the TAP (`nfdhcpd ctl show --json`).
    pub nfdhcpd: Option<Value>,
    /// Why it tells nothing.
    pub nfdhcpd_error: Option<String>,
}

/// The TAP in the kernel.
#[derive(Debug, Serialize)]
pub struct Device {
    /// Interface index.
    pub ifindex: u32,
    /// Administratively up.
    pub up: bool,
    /// QEMU holds the other end.
    pub in_use: bool,
    /// The bridge it is a port of.
    pub bridge: Option<String>,
    /// Hardware address.
    pub address: String,
    /// Bytes.
    pub mtu: u32,
    /// What passed, by the kernel's names, from the host's side: `rx_…` is what the VM sent.
    pub statistics: BTreeMap<String, u64>,
}

/// One thing that has to stand.
#[derive(Debug, Serialize)]
pub struct Part {
    /// What kind of thing.
    pub kind: &'static str,
    /// The thing.
    pub what: String,
    /// Whether it stands.
    pub stands: bool,
}

/// The node.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The running agent's figures; `None`: it does not answer.
    pub agent: Option<Figures>,
    /// All TAPs with a record of snf-ifup's, and all that Ganeti names.
    pub taps: Vec<Row>,
    /// What of Ganeti's files could not be read.
    pub problems: Vec<String>,
}

/// One TAP of [`Status`].
#[derive(Debug, Serialize)]
pub struct Row {
    /// The TAP.
    pub tap: String,
    /// Whose it is.
    pub instance: Option<String>,
    /// As in [`Story`].
    pub standing: &'static str,
    /// The reason, where there is one.
    pub reason: Option<String>,
    /// How many steps the agent would take now.
    pub steps: usize,
    /// As in [`Story`].
    pub pending: Vec<Pending>,
}

/// How long nfdhcpd and the agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer, bytes.
const ANSWER_MAX: u64 = 1 << 20;
const STATISTICS: [&str; 6] = [
    "rx_bytes",
    "rx_packets",
    "rx_dropped",
    "tx_bytes",
    "tx_packets",
    "tx_dropped",
];

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// The kernel, or snf-ifup's records.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// The eyes that stories are gathered with.
pub struct Teller {
    host: Host,
    ganeti: Ganeti,
    store: Store,
    config: Config,
}

impl Teller {
    /// Opens the kernel and reads Ganeti's files.
    ///
    /// # Errors
    /// See [`StoryError`].
    pub fn open(config: Config) -> Result<Self, StoryError> {
        Ok(Self {
            host: Host::open()?,
            ganeti: observe::ganeti(&config),
            store: Store::new(&config.state),
            config,
        })
    }

    /// What one look at all TAPs does, or with [`Mode::Tell`] would do.
    ///
    /// # Errors
    /// The records cannot be listed.
    pub fn round(&mut self, mode: Mode) -> Result<Vec<Finding>, StoryError> {
        let taps = all(&self.config)?;
        self.host.look_around()?;
        let findings = taps.iter().map(|tap| self.look(tap, mode)).collect();
        self.host.forget();
        Ok(findings)
    }

    fn look(&mut self, tap: &IfName, mode: Mode) -> Finding {
        look(
            &mut self.host,
            tap,
            &self.ganeti,
            &self.store,
            &self.config,
            mode,
        )
    }

    /// The node, in a row per TAP.
    ///
    /// # Errors
    /// The records cannot be listed.
    pub fn status(&mut self, socket: &Path) -> Result<Status, StoryError> {
        let mut taps: BTreeSet<IfName> = all(&self.config)?;
        taps.extend(self.ganeti.taps.keys().cloned());
        self.host.look_around()?;
        let taps = taps.iter().map(|tap| {
            let finding = self.look(tap, Mode::Tell);
            let by_file = self.ganeti.taps.get(tap);
            Row {
                tap: tap.to_string(),
                instance: finding.instance.or_else(|| Some(by_file?.0.clone())),
                standing: finding.standing.label(),
                reason: reason(&finding.standing),
                steps: finding.steps.len(),
                pending: finding.pending,
            }
        });
        let taps = taps.collect();
        self.host.forget();
        Ok(Status {
            agent: figures(socket).ok(),
            taps,
            problems: self.ganeti.problems.clone(),
        })
    }

    /// The TAPs of an instance: those that its hardware addresses or Ganeti's files tell.
    ///
    /// # Errors
    /// The records cannot be listed.
    pub fn taps_of(&mut self, instance: &str) -> Result<Vec<IfName>, StoryError> {
        let mut taps = all(&self.config)?;
        taps.extend(self.ganeti.taps.keys().cloned());
        let mut found = Vec::new();
        for tap in taps {
            let named = self.ganeti.taps.get(&tap).map(|(whose, _)| whose.clone());
            let whose = self.look(&tap, Mode::Tell).instance.or(named);
            if whose.as_deref() == Some(instance) {
                found.push(tap);
            }
        }
        Ok(found)
    }

    /// What the hooks said of an instance.
    #[must_use]
    pub fn heard(&self, instance: &str) -> Option<Heard> {
        self.store.read(instance).ok().flatten()
    }

    /// The whole story of a TAP.
    #[must_use]
    pub fn story(&mut self, tap: &IfName) -> Story {
        let finding = self.look(tap, Mode::Tell);
        let link = self.host.netlink.link(tap).ok().flatten();
        let recorded = observe::recorded(tap, &self.config.ifup);
        let binding = observe::binding(tap, &self.config.ifup);
        let parsed: Option<Binding> = binding.as_ref().and_then(|text| text.parse().ok());
        let known = Known {
            tap,
            recorded: recorded.as_ref(),
            link: link.as_ref(),
            binding: parsed.as_ref(),
        };
        let verdict = judge(&known, &self.ganeti, |instance| self.heard(instance));
        let variables = match verdict {
            Verdict::Lives { variables, .. } => Some(variables),
            Verdict::Gone | Verdict::Left(_) => None,
        };
        let parts = variables
            .as_ref()
            .map(|variables| self.parts(variables, binding.as_deref()));
        let named = self.ganeti.taps.get(tap).map(|(whose, _)| whose.clone());
        let instance = finding.instance.or(named);
        let answer = ask(
            &self.config.nfdhcpd,
            &format!("{{\"ask\":\"show\",\"tap\":\"{tap}\"}}\n"),
        );
        let answer = answer.and_then(|text| Ok(serde_json::from_str::<Value>(&text)?));
        let (nfdhcpd, nfdhcpd_error) = match answer {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Story {
            tap: tap.to_string(),
            hooks: instance
                .as_deref()
                .and_then(|instance| self.heard(instance)),
            instance,
            standing: finding.standing.label(),
            reason: reason(&finding.standing),
            ganeti: variables,
            device: link.map(|link| Device {
                ifindex: link.index,
                up: link.up,
                in_use: link.carrier,
                bridge: link.master.map(|bridge| bridge.to_string()),
                address: link.address.to_string(),
                mtu: link.mtu,
                statistics: statistics(tap),
            }),
            parts: parts.unwrap_or_default(),
            plan: finding.steps.iter().map(ToString::to_string).collect(),
            warnings: finding.warnings,
            pending: finding.pending,
            nfdhcpd,
            nfdhcpd_error,
        }
    }

    /// What has to stand for the NIC; nothing where that cannot be told, which the standing says.
    fn parts(&mut self, variables: &Variables, binding: Option<&str>) -> Vec<Part> {
        let config = &self.config.ifup;
        let Ok(request) = Request::from_variables(variables, &config.tags) else {
            return Vec::new();
        };
        let Ok(facts) = self.host.facts(&request, config) else {
            return Vec::new();
        };
        wiring(&request, &facts, config)
            .map(|wiring| parts(&wiring, &facts, binding))
            .unwrap_or_default()
    }
}

fn parts(wiring: &Wiring, facts: &HostFacts, binding: Option<&str>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = |kind, what: String, stands| parts.push(Part { kind, what, stands });
    let standing = &facts.standing;
    let link = facts.tap.as_ref();
    part("up", "yes".into(), link.is_some_and(|link| link.up));
    let address = wiring.address;
    part(
        "address",
        address.to_string(),
        link.is_some_and(|link| link.address == address),
    );
    if let Some(bridge) = &wiring.master {
        let stands = link.is_some_and(|link| link.master.as_ref() == Some(bridge));
        part("bridge", bridge.to_string(), stands);
    }
    for element in &wiring.elements {
        part(
            "element",
            element.to_string(),
            standing.elements.contains(element),
        );
    }
    for rule in &wiring.rules {
        let stands = standing
            .rules
            .as_ref()
            .is_some_and(|rules| rules.contains(rule));
        let family = match rule.family {
            ifup::facts::Family::V4 => "IPv4",
            ifup::facts::Family::V6 => "IPv6",
        };
        let what = format!(
            "{family} iif {} lookup {} priority {}",
            rule.tap, rule.table, rule.priority
        );
        part("rule", what, stands);
    }
    for route in &wiring.routes {
        let what = format!(
            "{} dev {} table {}",
            route.destination, route.tap, route.table
        );
        part("route", what, standing.routes.contains(route));
    }
    for proxy in &wiring.proxies {
        part("proxy", proxy.to_string(), standing.proxies.contains(proxy));
    }
    for Setting { key, value } in wiring.sysctls.iter().chain(&wiring.shared_sysctls) {
        if let Some(found) = standing.sysctls.get(key) {
            part("sysctl", format!("{key} = {value}"), found == value);
        }
    }
    if let Some(wanted) = &wiring.binding {
        let text = wanted.to_file().ok();
        let stands = text.is_some() && text.as_deref() == binding;
        part("binding", wanted.mac.to_string(), stands);
    }
    parts
}

fn reason(standing: &Standing) -> Option<String> {
    match standing {
        Standing::Failed(reason) => Some(reason.clone()),
        Standing::Left(why) => Some(why.to_string()),
        Standing::Sound | Standing::Drifted | Standing::Gone | Standing::Busy => None,
    }
}

fn statistics(tap: &IfName) -> BTreeMap<String, u64> {
    let directory = Path::new("/sys/class/net")
        .join(tap.as_str())
        .join("statistics");
    let each = STATISTICS.iter().filter_map(|name| {
        let text = std::fs::read_to_string(directory.join(name)).ok()?;
        Some(((*name).to_owned(), text.trim().parse().ok()?))
    });
    each.collect()
}

/// The running agent's figures.
///
/// # Errors
/// It does not answer.
pub fn figures(socket: &Path) -> io::Result<Figures> {
    Ok(serde_json::from_str(&ask(socket, FIGURES)?)?)
}

fn ask(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(line.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
