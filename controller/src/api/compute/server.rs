//! A server as Nova writes it at microversion 2.1: no key more.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::moment;
use crate::api::fault::Fault;
use crate::cloud::Cloud;
use crate::db::entity::{address, network, port, server};
use crate::db::networks;
use crate::db::servers as read;
use crate::lifecycle::{OperState, Standing, Task};
use crate::servers::{standing, task_state, vm_state};

/// The only zone.
pub(super) const ZONE: &str = "nova";

/// A server's status (`nova/api/openstack/common.py`, `_STATE_MAP`).
#[must_use]
pub(super) const fn status(standing: Standing) -> &'static str {
    match standing.state {
        OperState::Build => "BUILD",
        OperState::Error => "ERROR",
        OperState::Deleted => "DELETED",
        OperState::Started | OperState::Stopped => match standing.task {
            Some(Task::RebootSoft) => "REBOOT",
            Some(Task::RebootHard) => "HARD_REBOOT",
            Some(Task::Resize | Task::ResizeStopped) => "RESIZE",
            Some(Task::RevertResize) => "REVERT_RESIZE",
            None
            | Some(
                Task::Build
                | Task::Start
                | Task::Stop
                | Task::Connect
                | Task::Disconnect
                | Task::Firewall
                | Task::Destroy,
            ) => {
                if standing.resized {
                    "VERIFY_RESIZE"
                } else if matches!(standing.state, OperState::Started) {
                    "ACTIVE"
                } else {
                    "SHUTOFF"
                }
            }
        },
    }
}

/// What is asked for besides servers' own rows, for all servers of a reply at once.
pub(super) struct Around {
    base: String,
    projects: BTreeMap<i64, Uuid>,
    users: BTreeMap<i64, Uuid>,
    flavors: BTreeMap<i64, Uuid>,
    images: BTreeMap<i64, Uuid>,
    metadata: BTreeMap<i64, BTreeMap<String, String>>,
    ports: BTreeMap<i64, Vec<port::Model>>,
    addresses: BTreeMap<i64, Vec<address::Model>>,
    networks: BTreeMap<i64, network::Model>,
}

impl Around {
    pub(super) async fn read(cloud: &Cloud, rows: &[server::Model]) -> Result<Self, Fault> {
        let db = cloud.db.reader();
        let ids = || rows.iter().map(|row| row.id);
        let ports = networks::ports_of(db, ids()).await?;
        let all = || ports.values().flatten();
        Ok(Self {
            base: cloud.config.api.public_url.clone(),
            projects: networks::project_names(db, rows.iter().map(|row| row.project_id)).await?,
            users: read::user_names(db, rows.iter().map(|row| row.user_id)).await?,
            flavors: read::flavor_names(db, rows.iter().map(|row| row.flavor_id)).await?,
            images: read::image_names(db, rows.iter().filter_map(|row| row.image_id)).await?,
            metadata: read::metadata(db, ids()).await?,
            addresses: networks::addresses_of(db, all().map(|port| port.id)).await?,
            networks: networks::networks_by_id(db, all().map(|port| port.network_id)).await?,
            ports,
        })
    }

    /// Names of its networks, and its addresses there.
    pub(super) fn addresses(&self, row: &server::Model) -> Map<String, Value> {
        let mut found: Map<String, Value> = Map::new();
        for port in self.ports.get(&row.id).into_iter().flatten() {
            let Some(network) = self.networks.get(&port.network_id) else {
                continue;
            };
            let place = found
                .entry(network.name.clone())
                .or_insert_with(|| json!([]));
            let Some(place) = place.as_array_mut() else {
                continue;
            };
            for address in self.addresses.get(&port.id).into_iter().flatten() {
                place.push(json!({
                    "version": if address.address.contains(':') { 6 } else { 4 },
                    "addr": address.address,
                    "OS-EXT-IPS:type": if address.kind == "floating" { "floating" } else { "fixed" },
                    "OS-EXT-IPS-MAC:mac_addr": port.mac,
                }));
            }
        }
        found
    }

    /// Its words.
    pub(super) fn words(&self, row: &server::Model) -> BTreeMap<String, String> {
        self.metadata.get(&row.id).cloned().unwrap_or_default()
    }

    /// Whether a test of an address passes for one of its own of this version.
    pub(super) fn has_address(
        &self,
        row: &server::Model,
        v6: bool,
        test: impl Fn(&str) -> bool,
    ) -> bool {
        let ports = self.ports.get(&row.id).into_iter().flatten();
        let mut own = ports.flat_map(|port| self.addresses.get(&port.id).into_iter().flatten());
        own.any(|address| address.address.contains(':') == v6 && test(&address.address))
    }

