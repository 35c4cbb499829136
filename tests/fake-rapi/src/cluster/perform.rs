//! What each operation does, and how it fails (`lib/cmdlib` of Ganeti 3.0).

use ipnet::Ipv4Net;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::instance::Disk;
use super::{Cluster, Instance, Network, Nic};

/// Why an operation failed: Ganeti's class of error, its words, its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpFailure {
    class: &'static str,
    words: String,
    code: Option<&'static str>,
}

impl OpFailure {
    fn prerequisite(words: String, code: &'static str) -> Self {
        Self {
            class: "OpPrereqError",
            words,
            code: Some(code),
        }
    }

    fn unknown(kind: &str, name: &str) -> Self {
        Self::prerequisite(format!("{kind} '{name}' not known"), "unknown_entity")
    }

    fn wrong(words: impl Into<String>) -> Self {
        Self::prerequisite(words.into(), "wrong_input")
    }

    /// Whether it is told before anything is done.
    pub(super) fn is_prerequisite(&self) -> bool {
        self.class == "OpPrereqError"
    }

    /// Whether what it is about does not exist.
    pub(super) fn is_unknown(&self) -> bool {
        self.code == Some("unknown_entity")
    }

    /// As `opresult` has it.
    pub(super) fn value(&self) -> Value {
        match self.code {
            Some(code) => json!([self.class, [self.words, code]]),
            None => json!([self.class, [self.words]]),
        }
    }
}

type Done = Result<Value, OpFailure>;

fn text<'a>(input: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    input.get(key).and_then(Value::as_str)
}

fn object(input: &Map<String, Value>, key: &str) -> Map<String, Value> {
    let value = input.get(key).and_then(Value::as_object);
    value.cloned().unwrap_or_default()
}

fn list<'a>(input: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    let value = input.get(key).and_then(Value::as_array);
    value.map(Vec::as_slice).unwrap_or_default()
}

fn fresh() -> String {
    Uuid::new_v4().to_string()
}

impl Cluster {
    /// Does an operation, wholly or not at all.
    pub(super) fn perform(&mut self, input: &Map<String, Value>) -> Done {
        if input.get("dry_run") == Some(&Value::Bool(true)) {
            return self.clone().really_perform(input);
        }
        self.really_perform(input)
    }

    fn really_perform(&mut self, input: &Map<String, Value>) -> Done {
        match text(input, "OP_ID").unwrap_or_default() {
            "OP_INSTANCE_CREATE" => self.create(input),
            "OP_INSTANCE_STARTUP" => self.run(input, true, true),
            "OP_INSTANCE_SHUTDOWN" => self.run(input, false, false),
            "OP_INSTANCE_REBOOT" => self.run(input, true, true),
            "OP_INSTANCE_SET_PARAMS" => self.set_params(input),
            "OP_INSTANCE_MIGRATE" | "OP_INSTANCE_FAILOVER" => self.move_instance(input),
            "OP_INSTANCE_REMOVE" => {
                let name = self.instance(input)?.name.clone();
                self.instances.remove(&name);
                Ok(Value::Null)
            }
            "OP_TAGS_SET" | "OP_TAGS_DEL" => self.tag(input),
            "OP_NETWORK_ADD" => self.add_network(input),
            "OP_NETWORK_CONNECT" => self.connect(input),
            "OP_NETWORK_DISCONNECT" => self.disconnect(input),
            "OP_NETWORK_REMOVE" => self.remove_network(input),
            other => Err(OpFailure {
                class: "OpExecError",
                words: format!("{other} is not done here"),
                code: None,
            }),
        }
    }

    fn moment(&self) -> f64 {
        let (seconds, microseconds) = self.now();
        seconds as f64 + f64::from(microseconds) / 1e6
    }

    fn instance(&mut self, input: &Map<String, Value>) -> Result<&mut Instance, OpFailure> {
        let name = text(input, "instance_name")
            .or_else(|| text(input, "name"))
            .unwrap_or_default();
        let found = self.instances.get_mut(name);
        found.ok_or_else(|| OpFailure::unknown("Instance", name))
    }

    fn network(&mut self, input: &Map<String, Value>) -> Result<&mut Network, OpFailure> {
        let name = text(input, "network_name").unwrap_or_default();
        let found = self.networks.get_mut(name);
        found.ok_or_else(|| {
            let words = format!("Network '{name}' not found");
            OpFailure::prerequisite(words, "unknown_entity")
        })
    }

