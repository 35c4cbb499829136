//! What each of our steps asks of Ganeti: method, path, query and body (`rapi/rlib2.py` of Ganeti 3.0). Pure.
//!
//! NICs always name their address and hardware address, never `pool`: so a request that is sent twice fails the second time
//! ("already in use") instead of taking another address.

use std::net::Ipv4Addr;

use hyper::Method;
use serde_json::{Map, Value, json};
use snf_events::JobId;

use super::Submission;

/// Ganeti's longest wait for a guest that is asked to shut down, seconds.
pub const SHUTDOWN_TIMEOUT: u32 = 120;

/// A new instance.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInstance {
    /// Its name.
    pub name: String,
    /// `os+variant`
    pub os: String,
    /// `kvm`, `fake`, …
    pub hypervisor: String,
    /// How it is stored.
    pub disk_template: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory, MiB; the minimum and the maximum.
    pub ram: u32,
    /// Its disks, in order.
    pub disks: Vec<NewDisk>,
    /// Its NICs, in order.
    pub nics: Vec<NewNic>,
    /// Parameters of the OS that anybody may see.
    pub os_parameters: Map<String, Value>,
    /// Parameters of the OS that Ganeti keeps to itself: secrets go here only.
    pub os_parameters_private: Map<String, Value>,
    /// Parameters of the hypervisor that differ from the cluster's.
    pub hypervisor_parameters: Map<String, Value>,
    /// Tags.
    pub tags: Vec<String>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDisk {
    /// Its name.
    pub name: String,
    /// Size, MiB.
    pub size: u64,
}

/// A NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNic {
    /// Its name.
    pub name: String,
    /// Its network's name.
    pub network: String,
    /// Its IPv4 address, where the network has any.
    pub ip: Option<Ipv4Addr>,
    /// Its hardware address.
    pub mac: String,
}

impl NewNic {
    fn value(&self) -> Value {
        json!({
            "name": self.name,
            "network": self.network,
            "ip": self.ip,
            "mac": self.mac,
        })
    }
}

/// What a network is in Ganeti.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// IPv4 prefix; Ganeti has no network without one.
    pub subnet: String,
    /// IPv4 router.
    pub gateway: Option<String>,
    /// IPv6 prefix.
    pub subnet6: Option<String>,
    /// IPv6 router.
    pub gateway6: Option<String>,
    /// Tags: what snf-ifup and the guest are told.
    pub tags: Vec<String>,
}

/// Jobs that must have ended, in any way: the job that depends on them fails by itself if they did not do what it needs.
pub fn after(jobs: &[JobId]) -> Value {
    let each = jobs
        .iter()
        .map(|job| json!([job, ["canceled", "success", "error"]]));
    Value::Array(each.collect())
}

/// Adds what must have ended first.
fn with_depends(mut body: Value, jobs: &[JobId]) -> Value {
    if !jobs.is_empty()
        && let Value::Object(body) = &mut body
    {
        body.insert(String::from("depends"), after(jobs));
    }
    body
}

fn instance_path(instance: &str, rest: &str) -> String {
    format!("/2/instances/{instance}{rest}")
}

/// `POST /2/instances`
#[must_use]
pub fn create(instance: &NewInstance, depends: &[JobId]) -> Submission {
    let disks: Vec<Value> = instance
        .disks
        .iter()
        .map(|disk| json!({"name": disk.name, "size": disk.size}))
        .collect();
    let nics: Vec<Value> = instance.nics.iter().map(NewNic::value).collect();
    let body = json!({
        "__version__": 1,
        "mode": "create",
        "name": instance.name,
        "os_type": instance.os,
        "hypervisor": instance.hypervisor,
        "hvparams": instance.hypervisor_parameters,
        "disk_template": instance.disk_template,
        "disks": disks,
        "nics": nics,
        "beparams": {
            "auto_balance": true,
            "vcpus": instance.vcpus,
            "minmem": instance.ram,
            "maxmem": instance.ram,
        },
        "osparams": instance.os_parameters,
        "osparams_private": instance.os_parameters_private,
        "tags": instance.tags,
        "start": true,
        "ip_check": false,
        "name_check": false,
        "conflicts_check": false,
        "wait_for_sync": false,
        "opportunistic_locking": true,
    });
    Submission {
        method: Method::POST,
        path: String::from("/2/instances"),
        query: Vec::new(),
        body: Some(with_depends(body, depends)),
    }
}

/// `PUT /2/instances/NAME/startup`
#[must_use]
pub fn startup(instance: &str) -> Submission {
    Submission {
        method: Method::PUT,
        path: instance_path(instance, "/startup"),
        query: Vec::new(),
        body: None,
    }
}

/// `PUT /2/instances/NAME/shutdown`
#[must_use]
pub fn shutdown(instance: &str) -> Submission {
    Submission {
        method: Method::PUT,
        path: instance_path(instance, "/shutdown"),
        query: Vec::new(),
        body: Some(json!({"timeout": SHUTDOWN_TIMEOUT})),
    }
}