    pub(super) fn links(&self, kind: &str, id: Uuid) -> Value {
        let base = &self.base;
        json!([
            {"rel": "self", "href": format!("{base}/compute/v2.1/{kind}/{id}")},
            {"rel": "bookmark", "href": format!("{base}/compute/{kind}/{id}")},
        ])
    }

    /// Number, name and links.
    pub(super) fn brief(&self, row: &server::Model) -> Value {
        json!({"id": row.uuid, "name": row.name, "links": self.links("servers", row.uuid)})
    }

    fn bookmark(&self, kind: &str, id: Uuid) -> Value {
        let base = &self.base;
        json!({"id": id, "links": [
            {"rel": "bookmark", "href": format!("{base}/compute/{kind}/{id}")},
        ]})
    }

    /// All of it; without what extensions add, as `PUT` answers.
    pub(super) fn whole(&self, row: &server::Model, extended: bool) -> Result<Value, Fault> {
        let standing = standing(row).map_err(Fault::internal)?;
        let named =
            |names: &BTreeMap<i64, Uuid>, id: i64| names.get(&id).copied().unwrap_or_default();
        let image = match row.image_id {
            Some(id) => self.bookmark("images", named(&self.images, id)),
            None => json!(""),
        };
        let project = named(&self.projects, row.project_id).simple().to_string();
        let status = status(standing);
        let mut value = json!({
            "id": row.uuid,
            "name": row.name,
            "status": status,
            "tenant_id": project,
            "user_id": named(&self.users, row.user_id).simple().to_string(),
            "metadata": self.words(row),
            "hostId": "",
            "image": image,
            "flavor": self.bookmark("flavors", named(&self.flavors, row.flavor_id)),
            "created": moment(row.created_at),
            "updated": moment(row.updated_at),
            "addresses": self.addresses(row),
            "accessIPv4": "",
            "accessIPv6": "",
            "links": self.links("servers", row.uuid),
            "OS-DCF:diskConfig": "MANUAL",
        });
        let Some(object) = value.as_object_mut() else {
            return Ok(value);
        };
        match status {
            "BUILD" => object.insert(String::from("progress"), json!(row.progress)),
            "ACTIVE" => object.insert(String::from("progress"), json!(100)),
            "REBOOT" | "HARD_REBOOT" | "RESIZE" | "VERIFY_RESIZE" | "REVERT_RESIZE" => {
                object.insert(String::from("progress"), json!(0))
            }
            _ => None,
        };
        if status == "ERROR" || status == "DELETED" {
            let fault = row.fault_message.as_deref().map(|message| {
                json!({
                    "code": row.fault_code.unwrap_or(500),
                    "created": moment(row.fault_at.unwrap_or(row.updated_at)),
                    "message": message,
                })
            });
            if let Some(fault) = fault {
                object.insert(String::from("fault"), fault);
            }
        }
        if extended {
            let power = match standing.state {
                OperState::Started => 1,
                OperState::Stopped => 4,
                OperState::Build | OperState::Error | OperState::Deleted => 0,
            };
            let more = json!({
                "OS-EXT-STS:vm_state": vm_state(standing),
                "OS-EXT-STS:task_state": standing.task.and_then(task_state),
                "OS-EXT-STS:power_state": power,
                "OS-EXT-AZ:availability_zone": ZONE,
                "OS-SRV-USG:launched_at": row.launched_at.map(launched),
                "OS-SRV-USG:terminated_at": row.deleted_at.map(launched),
                "os-extended-volumes:volumes_attached": [],
                "config_drive": "",
                "key_name": row.key_pair_name,
                "security_groups": [{"name": "default"}],
            });
            if let Value::Object(more) = more {
                object.extend(more);
            }
        }
        Ok(value)
    }
}

/// Nova writes these without a zone.
fn launched(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_follows_from_state_task_and_resize() {
        let of = |state, task, resized| {
            status(Standing {
                state,
                task,
                resized,
            })
        };
        use OperState::{Build, Error, Started, Stopped};
        assert_eq!(of(Build, Some(Task::Build), false), "BUILD");
        assert_eq!(of(Started, None, false), "ACTIVE");
        assert_eq!(of(Stopped, Some(Task::Start), false), "SHUTOFF");
        assert_eq!(of(Started, Some(Task::RebootSoft), false), "REBOOT");
        assert_eq!(of(Stopped, Some(Task::RebootHard), false), "HARD_REBOOT");
        assert_eq!(of(Stopped, Some(Task::Resize), false), "RESIZE");
        assert_eq!(of(Started, None, true), "VERIFY_RESIZE");
        assert_eq!(of(Stopped, Some(Task::RevertResize), true), "REVERT_RESIZE");
        assert_eq!(of(Error, None, true), "ERROR");
        assert_eq!(of(Started, Some(Task::Destroy), false), "ACTIVE");
    }
}
