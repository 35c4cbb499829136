//! Whether this node is the master, by Ganeti's ssconf files, which it writes on every node.
//!
//! `ssconf_master_node` names the master as `ssconf_node_list` names nodes. Which of these we are: the one the
//! configuration says, or the one that has the host's name, with or without its domain.

use std::fs;
use std::io;
use std::path::Path;

/// What the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The cluster's name.
    pub cluster: String,
    /// This node's name in Ganeti.
    pub node: String,
    /// The master's.
    pub master: String,
}

impl Role {
    /// True when this node is the master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.node == self.master
    }
}

/// Reads the files in `directory`; `node` is our name, where that is configured.
///
/// # Errors
/// When a file cannot be read: the node is in no cluster, or Ganeti is just writing.
pub fn read(directory: &Path, node: Option<&str>) -> io::Result<Role> {
    let line = |name: &str| {
        let path = directory.join(name);
        let text = fs::read_to_string(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        if line.is_empty() {
            return Err(io::Error::other(format!("{}: empty", path.display())));
        }
        Ok(line)
    };
    let node = match node {
        Some(node) => node.to_owned(),
        None => {
            let host = nix::unistd::gethostname()?;
            let nodes = fs::read_to_string(directory.join("ssconf_node_list")).unwrap_or_default();
            node_of_host(&host.to_string_lossy(), &nodes)
        }
    };
    Ok(Role {
        cluster: line("ssconf_cluster_name")?,
        master: line("ssconf_master_node")?,
        node,
    })
}

/// The node that has the host's name; without one, the host's name.
fn node_of_host(host: &str, nodes: &str) -> String {
    let nodes = || nodes.lines().map(str::trim);
    let domain = |node: &&str| {
        node.strip_prefix(host)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    let exact = nodes().find(|node| *node == host);
    exact.or(nodes().find(domain)).unwrap_or(host).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_the_hosts_name() {
        let nodes = "node1.gnt.test\nnode10.gnt.test\nnode2.gnt.test\n";
        assert_eq!(node_of_host("node1", nodes), "node1.gnt.test");
        assert_eq!(node_of_host("node2.gnt.test", nodes), "node2.gnt.test");
        assert_eq!(node_of_host("node3", nodes), "node3");
    }

    #[test]
    fn the_files_tell_who_is_master() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(read(path, Some("node1.gnt.test")).is_err());
        fs::write(path.join("ssconf_cluster_name"), "gnt.gnt.test\n").unwrap();
        fs::write(path.join("ssconf_master_node"), "node1.gnt.test\n").unwrap();
        let role = read(path, Some("node1.gnt.test")).unwrap();
        assert!(role.is_master());
        assert_eq!(role.cluster, "gnt.gnt.test");
        assert!(!read(path, Some("node2.gnt.test")).unwrap().is_master());
        fs::write(path.join("ssconf_master_node"), "").unwrap();
        assert!(read(path, Some("node1.gnt.test")).is_err());
    }
}