/// `POST /2/instances/NAME/reboot`. The type goes into the query and the time into the body; the other way round the one is
/// refused and the other is not heard.
#[must_use]
pub fn reboot(instance: &str, hard: bool) -> Submission {
    let kind = if hard { "hard" } else { "soft" };
    Submission {
        method: Method::POST,
        path: instance_path(instance, "/reboot"),
        query: vec![(String::from("type"), String::from(kind))],
        body: hard.then(|| json!({"shutdown_timeout": 0})),
    }
}

/// `DELETE /2/instances/NAME`
#[must_use]
pub fn remove(instance: &str) -> Submission {
    Submission {
        method: Method::DELETE,
        path: instance_path(instance, ""),
        query: Vec::new(),
        body: Some(json!({"shutdown_timeout": 0})),
    }
}

fn modify(instance: &str, body: Value) -> Submission {
    Submission {
        method: Method::PUT,
        path: instance_path(instance, "/modify"),
        query: Vec::new(),
        body: Some(body),
    }
}

/// `PUT …/modify` of the size: virtual processors, and memory in MiB.
#[must_use]
pub fn set_size(instance: &str, vcpus: u32, ram: u32) -> Submission {
    let body = json!({"beparams": {"vcpus": vcpus, "minmem": ram, "maxmem": ram}});
    modify(instance, body)
}

/// `PUT …/modify` that adds a NIC, while the instance runs where it can be.
#[must_use]
pub fn add_nic(instance: &str, nic: &NewNic, depends: &[JobId]) -> Submission {
    let body = json!({
        "nics": [["add", -1, nic.value()]],
        "hotplug_if_possible": true,
        "conflicts_check": false,
    });
    modify(instance, with_depends(body, depends))
}

/// `PUT …/modify` that removes a NIC by its name.
#[must_use]
pub fn remove_nic(instance: &str, nic: &str) -> Submission {
    let body = json!({"nics": [["remove", nic, {}]], "hotplug_if_possible": true});
    modify(instance, body)
}

/// `PUT …/modify` that changes nothing but runs the hooks, which bring the instance's tags to its node.
#[must_use]
pub fn announce(instance: &str, os: &str, depends: &[JobId]) -> Submission {
    modify(instance, with_depends(json!({"os_name": os}), depends))
}

fn tags(method: Method, instance: &str, tags: &[String]) -> Submission {
    let query = tags.iter().map(|tag| (String::from("tag"), tag.clone()));
    Submission {
        method,
        path: instance_path(instance, "/tags"),
        query: query.collect(),
        body: None,
    }
}

/// `PUT …/tags`
#[must_use]
pub fn add_tags(instance: &str, tags_added: &[String]) -> Submission {
    tags(Method::PUT, instance, tags_added)
}

/// `DELETE …/tags`. All of them must be there.
#[must_use]
pub fn remove_tags(instance: &str, tags_removed: &[String]) -> Submission {
    tags(Method::DELETE, instance, tags_removed)
}

/// `POST /2/networks`
#[must_use]
pub fn create_network(network: &NewNetwork) -> Submission {
    let body = json!({
        "network_name": network.name,
        "network": network.subnet,
        "gateway": network.gateway,
        "network6": network.subnet6,
        "gateway6": network.gateway6,
        "tags": network.tags,
        "conflicts_check": false,
    });
    Submission {
        method: Method::POST,
        path: String::from("/2/networks"),
        query: Vec::new(),
        body: Some(body),
    }
}

/// `PUT /2/networks/NAME/connect` to a node group.
#[must_use]
pub fn connect_network(
    network: &str,
    group: &str,
    mode: &str,
    link: &str,
    depends: &[JobId],
) -> Submission {
    let body = json!({
        "group_name": group,
        "network_mode": mode,
        "network_link": link,
        "conflicts_check": false,
    });
    Submission {
        method: Method::PUT,
        path: format!("/2/networks/{network}/connect"),
        query: Vec::new(),
        body: Some(with_depends(body, depends)),
    }
}

/// `PUT /2/networks/NAME/disconnect` from a node group.
#[must_use]
pub fn disconnect_network(network: &str, group: &str) -> Submission {
    Submission {
        method: Method::PUT,
        path: format!("/2/networks/{network}/disconnect"),
        query: Vec::new(),
        body: Some(json!({"group_name": group})),
    }
}

/// `DELETE /2/networks/NAME`
#[must_use]
pub fn remove_network(network: &str, depends: &[JobId]) -> Submission {
    Submission {
        method: Method::DELETE,
        path: format!("/2/networks/{network}"),
        query: Vec::new(),
        body: (!depends.is_empty()).then(|| with_depends(json!({}), depends)),
    }
}
