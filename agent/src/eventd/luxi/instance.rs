//! Instances as the query socket tells them, and what of it goes with which event.
//!
//! Pure.

use serde_json::{Value, json};
use snf_events::message::{InstanceDisk, InstanceNic, Missing, OpStatus};
use snf_events::tag::{self, Key, Tag};
use snf_events::{JobStatus, OpCode};

/// The fields asked for, in the order of [`read`].
pub(super) const FIELDS: [&str; 16] = [
    "name",
    "uuid",
    "serial_no",
    "tags",
    "nic.names",
    "nic.networks.names",
    "nic.ips",
    "nic.macs",
    "nic.modes",
    "nic.links",
    "nic.uuids",
    "disk.names",
    "disk.sizes",
    "disk.uuids",
    "hv/boot_order",
    "hv/cdrom_image_path",
];

/// An instance, as Ganeti has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    /// Its UUID.
    pub uuid: String,
    /// Number of its configuration.
    pub serial_no: u64,
    /// Its NICs.
    pub nics: Vec<InstanceNic>,
    /// Its disks.
    pub disks: Vec<InstanceDisk>,
    /// Boot order and CD image.
    pub hvparams: Value,
}

/// What an event wants to know of its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Identity and number.
    Identity,
    /// NICs, disks and hypervisor parameters too.
    All,
}

/// What goes with an operation's message; nothing while its operation is not over, and after a removal.
#[must_use]
pub fn wanted(operation: &OpCode, status: JobStatus) -> Option<Wanted> {
    if !status.is_final() {
        return None;
    }
    let is = |codes: &[OpCode]| codes.contains(operation);
    let success = status == JobStatus::Success;
    if success && is(&[OpCode::InstanceRemove]) {
        None
    } else if is(&[OpCode::InstanceSetParams, OpCode::InstanceGrowDisk])
        || success && is(&[OpCode::InstanceCreate, OpCode::InstanceStartup])
    {
        Some(Wanted::All)
    } else {
        Some(Wanted::Identity)
    }
}

/// Adds what was found; `Err` says why nothing was.
pub fn attach(message: &mut OpStatus, wanted: Wanted, found: Result<&Details, Missing>) {
    match found {
        Ok(details) => {
            message.instance_uuid = Some(details.uuid.clone());
            message.serial_no = Some(details.serial_no);
            if wanted == Wanted::All {
                message.instance_nics = Some(details.nics.clone());
                message.instance_disks = Some(details.disks.clone());
                message.instance_hvparams = Some(details.hvparams.clone());
            }
        }
        Err(missing) => message.info = Some(missing),
    }
}

/// Reads the result of a query for [`FIELDS`]: rows of `[status, value]`, status 0 for a value that is there.
pub(super) fn read(result: &Value) -> Result<Vec<(String, Details)>, String> {
    let rows = result.get("data").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| String::from("no rows"))?;
    rows.iter().map(read_row).collect()
}

fn read_row(row: &Value) -> Result<(String, Details), String> {
    let field = |name: &str| -> Option<&Value> {
        let place = FIELDS.iter().position(|field| *field == name)?;
        let cell = row.get(place)?;
        (cell.get(0)? == 0).then(|| cell.get(1)).flatten()
    };
    let text = |name: &str| {
        let value = field(name).and_then(Value::as_str);
        value.ok_or_else(|| format!("no {name}"))
    };
    let name = text("name")?;
    // The n-th of a field that has a value for each NIC or disk.
    let nth = |name: &str, n: usize| field(name).and_then(|list| list.get(n));
    let nth_text = |name: &str, n| nth(name, n).and_then(Value::as_str).map(str::to_owned);
    let count = |name: &str| field(name).and_then(Value::as_array).map_or(0, Vec::len);
    let tags: Vec<&str> = field("tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let nics = (0..count("nic.macs")).map(|n| {
        let nic = InstanceNic {
            name: nth_text("nic.names", n),
            network: nth_text("nic.networks.names", n),
            ip: nth_text("nic.ips", n),
            mac: nth_text("nic.macs", n).unwrap_or_default(),
            mode: nth_text("nic.modes", n).unwrap_or_default(),
            link: nth_text("nic.links", n).unwrap_or_default(),
            uuid: nth_text("nic.uuids", n).unwrap_or_default(),
            firewall: None,
        };
        InstanceNic {
            firewall: firewall(&tags, n, &nic),
            ..nic
        }
    });
    let disks = (0..count("disk.sizes")).map(|n| InstanceDisk {
        name: nth_text("disk.names", n),
        size: nth("disk.sizes", n).and_then(Value::as_u64).unwrap_or(0),
        uuid: nth_text("disk.uuids", n).unwrap_or_default(),
    });
    let details = Details {
        uuid: text("uuid")?.to_owned(),
        serial_no: field("serial_no")
            .and_then(Value::as_u64)
            .ok_or("no serial_no")?,
        nics: nics.collect(),
        disks: disks.collect(),
        hvparams: json!({
            "boot_order": field("hv/boot_order"),
            "cdrom_image_path": field("hv/cdrom_image_path"),
        }),
    };
    Ok((name.to_owned(), details))
}

/// The profile of the first `synnefo:network:<index, name or UUID>:<profile>` for the NIC.
fn firewall(tags: &[&str], index: usize, nic: &InstanceNic) -> Option<String> {
    let index = index.to_string();
    let ids = [Some(index.as_str()), nic.name.as_deref(), Some(&nic.uuid)];
    tags.iter().find_map(|tag| {
        let (key, value) = tag::split(tag)?;
        if let Tag::Firewall { nic, profile } = Key::of(key)?.read(value)?
            && ids.contains(&Some(nic.as_str()))
        {
            Some(profile.to_string())
        } else {
            None
        }
    })
}