    fn create(&mut self, input: &Map<String, Value>) -> Done {
        let name = text(input, "instance_name").unwrap_or_default().to_owned();
        if self.instances.contains_key(&name) {
            let words = format!("Instance '{name}' is already in the cluster");
            return Err(OpFailure::prerequisite(words, "already_exists"));
        }
        let mut nics = Vec::new();
        for nic in list(input, "nics") {
            let nic = self.new_nic(nic.as_object().cloned().unwrap_or_default(), &nics)?;
            nics.push(nic);
        }
        let primary = match text(input, "pnode") {
            Some(node) if self.nodes.iter().any(|known| known == node) => node.to_owned(),
            Some(node) => return Err(OpFailure::unknown("Node", node)),
            None => self.emptiest(),
        };
        let disks = list(input, "disks").iter().map(|disk| Disk {
            name: disk.get("name").and_then(Value::as_str).map(str::to_owned),
            uuid: fresh(),
            size: disk.get("size").and_then(Value::as_u64).unwrap_or_default(),
        });
        let is_up = input.get("start") != Some(&Value::Bool(false))
            && input.get("no_install") != Some(&Value::Bool(true));
        let now = self.moment();
        let tags = list(input, "tags").iter();
        let instance = Instance {
            uuid: fresh(),
            serial_no: if is_up { 2 } else { 1 },
            is_up,
            is_running: is_up,
            os: text(input, "os_type").unwrap_or_default().to_owned(),
            hypervisor: text(input, "hypervisor").unwrap_or("kvm").to_owned(),
            disk_template: text(input, "disk_template").unwrap_or_default().to_owned(),
            disks: disks.collect(),
            nics,
            beparams: object(input, "beparams"),
            hvparams: object(input, "hvparams"),
            tags: tags
                .filter_map(|tag| tag.as_str().map(str::to_owned))
                .collect(),
            primary: primary.clone(),
            created: now,
            changed: now,
            name: name.clone(),
        };
        self.instances.insert(name, instance);
        Ok(json!([primary]))
    }

    fn emptiest(&self) -> String {
        let count = |node: &&String| {
            let on_it = self
                .instances
                .values()
                .filter(|each| each.primary == **node);
            on_it.count()
        };
        self.nodes
            .iter()
            .min_by_key(count)
            .cloned()
            .unwrap_or_default()
    }

    /// A NIC as it is asked for, if its addresses are free; `beside` are those of the same request.
    fn new_nic(&self, wanted: Map<String, Value>, beside: &[Nic]) -> Result<Nic, OpFailure> {
        let taken = || {
            let of_instances = self.instances.values().flat_map(|each| &each.nics);
            of_instances.chain(beside)
        };
        let network = text(&wanted, "network").map(str::to_owned);
        let (mut mode, mut link) = (
            text(&wanted, "mode").unwrap_or("bridged").to_owned(),
            text(&wanted, "link").unwrap_or("br0").to_owned(),
        );
        let mut ip = text(&wanted, "ip").map(str::to_owned);
        if let Some(name) = &network {
            let Some(known) = self.networks.get(name) else {
                let words = format!("Network '{name}' not found");
                return Err(OpFailure::prerequisite(words, "unknown_entity"));
            };
            let Some(connected) = self
                .groups
                .first()
                .and_then(|(group, _)| known.groups.get(group))
            else {
                let node = self.nodes.first().map_or("", String::as_str);
                return Err(OpFailure::wrong(format!(
                    "No netparams found for network {name}. Probably not connected to node's {node} nodegroup"
                )));
            };
            (mode, link) = connected.clone();
            let prefix: Option<Ipv4Net> = known.network.parse().ok();
            let is_free = |address: &str| {
                let mut nics = taken().filter(|nic| nic.network.as_ref() == Some(name));
                known.gateway.as_deref() != Some(address)
                    && !nics.any(|nic| nic.ip.as_deref() == Some(address))
            };
            if ip.as_deref() == Some("pool") {
                let mut hosts = prefix.iter().flat_map(Ipv4Net::hosts);
                ip = hosts.find_map(|host| Some(host.to_string()).filter(|host| is_free(host)));
            } else if let Some(address) = &ip {
                let parsed: Option<std::net::Ipv4Addr> = address.parse().ok();
                let is_in = prefix
                    .zip(parsed)
                    .is_some_and(|(net, ip)| net.contains(&ip));
                if !is_in || !is_free(address) {
                    let words = format!(
                        "IP address {address} already in use or does not belong to network {name}"
                    );
                    return Err(OpFailure::prerequisite(words, "resource_not_unique"));
                }
            }
        }
        let mac = match text(&wanted, "mac") {
            Some(mac) if mac != "auto" && mac != "generate" => mac.to_ascii_lowercase(),
            _ => {
                let chance = Uuid::new_v4();
                let [x, y, z, ..] = *chance.as_bytes();
                format!("aa:00:00:{x:02x}:{y:02x}:{z:02x}")
            }
        };
        if taken().any(|nic| nic.mac == mac) {
            let words = format!("MAC address {mac} already in use in cluster");
            return Err(OpFailure::prerequisite(words, "resource_not_unique"));
        }
        Ok(Nic {
            name: text(&wanted, "name").map(str::to_owned),
            uuid: fresh(),
            ip,
            mac,
            network,
            mode,
            link,
        })
    }

