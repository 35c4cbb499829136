//! A request → what it is answered with (`lib/rapi/rlib2.py`, `lib/rapi/baserlib.py` of Ganeti 3.0).

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Method;
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;

/// A refusal: HTTP status and Ganeti's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
}

/// A request, read.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(String, String)],
    pub(crate) body: Option<&'a Value>,
}

type Answer = Result<Value, Refusal>;

fn refuse(status: u16, message: impl Into<String>) -> Refusal {
    Refusal {
        status,
        message: message.into(),
    }
}

fn not_found() -> Refusal {
    refuse(404, "Not Found")
}

/// Parameters that all operations take.
const COMMON: &[&str] = &["dry_run", "debug_level", "priority", "depends", "comment"];

const CREATE: &[&str] = &[
    "beparams",
    "commit",
    "compress",
    "conflicts_check",
    "disk_template",
    "disks",
    "file_driver",
    "file_storage_dir",
    "force_variant",
    "forthcoming",
    "group_name",
    "helper_shutdown_timeout",
    "helper_startup_timeout",
    "hvparams",
    "hypervisor",
    "iallocator",
    "identify_defaults",
    "ignore_ipolicy",
    "instance_communication",
    "instance_name",
    "ip_check",
    "mode",
    "name_check",
    "nics",
    "no_install",
    "opportunistic_locking",
    "os_type",
    "osparams",
    "osparams_private",
    "osparams_secret",
    "pnode",
    "pnode_uuid",
    "snode",
    "snode_uuid",
    "source_handshake",
    "source_instance_name",
    "source_shutdown_timeout",
    "source_x509_ca",
    "src_node",
    "src_node_uuid",
    "src_path",
    "start",
    "tags",
    "wait_for_sync",
];

const MODIFY: &[&str] = &[
    "beparams",
    "conflicts_check",
    "disk_template",
    "disks",
    "ext_params",
    "file_driver",
    "file_storage_dir",
    "force",
    "force_variant",
    "hotplug",
    "hotplug_if_possible",
    "hvparams",
    "iallocator",
    "ignore_ipolicy",
    "instance_communication",
    "instance_uuid",
    "nics",
    "offline",
    "os_name",
    "osparams",
    "osparams_private",
    "pnode",
    "pnode_uuid",
    "remote_node",
    "remote_node_uuid",
    "runtime_mem",
    "wait_for_sync",
];

/// Answers a request that is in the name of a user who may write.
pub(crate) fn answer(cluster: &mut Cluster, asked: &Asked<'_>) -> Answer {
    let parts: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
    match (asked.method.as_str(), parts.as_slice()) {
        ("GET", ["version"]) => Ok(json!(2)),
        ("GET", ["2"]) => Ok(Value::Null),
        ("GET", ["2", "info"]) => Ok(cluster.info()),
        ("GET", ["2", "features"]) => Ok(json!([
            "instance-create-reqv1",
            "node-migrate-reqv1",
            "node-evac-res1",
            "instance-reinstall-reqv1"
        ])),
        ("GET", ["2", "os"]) => Ok(json!(["noop+default", "snf-image+default"])),
        ("GET", ["2", "nodes"]) => {
            let nodes = cluster.nodes.iter();
            Ok(listed(asked, "nodes", "id", nodes, || {
                cluster.nodes_shown()
            }))
        }
        ("GET", ["2", "groups"]) => {
            let groups = cluster.groups.iter().map(|(name, _)| name);
            Ok(listed(asked, "groups", "name", groups, || {
                cluster.groups_shown()
            }))
        }
        ("GET", ["2", "groups", name]) => one(cluster.groups_shown(), name),
        ("GET", ["2", "nodes", name]) => one(cluster.nodes_shown(), name),
        ("GET", ["2", "instances"]) => {
            let names = cluster.instances.keys();
            let bulk = || {
                let all = cluster.instances.values();
                Value::Array(all.map(|each| each.shown(cluster)).collect())
            };
            Ok(listed(asked, "instances", "id", names, bulk))
        }
        ("GET", ["2", "instances", name]) => {
            let found = cluster.instances.get(*name);
            found.map(|each| each.shown(cluster)).ok_or_else(not_found)
        }
        ("GET", ["2", "instances", name, "tags"]) => {
            let found = cluster.instances.get(*name);
            found.map(|each| json!(each.tags)).ok_or_else(not_found)
        }
        ("GET", ["2", "networks"]) => {
            let names = cluster.networks.keys();
            let bulk = || {
                let all = cluster.networks.values();
                Value::Array(all.map(|each| each.shown(cluster)).collect())
            };
            Ok(listed(asked, "networks", "name", names, bulk))
        }
        ("GET", ["2", "networks", name]) => {
            let found = cluster.networks.get(*name);
            found.map(|each| each.shown(cluster)).ok_or_else(not_found)
        }
        ("GET", ["2", "jobs"]) => Ok(jobs(cluster, asked)),
        ("GET", ["2", "jobs", id]) => {
            let job = id.parse().ok().and_then(|id: u64| cluster.jobs.get(&id));
            job.map(crate::cluster::Job::shown).ok_or_else(not_found)
        }
        ("DELETE", ["2", "jobs", id]) => {
            let id: u64 = id.parse().map_err(|_| not_found())?;
            let (done, words) = cluster
                .cancel(id)
                .unwrap_or_else(|| (false, format!("Job {id} not found")));
            Ok(json!([done, words]))
        }
        ("GET" | "PUT" | "POST" | "DELETE", _) => submit(cluster, asked, &parts),
        _ => Err(refuse(501, "Not Implemented")),
    }
}

