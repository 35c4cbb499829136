//! snf-agent as a service: a real systemd runs the units that are shipped, with all that they restrict.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use system_tests::ganeti::BRIDGED;
use system_tests::host::Host;
use system_tests::systemd::{Systemd, TOOLS};
use system_tests::wait::{SOON, until};
use system_tests::world::in_world;

const SERVICE: &str = include_str!("../../packaging/systemd/snf-agent.service");
const SOCKET: &str = include_str!("../../packaging/systemd/snf-agent.socket");
const USERS: &str = include_str!("../../packaging/systemd/nfdhcpd.sysusers.conf");

/// Runs a program inside with these variables.
fn with(
    systemd: &Systemd,
    variables: &[(&str, &str)],
    program: &str,
    words: &[&str],
) -> Result<String> {
    let variables = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let mut all = vec![
        "-i".to_owned(),
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
    ];
    all.extend(variables);
    all.extend(
        std::iter::once(program)
            .chain(words.iter().copied())
            .map(str::to_owned),
    );
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    systemd.run("env", &all)
}

fn write(systemd: &Systemd, path: &str, text: &str) -> Result<()> {
    let script = "mkdir -p \"$(dirname \"$0\")\" && printf %s \"$1\" > \"$0\"";
    systemd.run("sh", &["-c", script, path, text]).map(drop)
}

fn figures(systemd: &Systemd) -> Result<Value> {
    let status = systemd.run("/usr/sbin/snf-agent", &["status", "--json"])?;
    let status: Value = serde_json::from_str(&status).context(status)?;
    Ok(status.get("agent").cloned().unwrap_or_default())
}

fn hook(systemd: &Systemd, instance: &str, tags: &str) -> Result<()> {
    let variables = [
        ("GANETI_HOOKS_PATH", "instance-modify"),
        ("GANETI_HOOKS_PHASE", "post"),
        ("GANETI_HOOKS_VERSION", "2"),
        ("GANETI_INSTANCE_NAME", instance),
        ("GANETI_INSTANCE_NIC_COUNT", "0"),
        ("GANETI_INSTANCE_TAGS", tags),
    ];
    let said = with(systemd, &variables, "/usr/sbin/snf-ganeti-hook", &[])?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

/// Every kind of repair with the rights the unit leaves, and a hook that speaks while the agent is away.
#[test]
fn the_unit_leaves_the_rights_that_repairs_need() {
    in_world(&[TOOLS, &["nft"]].concat(), |world| {
        let host = Host::new(world, "node")?;
        let _uplink = host.bridge("br0")?;
        let units = [
            ("snf-agent.service", SERVICE),
            ("snf-agent.socket", SOCKET),
            ("nfdhcpd.sysusers.conf", USERS),
        ];
        let systemd = Systemd::boot(world, &host, &units)?;
        let tap = host.tap("tap0")?;
        with(&systemd, BRIDGED, "/usr/sbin/snf-ifup", &["up"])?;
        let base = "/run/ganeti/kvm-hypervisor";
        let runtime = json!([[], [{
            "mac": "aa:00:77:51:ad:bc", "ip": "10.77.0.2", "network": "n",
            "nicparams": {"mode": "bridged", "link": "br0"},
            "netinfo": {"name": "netbr", "network": "10.77.0.0/24", "gateway": "10.77.0.1",
                "mac_prefix": "aa:00:77", "tags": ["nfdhcpd", "private-filtered"]},
        }], {}, []]);
        let path = format!("{base}/conf/bridged.example.org.runtime");
        write(&systemd, &path, &runtime.to_string())?;
        write(
            &systemd,
            &format!("{base}/nic/bridged.example.org/0"),
            "tap0",
        )?;
        // Ganeti's daemons need not be root: their directories may be closed.
        for (file, text) in [
            ("cluster_name", "cluster.gnt.test"),
            ("master_node", "node1.gnt.test"),
        ] {
            write(&systemd, &format!("/var/lib/ganeti/ssconf_{file}"), text)?;
        }
        for directory in ["/run/ganeti", "/var/lib/ganeti"] {
            systemd.run("chown", &["-R", "65534:65534", directory])?;
            systemd.run("chmod", &["-R", "go=", directory])?;
        }
        // Nobody is there: what is to be published waits on disk.
        let broker = "[amqp]\nhosts = [\"amqp://agent:pw@127.0.0.1\"]\n";
        let config = format!("node = \"node1.gnt.test\"\ntransport = \"amqp\"\n{broker}");
        write(&systemd, "/etc/snf/snf-agent.toml", &config)?;

        systemd.order("start", "snf-agent.service")?;
        let binding = || systemd.run("cat", &["/var/lib/nfdhcpd/tap0"]);
        // The first look has written the binding as the runtime file says.
        ensure!(!binding()?.contains("SUBNET6"), "{}", binding()?);
        for (drift, restored) in [
            (
                "nft flush ruleset",
                "nft list set bridge snf filtered | grep -q tap0",
            ),
            ("rm /var/lib/nfdhcpd/tap0", "test -s /var/lib/nfdhcpd/tap0"),
            (
                "ip link set tap0 nomaster",
                "ip link show tap0 | grep -q 'master br0'",
            ),
            (
                "echo 0 > /proc/sys/net/ipv6/conf/tap0/disable_ipv6",
                "grep -q 1 /proc/sys/net/ipv6/conf/tap0/disable_ipv6",
            ),
        ] {
            host.namespace
                .sysctl("net/ipv6/conf/tap0/disable_ipv6", "1")?;
            if drift.starts_with("echo") {
                host.namespace
                    .sysctl("net/ipv6/conf/tap0/disable_ipv6", "0")?;
            } else {
                systemd.run("sh", &["-c", drift])?;
            }
            // An event starts a look; what is not heard of waits for one.
            host.namespace.ip("link set tap0 alias looked-at")?;
            host.namespace.ip("link set tap0 alias again")?;
            until(&format!("{drift:?} is put right"), SOON, || {
                Ok(systemd.run("sh", &["-c", restored]).is_ok())
            })
            .with_context(|| format!("{:?}", figures(&systemd)))?;
        }

        systemd.order("stop", "snf-agent.service")?;
        hook(&systemd, "bridged.example.org", "synnefo:hostname:web1")?;
        until(
            "the waiting hook has started the agent, and is heard",
            SOON,
            || Ok(binding()?.contains("HOSTNAME=web1\n")),
        )
        .with_context(|| format!("{:?}", figures(&systemd)))?;

        hook(&systemd, "snf-1", "")?;
        let waits = || Ok(figures(&systemd)?.pointer("/publication/waiting") == Some(&json!(1)));
        until("what a hook said waits on disk", SOON, waits)
            .with_context(|| format!("{:?}", figures(&systemd)))?;
        systemd.order("restart", "snf-agent.service")?;
        until("it waits there after a restart", SOON, waits)?;

        drop(tap);
        until("nothing is left of tap0", SOON, || {
            let left = "ls -A /var/lib/nfdhcpd/tap0 /run/snf-ifup/taps/tap0 2>/dev/null || true";
            Ok(systemd.run("sh", &["-c", left])?.is_empty())
        })?;
        let figures = figures(&systemd)?;
        ensure!(figures.get("failures") == Some(&json!(0)), "{figures}");
        Ok(())
    });
}