    /// Only a state that differs is a change of the configuration: a reboot is none.
    fn run(&mut self, input: &Map<String, Value>, up: bool, running: bool) -> Done {
        let now = self.moment();
        let instance = self.instance(input)?;
        if instance.is_up != up {
            instance.is_up = up;
            instance.touch(now);
        }
        instance.is_running = running;
        Ok(Value::Null)
    }

    fn move_instance(&mut self, input: &Map<String, Value>) -> Done {
        let now = self.moment();
        let nodes = self.nodes.clone();
        let instance = self.instance(input)?;
        let target = text(input, "target_node").map(str::to_owned);
        let target = target.or_else(|| nodes.into_iter().find(|node| *node != instance.primary));
        let target = target.unwrap_or_default();
        if target == instance.primary {
            let words = format!(
                "Cannot migrate instance {} to its primary ({target})",
                instance.name
            );
            return Err(OpFailure::prerequisite(words, "wrong_state"));
        }
        instance.primary = target;
        instance.touch(now);
        Ok(Value::Null)
    }

    fn set_params(&mut self, input: &Map<String, Value>) -> Done {
        let mut changes = Vec::new();
        let mut instance = self.instance(input)?.clone();
        let is_asked = [
            "nics", "disks", "beparams", "hvparams", "os_name", "osparams",
        ]
        .iter()
        .any(|key| match input.get(*key) {
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
            Some(Value::String(_)) => true,
            Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => false,
        });
        if !is_asked {
            return Err(OpFailure::wrong("No changes submitted"));
        }
        // Its own NICs are looked at apart from the others', as each of them is changed in turn.
        self.instances.remove(&instance.name);
        let changed = self.change_nics(&mut instance, list(input, "nics"), &mut changes);
        for (name, value) in object(input, "beparams") {
            changes.push(json!([format!("be/{name}"), value]));
            instance.beparams.insert(name, value);
        }
        for (name, value) in object(input, "hvparams") {
            changes.push(json!([format!("hv/{name}"), value]));
            instance.hvparams.insert(name, value);
        }
        if let Some(os) = text(input, "os_name") {
            os.clone_into(&mut instance.os);
        }
        instance.touch(self.moment());
        self.instances.insert(instance.name.clone(), instance);
        changed.map(|()| Value::Array(changes))
    }

    fn change_nics(
        &self,
        instance: &mut Instance,
        wanted: &[Value],
        changes: &mut Vec<Value>,
    ) -> Result<(), OpFailure> {
        for change in wanted {
            let parts = change.as_array().map(Vec::as_slice).unwrap_or_default();
            let verb = parts.first().and_then(Value::as_str).unwrap_or_default();
            let parameters = parts.last().and_then(Value::as_object);
            let parameters = parameters.cloned().unwrap_or_default();
            let which = parts.get(1).filter(|_| parts.len() == 3);
            let place = |which: Option<&Value>| {
                let count = instance.nics.len();
                match which {
                    Some(Value::String(name)) => instance
                        .nics
                        .iter()
                        .position(|nic| nic.name.as_ref() == Some(name) || nic.uuid == *name),
                    Some(Value::Number(number)) if number.as_i64() == Some(-1) => {
                        count.checked_sub(1)
                    }
                    Some(Value::Number(number)) => number
                        .as_u64()
                        .and_then(|at| usize::try_from(at).ok())
                        .filter(|at| *at < count),
                    _ => count.checked_sub(1),
                }
            };
            match verb {
                "add" => {
                    let nic = self.new_nic(parameters, &instance.nics)?;
                    let at = instance.nics.len();
                    let words = format!(
                        "add:mac={},ip={},mode={},link={},network={}",
                        nic.mac,
                        nic.ip.as_deref().unwrap_or("None"),
                        nic.mode,
                        nic.link,
                        nic.network.as_deref().unwrap_or("None"),
                    );
                    changes.push(json!([format!("nic.{at}"), words]));
                    instance.nics.push(nic);
                }
                "remove" => {
                    let Some(at) = place(which) else {
                        let which = which.map(Value::to_string).unwrap_or_default();
                        let words = format!("Cannot find NIC with identifier {which}");
                        return Err(OpFailure::prerequisite(words, "unknown_entity"));
                    };
                    instance.nics.remove(at);
                    changes.push(json!([format!("NIC/{at}"), "remove"]));
                }
                other => {
                    let words = format!("Can't do {other:?} to a NIC here");
                    return Err(OpFailure::wrong(words));
                }
            }
        }
        Ok(())
    }

