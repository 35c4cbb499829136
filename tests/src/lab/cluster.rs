//! Making the cluster on nodes that stand, and waking one that was brought back.

use std::time::Instant;

use anyhow::{Context, Result};

use super::layout::{self, BRIDGE, BRIDGED_NETWORK, CLUSTER, Network, RAPI, ROUTED_NETWORK};
use super::root::GUEST;
use super::{COMMAND, Lab, Place};
use crate::progress::Progress;
use crate::wait;

/// Bounds wide enough for tiny, diskless instances.
const BOUNDS: &str = "min:cpu-count=1,disk-count=0,disk-size=1,memory-size=16,nic-count=0,spindle-use=1/\
    max:cpu-count=8,disk-count=16,disk-size=1048576,memory-size=32768,nic-count=8,spindle-use=12";

/// Starts and stops a node's daemons.
const DAEMONS: &str = "/usr/lib/ganeti/daemon-util";

/// Makes a cluster of all nodes of `lab`; the first is the master.
pub(super) fn make(lab: &Lab, progress: &Progress) -> Result<()> {
    let master = lab.node(1)?;
    progress.now("gnt-cluster init on node1");
    master.run(
        "gnt-cluster",
        &initial().iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    progress.done("gnt-cluster init on node1");
    let users = "/var/lib/ganeti/rapi/users";
    master.write(
        users,
        &format!("{} {} write\n", layout::RAPI_USER, layout::RAPI_PASSWORD),
    )?;
    master.shell(&format!(
        "chown gnt-rapi:gnt-masterd {users}; chmod 640 {users}"
    ))?;

    let key = master.run("cat", &["/root/.ssh/id_rsa.pub"])?;
    for node in lab.nodes().iter().skip(1) {
        let name = node.name();
        progress.now(&format!("gnt-node add {name}"));
        node.write("/root/.ssh/authorized_keys", &key)?;
        node.run("chmod", &["600", "/root/.ssh/authorized_keys"])?;
        let full = layout::full_name(name);
        master.shell(&format!(
            "echo yes | gnt-node add --no-ssh-key-check {full}"
        ))?;
        progress.done(&format!("gnt-node add {name}"));
    }
    for network in [BRIDGED_NETWORK, ROUTED_NETWORK] {
        progress.now(&format!("gnt-network add {}", network.name));
        add_network(&master, &network)?;
    }
    progress.done("gnt-network add and connect: bridged, routed");
    api_answers(lab, progress)
}

/// Starts Ganeti's daemons on all nodes.
pub(super) fn wake(lab: &Lab, progress: &Progress) -> Result<()> {
    progress.now("starting the cluster's daemons");
    let nodes = lab.nodes();
    std::thread::scope(|scope| {
        let starting: Vec<_> = nodes
            .iter()
            .map(|node| scope.spawn(|| node.run(DAEMONS, &["start-all"])))
            .collect();
        for one in starting {
            one.join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    progress.done("the cluster's daemons are up");
    api_answers(lab, progress)
}

/// The words for `gnt-cluster`.
fn initial() -> Vec<String> {
    // Emulation, by QEMU's full name: under a name that ends in kvm it would take KVM, and a nested one may hang the
    // guest in its first instructions.
    let hypervisor = format!(
        "kvm:kvm_flag=,kvm_path=/usr/bin/qemu-system-x86_64,kernel_path={GUEST}/vmlinuz,\
        initrd_path={GUEST}/initramfs,kernel_args=console\\=ttyS0 quiet panic\\=-1 nokaslr mitigations\\=off \
        random.trust_cpu\\=on,vnc_bind_address=,migration_bandwidth=1000,migration_downtime=1000"
    );
    [
        "init",
        "--enabled-hypervisors=kvm,fake",
        "--enabled-disk-templates=file,sharedfile,diskless",
        &format!("--master-netdev={BRIDGE}"),
        "--master-netmask=24",
        &format!("--nic-parameters=mode=bridged,link={BRIDGE}"),
        "--file-storage-dir=/srv/ganeti/file-storage",
        "--shared-file-storage-dir=/srv/ganeti/shared-file-storage",
        "--no-etc-hosts",
        &format!("--ipolicy-bounds-specs={BOUNDS}"),
        "-H",
        &hypervisor,
        CLUSTER,
    ]
    .map(ToOwned::to_owned)
    .to_vec()
}

fn add_network(master: &Place, network: &Network) -> Result<()> {
    master.run(
        "gnt-network",
        &[
            "add",
            &format!("--network={}", network.prefix),
            &format!("--gateway={}", network.router),
            &format!("--network6={}", network.prefix6),
            &format!("--gateway6={}", network.router6),
            &format!("--tags={}", network.tags),
            "--no-conflicts-check",
            network.name,
        ],
    )?;
    master
        .run(
            "gnt-network",
            &[
                "connect",
                &format!("--nic-parameters={}", network.link),
                "--no-conflicts-check",
                network.name,
                "default",
            ],
        )
        .map(|_| ())
}

/// Waits until the remote API answers.
fn api_answers(lab: &Lab, progress: &Progress) -> Result<()> {
    progress.now("waiting for the remote API");
    let switch = lab.switch()?;
    let began = Instant::now();
    let user = format!("{}:{}", layout::RAPI_USER, layout::RAPI_PASSWORD);
    let address = format!("{RAPI}/2/info");
    wait::until("the remote API answers", COMMAND, || {
        Ok(switch
            .run(
                "curl",
                &[
                    "--silent",
                    "--fail",
                    "--insecure",
                    "--user",
                    &user,
                    &address,
                ],
            )
            .is_ok())
    })
    .with_context(|| format!("{RAPI} after {:?}", began.elapsed()))?;
    progress.done(&format!("the remote API answers at {RAPI}"));
    Ok(())
}