fn is_set(asked: &Asked<'_>, name: &str) -> bool {
    let value = asked.query.iter().find(|(key, _)| key == name);
    value.is_some_and(|(_, value)| value != "0")
}

fn listed<'a>(
    asked: &Asked<'_>,
    kind: &str,
    key: &str,
    names: impl Iterator<Item = &'a String>,
    bulk: impl FnOnce() -> Value,
) -> Value {
    if is_set(asked, "bulk") {
        return bulk();
    }
    let entry = |name: &String| json!({key: name, "uri": format!("/2/{kind}/{name}")});
    Value::Array(names.map(entry).collect())
}

fn one(all: Value, name: &str) -> Answer {
    let all = all.as_array().cloned().unwrap_or_default();
    let mut found = all.into_iter();
    let found = found.find(|each| each.get("name").and_then(Value::as_str) == Some(name));
    found.ok_or_else(not_found)
}

/// Archived jobs are in neither list.
fn jobs(cluster: &Cluster, asked: &Asked<'_>) -> Value {
    let live = cluster.jobs.values().filter(|job| !job.is_archived);
    let shown = live.map(|job| {
        if !is_set(asked, "bulk") {
            return json!({"id": job.id, "uri": format!("/2/jobs/{}", job.id)});
        }
        let mut shown = job.shown();
        if let Value::Object(fields) = &mut shown {
            fields.remove("oplog");
            fields.remove("opresult");
        }
        shown
    });
    Value::Array(shown.collect())
}

/// An operation in the making: its code, RAPI's name of the resource, what the address says, what the body may say.
struct Resource {
    opcode: &'static str,
    name: &'static str,
    fixed: Map<String, Value>,
    allowed: &'static [&'static str],
    takes_body: bool,
}

