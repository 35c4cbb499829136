//! What may be asked for: bodies of requests, checked. What would not reach the server is refused here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::fault::Fault;
use crate::servers::{Attachment, Networks, NewServer};

/// Longest name, key and value.
const LONGEST: usize = 255;
/// Servers that one request may make.
const AT_ONCE: u32 = 100;

/// `POST /servers`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateServer {
    server: ServerWanted,
    #[serde(rename = "os:scheduler_hints", alias = "OS-SCH-HNT:scheduler_hints")]
    hints: Option<Value>,
}

/// A server that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerWanted {
    name: String,
    #[serde(rename = "flavorRef")]
    flavor: Value,
    #[serde(rename = "imageRef", default)]
    image: String,
    networks: Option<Value>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    min_count: Option<Value>,
    max_count: Option<Value>,
    #[serde(default)]
    block_device_mapping_v2: Vec<BlockDevice>,
    security_groups: Option<Vec<GroupName>>,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: Option<String>,
    config_drive: Option<Value>,
    return_reservation_id: Option<Value>,
    availability_zone: Option<String>,
    #[serde(rename = "adminPass")]
    admin_pass: Option<Value>,
    user_data: Option<Value>,
    personality: Option<Value>,
    key_name: Option<Value>,
    block_device_mapping: Option<Value>,
    #[serde(rename = "accessIPv4")]
    access_v4: Option<String>,
    #[serde(rename = "accessIPv6")]
    access_v6: Option<String>,
}

/// A disk that is asked for: only the one made from the image.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockDevice {
    uuid: Option<String>,
    boot_index: Option<Value>,
    source_type: Option<String>,
    destination_type: Option<String>,
    delete_on_termination: Option<Value>,
}

/// A security group.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupName {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkWanted {
    uuid: Option<Value>,
    fixed_ip: Option<String>,
    port: Option<Value>,
}

impl CreateServer {
    /// What is wanted.
    ///
    /// # Errors
    /// 400, with the reason.
    pub(super) fn wanted(self) -> Result<NewServer, Fault> {
        let hints = self
            .hints
            .is_some_and(|hints| hints != Value::Object(serde_json::Map::new()));
        if hints {
            return Err(Fault::bad("scheduler hints are not heeded here"));
        }
        let ServerWanted {
            name,
            flavor,
            image,
            networks,
            metadata,
            min_count,
            max_count,
            block_device_mapping_v2,
            security_groups,
            disk_config,
            config_drive,
            return_reservation_id,
            availability_zone,
            admin_pass,
            user_data,
            personality,
            key_name,
            block_device_mapping,
            access_v4,
            access_v6,
        } = self.server;
        let is_none = |value: &Option<Value>| {
            value
                .as_ref()
                .is_none_or(|value| value.is_null() || value.as_array().is_some_and(Vec::is_empty))
        };
        for (word, value) in [
            ("user_data", &user_data),
            ("personality", &personality),
            ("key_name", &key_name),
            ("adminPass", &admin_pass),
        ] {
            if !is_none(value) {
                return Err(Fault::bad(format!(
                    "{word}: nothing is put into images here yet, so it would not reach the server"
                )));
            }
        }
        if !is_none(&block_device_mapping) {
            return Err(Fault::bad(
                "block_device_mapping: there are no volumes here",
            ));
        }
        if is_true(config_drive.as_ref()) {
            return Err(Fault::bad("config_drive: there are no config drives here"));
        }
        if is_true(return_reservation_id.as_ref()) {
            return Err(Fault::bad(
                "return_reservation_id: there are no reservations here",
            ));
        }
        if availability_zone.is_some_and(|zone| zone != super::server::ZONE) {
            return Err(Fault::bad(
                "The requested availability zone is not available",
            ));
        }
        if [access_v4, access_v6]
            .into_iter()
            .flatten()
            .any(|address| !address.is_empty())
        {
            return Err(Fault::bad(
                "accessIPv4, accessIPv6: a server's addresses are those of its ports",
            ));
        }
        check_disk_config(disk_config.as_deref())?;
        for group in security_groups.unwrap_or_default() {
            if group.name != "default" {
                let name = group.name;
                return Err(Fault::bad(format!(
                    "Security group {name} not found: there is only default"
                )));
            }
        }
        check_devices(&block_device_mapping_v2, &image)?;
        let name = checked_name(&name)?;
        check_metadata(&metadata)?;
        let flavor = match flavor {
            Value::String(flavor) => flavor,
            Value::Number(flavor) => flavor.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(Fault::bad("flavorRef is no text"));
            }
        };
        let least = count("min_count", min_count.as_ref())?;
        let most = count("max_count", max_count.as_ref())?;
        let (least, most) = (least.unwrap_or(1), most.or(least).unwrap_or(1));
        if least > most {
            return Err(Fault::bad("min_count must be <= max_count"));
        }
        Ok(NewServer {
            name,
            flavor,
            image,
            networks: wanted_networks(networks)?,
            metadata,
            least,
            most,
        })
    }
}

fn is_true(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => {
            !matches!(&*text.to_lowercase(), "" | "false" | "0" | "no" | "off")
        }
        Some(Value::Number(number)) => number.as_i64() != Some(0),
        Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => true,
    }
}

/// Disks are never grown by themselves.
fn check_disk_config(word: Option<&str>) -> Result<(), Fault> {
    match word {
        None | Some("MANUAL") => Ok(()),
        Some("AUTO") => Err(Fault::bad("OS-DCF:diskConfig: only MANUAL is done here")),
        Some(_) => Err(Fault::bad("OS-DCF:diskConfig must be AUTO or MANUAL")),
    }
}

