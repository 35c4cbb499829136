//! The lab's message broker: RabbitMQ as its package's own unit starts it, alone in a place.
//!
//! It knows two users: the control plane, which may everything, and the cluster, which may publish to our exchange only.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lapin::Connection;
use nix::unistd::{User, chown};
use serde_json::{Value, json};
use snf_events::Prefix;
use snf_events::routing::EXCHANGE;
use snf_events::topology::{self, Declared};

use super::boot::write;
use super::first::ip;
use super::layout::{
    BRIDGE_UPLINK, BROKER_ADDRESS, BROKER_PASSWORD, BROKER_USER, PREFIX, PUBLISHER,
    PUBLISHER_PASSWORD,
};
use super::service::Services;
use super::{COMMAND, Lab};
use crate::broker::client;
use crate::progress::Progress;
use crate::wait;

/// The unit of the package `rabbitmq-server`.
const UNIT: &str = "/usr/lib/systemd/system/rabbitmq-server.service";

/// RabbitMQ's home, where it has its cookie and its data.
const HOME: &str = "/var/lib/rabbitmq";

/// Users and rights, which are there before anybody is let in.
const DEFINITIONS: &str = "/etc/rabbitmq/definitions.json";

/// Greets the broker as a client does, and waits for the first byte of its answer.
const GREET: &str = "exec 3<>/dev/tcp/$0/5672; printf 'AMQP\\0\\0\\11\\1' >&3; test -n \"$(head -c1 <&3 | tr '\\1' 1)\"";

/// Whether this machine has what a broker needs.
#[must_use]
pub(super) fn is_installed() -> bool {
    Path::new(UNIT).exists()
}

/// Furnishes the broker's place, here; it is still to be started.
pub(super) fn furnish() -> Result<Services> {
    for step in [
        "link set lo up".to_owned(),
        format!("addr add {BROKER_ADDRESS}/24 dev {BRIDGE_UPLINK}"),
        format!("link set {BRIDGE_UPLINK} up"),
    ] {
        ip(&step)?;
    }
    write(
        "/etc/rabbitmq/rabbitmq.conf",
        &format!(
            "listeners.tcp.default = 5672\nload_definitions = {DEFINITIONS}\n\
            disk_free_limit.absolute = 1MB\nraft.wal_max_size_bytes = 16777216\n"
        ),
    )?;
    write(DEFINITIONS, &definitions().to_string())?;
    let mut random = [0; 20];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let cookie: String = random
        .iter()
        .map(|byte| char::from(b'A' + byte % 26))
        .collect();
    let cookie_file = format!("{HOME}/.erlang.cookie");
    write(&cookie_file, &cookie)?;
    fs::set_permissions(
        &cookie_file,
        std::os::unix::fs::PermissionsExt::from_mode(0o400),
    )?;
    let user = User::from_name("rabbitmq")?.context("no user rabbitmq")?;
    for path in [HOME, &cookie_file, "/var/log/rabbitmq", "/etc/rabbitmq"] {
        chown(path, Some(user.uid), Some(user.gid)).with_context(|| format!("chown {path}"))?;
    }
    Services::find(&[UNIT.to_owned()])
}

fn definitions() -> Value {
    let exchange = format!("^{EXCHANGE}$");
    json!({
        "vhosts": [{ "name": "/" }],
        "users": [
            { "name": BROKER_USER, "password": BROKER_PASSWORD, "tags": "administrator" },
            { "name": PUBLISHER, "password": PUBLISHER_PASSWORD, "tags": "" },
        ],
        "permissions": [
            { "user": BROKER_USER, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" },
            { "user": PUBLISHER, "vhost": "/", "configure": "^$", "write": exchange, "read": "^$" },
        ],
    })
}

/// Waits until the broker lets clients in, and declares the topology, as the control plane will.
pub(super) fn answers(lab: &Lab, progress: &Progress) -> Result<()> {
    progress.now("waiting for the broker");
    let switch = lab.switch()?;
    wait::until("the broker answers", COMMAND, || {
        Ok(switch.run("bash", &["-c", GREET, BROKER_ADDRESS]).is_ok())
    })?;
    let prefix: Prefix = PREFIX.parse()?;
    let declared = connected(lab, async |connection| {
        Ok(topology::declare(connection, &[prefix]).await?)
    })?;
    ensure!(
        declared == Declared::Wholly,
        "{BROKER_USER} may not declare"
    );
    progress.done(&format!("RabbitMQ answers at {BROKER_ADDRESS}:5672"));
    Ok(())
}

/// Runs `action` on a connection as the control plane.
pub(super) fn connected<R: Send>(
    lab: &Lab,
    action: impl AsyncFnOnce(&Connection) -> Result<R> + Send,
) -> Result<R> {
    let uri = format!("amqp://{BROKER_USER}:{BROKER_PASSWORD}@{BROKER_ADDRESS}:5672");
    lab.switch()?.inside(|| client::connected(&uri, action))
}
