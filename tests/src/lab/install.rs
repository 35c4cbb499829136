//! What our packages bring to a node: the programs that are built, and the files that belong to them.
//!
//! [`PROGRAMS`] is all there is to it: a program is one entry, and one that is not built is left out.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A program of ours, with what its package brings along.
struct Installed {
    /// Its name; it goes to `/usr/sbin`.
    name: &'static str,
    /// Files of the tree, from `packaging/`, and where they go.
    files: &'static [(&'static str, &'static str)],
    /// Links to the program.
    links: &'static [&'static str],
    /// The lab's own configuration files: where they go, and what they say.
    own: &'static [(&'static str, &'static str)],
}

/// eventd's configuration: the defaults but for the broker, and what looks inside. The journal's token is `secret`.
const EVENTD: &str = "\
metrics = \"127.0.0.1:9548\"

[amqp]
hosts = [\"amqp://cluster:publish@192.168.77.20\"]

[pull]
listen = \"127.0.0.1:9549\"
token_sha256 = \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"
";

/// The agent's: the defaults but for the broker, and reports that come soon.
const AGENT: &str = "\
transport = \"amqp\"
report = 10
[amqp]
hosts = [\"amqp://cluster:publish@192.168.77.20\"]
";

/// Where service units go.
const UNITS: &str = "/usr/lib/systemd/system";
/// Where the users that services need are told.
const USERS: &str = "/usr/lib/sysusers.d";

/// All programs of a node.
const PROGRAMS: &[Installed] = &[
    Installed {
        name: "nfdhcpd",
        files: &[
            ("nfdhcpd.toml", "/etc/nfdhcpd/nfdhcpd.toml"),
            (
                "systemd/nfdhcpd.service",
                "/usr/lib/systemd/system/nfdhcpd.service",
            ),
            (
                "systemd/nfdhcpd.sysusers.conf",
                "/usr/lib/sysusers.d/nfdhcpd.conf",
            ),
        ],
        links: &[],
        own: &[],
    },
    Installed {
        name: "snf-ifup",
        files: &[
            ("snf-ifup.toml", "/etc/snf-ifup.toml"),
            ("kvm-vif-bridge", "/etc/ganeti/kvm-vif-bridge"),
        ],
        links: &[],
        own: &[],
    },
    Installed {
        name: "snf-ganeti-eventd",
        files: &[
            (
                "systemd/snf-ganeti-eventd.service",
                "/usr/lib/systemd/system/snf-ganeti-eventd.service",
            ),
            (
                "systemd/snf-ganeti-eventd.sysusers.conf",
                "/usr/lib/sysusers.d/snf-ganeti-eventd.conf",
            ),
        ],
        links: &[],
        own: &[("/etc/snf/snf-ganeti-eventd.toml", EVENTD)],
    },
    Installed {
        name: "snf-agent",
        files: &[(
            "systemd/snf-agent.service",
            "/usr/lib/systemd/system/snf-agent.service",
        )],
        links: &[],
        own: &[("/etc/snf/snf-agent.toml", AGENT)],
    },
    Installed {
        name: "snf-progress-monitor",
        files: &[],
        links: &[],
        own: &[],
    },
    Installed {
        name: "snf-ganeti-hook",
        files: &[],
        links: &[
            "/etc/ganeti/hooks/instance-add-post.d/snf-ganeti-hook",
            "/etc/ganeti/hooks/instance-modify-post.d/snf-ganeti-hook",
            "/etc/ganeti/hooks/instance-reboot-post.d/snf-ganeti-hook",
            "/etc/ganeti/hooks/instance-start-post.d/snf-ganeti-hook",
            "/etc/ganeti/hooks/instance-stop-post.d/snf-ganeti-hook",
            "/etc/ganeti/hooks/instance-migrate-post.d/snf-ganeti-hook",
            "/etc/ganeti/hooks/instance-failover-post.d/snf-ganeti-hook",
            "/etc/ganeti/hooks/instance-remove-post.d/snf-ganeti-hook",
            "/etc/ganeti/hooks/instance-rename-post.d/snf-ganeti-hook",
        ],
        own: &[],
    },
];

/// Lays the programs of the folder `programs` out under `root`, as packages would, and tells their names.
///
/// # Errors
/// When a file cannot be copied.
pub(super) fn lay_out(programs: &Path, root: &Path) -> Result<Vec<String>> {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    let mut names = Vec::new();
    fs::create_dir_all(root)?;
    for program in PROGRAMS {
        let built = programs.join(program.name);
        if !built.exists() {
            continue;
        }
        let place = format!("/usr/sbin/{}", program.name);
        copy(&built, &below(root, &place), 0o755)?;
        for (file, place) in program.files {
            let file = packaging.join(file);
            let mode = fs::metadata(&file)
                .with_context(|| format!("find {}", file.display()))?
                .permissions()
                .mode();
            copy(&file, &below(root, place), 0o644 | mode & 0o111)?;
        }
        for (place, text) in program.own {
            let place = below(root, place);
            make_parent(&place)?;
            fs::write(&place, text).with_context(|| format!("write {}", place.display()))?;
        }
        for link in program.links {
            let link = below(root, link);
            make_parent(&link)?;
            symlink(&place, &link).with_context(|| format!("link {}", link.display()))?;
        }
        names.push(program.name.to_owned());
    }
    Ok(names)
}

/// Takes out of what a node has written, once, the files of ours that lie under it: Ganeti copies some from the master to
/// the other nodes.
///
/// # Errors
/// When a file cannot be removed.
pub(super) fn uncover(upper: &Path) -> Result<()> {
    for (_, place) in PROGRAMS.iter().flat_map(|program| program.files) {
        let written = below(upper, place);
        if written.is_file() {
            fs::remove_file(&written).with_context(|| format!("remove {}", written.display()))?;
        }
    }
    Ok(())
}

fn below(root: &Path, place: &str) -> PathBuf {
    root.join(place.trim_start_matches('/'))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().context("a file has a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    make_parent(to)?;
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    fs::set_permissions(to, PermissionsExt::from_mode(mode))?;
    Ok(())
}

/// The service units of ours that are installed here, in a node.
pub(super) fn units() -> Vec<String> {
    ours(UNITS)
}

/// The files that tell which users our services need, here in a node.
pub(super) fn users() -> Vec<String> {
    ours(USERS)
}

/// The files of [`PROGRAMS`] that are in `directory`.
fn ours(directory: &str) -> Vec<String> {
    let places = PROGRAMS.iter().flat_map(|program| program.files);
    places
        .map(|(_, place)| *place)
        .filter(|place| Path::new(place).starts_with(directory) && Path::new(place).exists())
        .map(ToOwned::to_owned)
        .collect()
}