fn resource(asked: &Asked<'_>, parts: &[&str]) -> Result<Resource, Refusal> {
    let mut fixed = Map::new();
    let mut fix = |key: &str, value: Value| fixed.insert(key.to_owned(), value);
    let tags = || {
        let tags = asked.query.iter().filter(|(key, _)| key == "tag");
        let tags: Vec<&String> = tags.map(|(_, value)| value).collect();
        json!(tags)
    };
    let first = |name: &str| {
        let found = asked.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let (opcode, name, allowed): (_, _, &'static [&'static str]) =
        match (asked.method.as_str(), parts) {
            ("POST", ["2", "instances"]) => ("OP_INSTANCE_CREATE", "instances", CREATE),
            ("DELETE", ["2", "instances", instance]) => {
                fix("instance_name", json!(instance));
                fix("ignore_failures", json!(false));
                (
                    "OP_INSTANCE_REMOVE",
                    "instances_name",
                    &["shutdown_timeout"],
                )
            }
            ("PUT", ["2", "instances", instance, "startup"]) => {
                fix("instance_name", json!(instance));
                fix("force", json!(is_set(asked, "force")));
                fix("no_remember", json!(is_set(asked, "no_remember")));
                (
                    "OP_INSTANCE_STARTUP",
                    "instances_name_startup",
                    &["hvparams", "beparams", "startup_paused"],
                )
            }
            ("PUT", ["2", "instances", instance, "shutdown"]) => {
                fix("instance_name", json!(instance));
                fix("no_remember", json!(is_set(asked, "no_remember")));
                (
                    "OP_INSTANCE_SHUTDOWN",
                    "instances_name_shutdown",
                    &["timeout", "force", "admin_state_source"],
                )
            }
            ("POST", ["2", "instances", instance, "reboot"]) => {
                let kind = first("type").unwrap_or_else(|| String::from("hard"));
                if !["soft", "hard", "full"].contains(&kind.as_str()) {
                    return Err(parse_failure("reboot_type", &kind));
                }
                fix("instance_name", json!(instance));
                fix("reboot_type", json!(kind));
                fix(
                    "ignore_secondaries",
                    json!(is_set(asked, "ignore_secondaries")),
                );
                (
                    "OP_INSTANCE_REBOOT",
                    "instances_name_reboot",
                    &["shutdown_timeout"],
                )
            }
            ("PUT", ["2", "instances", instance, "modify"]) => {
                fix("instance_name", json!(instance));
                ("OP_INSTANCE_SET_PARAMS", "instances_name_modify", MODIFY)
            }
            ("PUT", ["2", "instances", instance, "migrate"]) => {
                fix("instance_name", json!(instance));
                (
                    "OP_INSTANCE_MIGRATE",
                    "instances_name_migrate",
                    &["mode", "target_node", "cleanup", "allow_failover"],
                )
            }
            ("PUT", ["2", "instances", instance, "failover"]) => {
                fix("instance_name", json!(instance));
                (
                    "OP_INSTANCE_FAILOVER",
                    "instances_name_failover",
                    &["target_node", "shutdown_timeout", "ignore_consistency"],
                )
            }
            ("PUT" | "DELETE", ["2", "instances", instance, "tags"]) => {
                fix("kind", json!("instance"));
                fix("name", json!(instance));
                fix("tags", tags());
                let opcode = match asked.method == Method::PUT {
                    true => "OP_TAGS_SET",
                    false => "OP_TAGS_DEL",
                };
                (opcode, "instances_name_tags", &[])
            }
            ("POST", ["2", "networks"]) => (
                "OP_NETWORK_ADD",
                "networks",
                &[
                    "network_name",
                    "network",
                    "gateway",
                    "network6",
                    "gateway6",
                    "mac_prefix",
                    "add_reserved_ips",
                    "conflicts_check",
                    "tags",
                ],
            ),
            ("DELETE", ["2", "networks", network]) => {
                fix("network_name", json!(network));
                ("OP_NETWORK_REMOVE", "networks_name", &["force"])
            }
            ("PUT", ["2", "networks", network, "connect"]) => {
                fix("network_name", json!(network));
                (
                    "OP_NETWORK_CONNECT",
                    "networks_name_connect",
                    &[
                        "group_name",
                        "network_mode",
                        "network_link",
                        "network_vlan",
                        "conflicts_check",
                    ],
                )
            }
            ("PUT", ["2", "networks", network, "disconnect"]) => {
                fix("network_name", json!(network));
                (
                    "OP_NETWORK_DISCONNECT",
                    "networks_name_disconnect",
                    &["group_name"],
                )
            }
            _ => return Err(not_found()),
        };
    let takes_body = !opcode.starts_with("OP_TAGS");
    Ok(Resource {
        opcode,
        name,
        fixed,
        allowed,
        takes_body,
    })
}

/// What luxid says to a parameter it cannot read; RAPI passes it on escaped.
fn parse_failure(parameter: &str, value: &str) -> Refusal {
    let message = format!(
        "Failed to parse request: SubmitJob: Can&#x27;t parse value for &#x27;{parameter}&#x27;: {value}"
    );
    refuse(502, message)
}