    fn tag(&mut self, input: &Map<String, Value>) -> Done {
        let now = self.moment();
        let adds = text(input, "OP_ID") == Some("OP_TAGS_SET");
        let wanted: Vec<String> = list(input, "tags")
            .iter()
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect();
        let instance = self.instance(input)?;
        if adds {
            instance.tags.extend(wanted);
        } else {
            let missing: Vec<String> = wanted
                .iter()
                .filter(|tag| !instance.tags.contains(*tag))
                .map(|tag| format!("'{tag}'"))
                .collect();
            if !missing.is_empty() {
                let words = format!("Tag(s) {} not found", missing.join(","));
                return Err(OpFailure::prerequisite(words, "unknown_entity"));
            }
            for tag in &wanted {
                instance.tags.remove(tag);
            }
        }
        instance.touch(now);
        Ok(Value::Null)
    }

    fn add_network(&mut self, input: &Map<String, Value>) -> Done {
        let name = text(input, "network_name").unwrap_or_default().to_owned();
        if let Some(known) = self.networks.get(&name) {
            let words = format!(
                "Desired network name '{name}' already exists as a network (UUID: {})",
                known.uuid
            );
            return Err(OpFailure::prerequisite(words, "already_exists"));
        }
        let own = |key: &str| text(input, key).map(str::to_owned);
        let tags = list(input, "tags").iter();
        let network = Network {
            name: name.clone(),
            uuid: fresh(),
            network: own("network").unwrap_or_default(),
            gateway: own("gateway"),
            network6: own("network6"),
            gateway6: own("gateway6"),
            mac_prefix: own("mac_prefix"),
            tags: tags
                .filter_map(|tag| tag.as_str().map(str::to_owned))
                .collect(),
            groups: std::collections::BTreeMap::new(),
            serial_no: 1,
            created: self.moment(),
        };
        self.networks.insert(name, network);
        Ok(Value::Null)
    }

    fn connect(&mut self, input: &Map<String, Value>) -> Done {
        let group = text(input, "group_name").unwrap_or_default().to_owned();
        if !self.groups.iter().any(|(name, _)| *name == group) {
            return Err(OpFailure::unknown("Node group", &group));
        }
        let mode = text(input, "network_mode").unwrap_or_default().to_owned();
        let link = text(input, "network_link").unwrap_or_default().to_owned();
        // To connect again is only warned of, and changes nothing.
        self.network(input)?
            .groups
            .entry(group)
            .or_insert((mode, link));
        Ok(Value::Null)
    }

    fn disconnect(&mut self, input: &Map<String, Value>) -> Done {
        let group = text(input, "group_name").unwrap_or_default().to_owned();
        let name = self.network(input)?.name.clone();
        let mut nics = self.instances.values().flat_map(|each| &each.nics);
        if nics.any(|nic| nic.network.as_ref() == Some(&name)) {
            let words = "Conflicting IP addresses found; remove/modify the corresponding network interfaces";
            return Err(OpFailure::prerequisite(words.to_owned(), "wrong_state"));
        }
        self.network(input)?.groups.remove(&group);
        Ok(Value::Null)
    }

    fn remove_network(&mut self, input: &Map<String, Value>) -> Done {
        let network = self.network(input)?;
        if !network.groups.is_empty() {
            let words = String::from("Network still connected");
            return Err(OpFailure::prerequisite(words, "wrong_state"));
        }
        let name = network.name.clone();
        self.networks.remove(&name);
        Ok(Value::Null)
    }
}