fn check_devices(devices: &[BlockDevice], image: &str) -> Result<(), Fault> {
    for device in devices {
        let BlockDevice {
            uuid,
            boot_index,
            source_type,
            destination_type,
            delete_on_termination,
        } = device;
        let is_first = boot_index.as_ref().is_none_or(|index| match index {
            Value::Number(index) => index.as_i64() == Some(0),
            Value::String(index) => index == "0",
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        });
        let is_root = devices.len() == 1
            && is_first
            && source_type.as_deref() == Some("image")
            && destination_type.as_deref().unwrap_or("local") == "local"
            && uuid.as_deref() == Some(image)
            && delete_on_termination
                .as_ref()
                .is_none_or(|word| is_true(Some(word)));
        if !is_root {
            return Err(Fault::bad(
                "block_device_mapping_v2: there are no volumes here: only the disk made from the image",
            ));
        }
    }
    Ok(())
}

fn count(word: &str, value: Option<&Value>) -> Result<Option<u32>, Fault> {
    let number = match value {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let number = number.and_then(|number| u32::try_from(number).ok());
    match number {
        Some(number @ 1..=AT_ONCE) => Ok(Some(number)),
        _ => Err(Fault::bad(format!(
            "{word} must be a number from 1 to {AT_ONCE}"
        ))),
    }
}

/// A name: something to see, of at most 255 characters that can be shown.
///
/// # Errors
/// 400, with the reason.
pub(super) fn checked_name(name: &str) -> Result<String, Fault> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST || name.chars().any(char::is_control) {
        return Err(Fault::bad(format!(
            "Invalid input for field/attribute name: 1 to {LONGEST} characters that can be shown"
        )));
    }
    Ok(name.to_owned())
}

/// Words on a server, as Nova takes them.
///
/// # Errors
/// 400, with the reason.
pub(super) fn check_metadata(words: &BTreeMap<String, String>) -> Result<(), Fault> {
    let is_key = |letter: char| letter.is_ascii_alphanumeric() || "-_:. ".contains(letter);
    for (key, value) in words {
        if key.is_empty() || key.len() > LONGEST || !key.chars().all(is_key) {
            return Err(Fault::bad(format!(
                "Invalid metadata key {key:?}: 1 to {LONGEST} letters, digits, spaces and '-_:.'"
            )));
        }
        if value.chars().count() > LONGEST {
            return Err(Fault::bad(format!(
                "the value of metadata {key} is longer than {LONGEST} characters"
            )));
        }
    }
    Ok(())
}

fn wanted_networks(value: Option<Value>) -> Result<Networks, Fault> {
    let wanted: Vec<NetworkWanted> = match value {
        None | Some(Value::Null) => return Ok(Networks::Unsaid),
        Some(Value::String(word)) if word == "auto" => return Ok(Networks::Auto),
        Some(Value::String(word)) if word == "none" => return Ok(Networks::None),
        Some(value) => serde_json::from_value(value)
            .map_err(|error| Fault::bad(format!("networks: {error}")))?,
    };
    // An empty list is the same as nothing, to Nova.
    if wanted.is_empty() {
        return Ok(Networks::Unsaid);
    }
    let attachments = wanted.into_iter().map(|wanted| {
        let NetworkWanted {
            uuid,
            fixed_ip,
            port,
        } = wanted;
        let uuid = uuid.filter(|uuid| !uuid.is_null());
        attachment(
            uuid.as_ref().map(|uuid| uuid.as_str().unwrap_or("?")),
            port.as_ref().map(|port| port.as_str().unwrap_or("?")),
            fixed_ip.as_deref(),
        )
    });
    Ok(Networks::These(attachments.collect::<Result<_, _>>()?))
}

/// A NIC that is asked for: by a port, or by a network and perhaps an address.
///
/// # Errors
/// 400, with the reason.
pub(super) fn attachment(
    network: Option<&str>,
    port: Option<&str>,
    fixed: Option<&str>,
) -> Result<Attachment, Fault> {
    let read = |what: &str, text: &str| {
        let uuid: Result<Uuid, _> = text.parse();
        uuid.map_err(|_| Fault::bad(format!("Bad {what} format: {text} is not in proper format")))
    };
    let fixed = fixed.map(|text| {
        let address: Result<IpAddr, _> = text.parse();
        address.map_err(|_| Fault::bad(format!("Invalid fixed IP address ({text})")))
    });
    let fixed = fixed.transpose()?;
    match (network, port) {
        (_, Some(_)) if fixed.is_some() => Err(Fault::bad(
            "Specified Fixed IP cannot be used with port: the two together are not done",
        )),
        (_, Some(port)) => Ok(Attachment::Port(read("port", port)?)),
        (Some(network), None) => Ok(Attachment::Network {
            uuid: read("networks", network)?,
            fixed,
        }),
        (None, None) => Err(Fault::bad("a network needs a uuid or a port")),
    }
}

/// `PUT /servers/{id}`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateServer {
    server: ServerChange,
}

/// What changes of a server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerChange {
    name: Option<String>,
    #[serde(rename = "accessIPv4")]
    access_v4: Option<String>,
    #[serde(rename = "accessIPv6")]
    access_v6: Option<String>,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: Option<String>,
}

impl UpdateServer {
    /// The new name, if one is asked for.
    ///
    /// # Errors
    /// 400, with the reason.
    pub(super) fn wanted(self) -> Result<Option<String>, Fault> {
        let ServerChange {
            name,
            access_v4,
            access_v6,
            disk_config,
        } = self.server;
        check_disk_config(disk_config.as_deref())?;
        if [access_v4, access_v6]
            .into_iter()
            .flatten()
            .any(|address| !address.is_empty())
        {
            return Err(Fault::bad(
                "accessIPv4, accessIPv6: a server's addresses are those of its ports",
            ));
        }
        name.as_deref().map(checked_name).transpose()
    }
}