fn submit(cluster: &mut Cluster, asked: &Asked<'_>, parts: &[&str]) -> Answer {
    let Resource {
        opcode,
        name,
        fixed,
        allowed,
        takes_body,
    } = resource(asked, parts)?;
    let body = match asked.body.filter(|_| takes_body) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(body)) => body.clone(),
        Some(_) => return Err(refuse(400, "Invalid Body contents, expected dict")),
    };
    let mut input = parameters(opcode, body, &fixed, allowed)?;
    if cluster.is_drained {
        return Err(refuse(
            500,
            "Job queue is drained, refusing job: Queue drained",
        ));
    }
    input.extend(fixed);
    input.insert(String::from("OP_ID"), json!(opcode));
    input.insert(String::from("dry_run"), json!(is_set(asked, "dry-run")));
    input.entry("depends").or_insert(Value::Null);
    let job = cluster.last_job + 1;
    input.insert(String::from("reason"), trail(asked, opcode, name, job));
    // Ganeti keeps no value of these.
    for secret in ["osparams_private", "osparams_secret"] {
        if let Some(Value::Object(values)) = input.get_mut(secret) {
            values.values_mut().for_each(|value| *value = Value::Null);
        }
    }
    Ok(json!(cluster.submit(input)))
}

fn parameters(
    opcode: &str,
    mut body: Map<String, Value>,
    fixed: &Map<String, Value>,
    allowed: &[&str],
) -> Result<Map<String, Value>, Refusal> {
    if opcode == "OP_INSTANCE_CREATE" {
        match body.remove("__version__").unwrap_or(json!(0)) {
            version if version == json!(1) => {}
            version if version == json!(0) => {
                let words = "Instance creation request version 0 is no longer supported";
                return Err(refuse(400, words));
            }
            version => {
                let words = format!("Unsupported request data version {version}");
                return Err(refuse(400, words));
            }
        }
        for (old, new) in [("os", "os_type"), ("name", "instance_name")] {
            if let Some(value) = body.remove(old) {
                body.insert(new.to_owned(), value);
            }
        }
    } else if opcode == "OP_NETWORK_ADD"
        && let Some(value) = body.remove("name")
    {
        body.insert(String::from("network_name"), value);
    }
    if let Some(key) = body.keys().find(|key| fixed.contains_key(*key)) {
        let words = format!("Can&#x27;t overwrite static parameters {{&#x27;{key}&#x27;}}");
        return Err(refuse(400, words));
    }
    let is_known =
        |key: &&String| allowed.contains(&key.as_str()) || COMMON.contains(&key.as_str());
    if let Some(key) = body.keys().find(|key| !is_known(key)) {
        let words = format!("Invalid body parameters: {opcode} has no parameter &#x27;{key}&#x27;");
        return Err(refuse(400, words));
    }
    let needed: &[&str] = match opcode {
        "OP_INSTANCE_CREATE" => &["instance_name", "mode", "nics", "disks"],
        "OP_NETWORK_ADD" => &["network_name", "network"],
        "OP_NETWORK_CONNECT" => &["group_name", "network_mode", "network_link"],
        "OP_NETWORK_DISCONNECT" => &["group_name"],
        _ => &[],
    };
    if let Some(key) = needed.iter().find(|key| !body.contains_key(**key)) {
        return Err(parse_failure(key, "missing"));
    }
    for nic in body
        .get("nics")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let nic = nic.as_object();
        if let Some(empty) = nic.into_iter().flatten().find(|(_, value)| *value == "") {
            let words = "Received empty value for non-empty list";
            return Err(parse_failure(empty.0, words));
        }
    }
    Ok(body)
}

/// What Ganeti writes into `reason`: the submitter's words, the resource, the operation.
fn trail(asked: &Asked<'_>, opcode: &str, resource: &str, job: u64) -> Value {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
    let mut trail = Vec::new();
    if let Some((_, reason)) = asked.query.iter().find(|(key, _)| key == "reason") {
        trail.push(json!(["gnt:user", reason, now]));
    }
    trail.push(json!([format!("gnt:library:rlib2:{resource}"), "", now]));
    let operation = opcode.trim_start_matches("OP_").to_ascii_lowercase();
    trail.push(json!([
        format!("gnt:opcode:{operation}"),
        format!("job={job};index=0"),
        now
    ]));
    Value::Array(trail)
}
