//! Reads what snf-ifup and Ganeti left on the node: records of TAPs, runtime files, which TAP is whose. Changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use ifup::apply::chain;
use ifup::record::Record;
use ifup::request::IfName;

use super::config::Config;
use super::environment::is_instance_name;
use super::runtime::{self, Nic};

/// snf-ifup's record of a TAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The record.
    pub record: Record,
    /// When the TAP came up, milliseconds since 1970: the file's time, which a repair leaves as it is.
    pub at: u64,
}

/// What Ganeti's files say of this node's instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ganeti {
    /// NICs of the running instances, in Ganeti's order.
    pub instances: BTreeMap<String, Vec<Nic>>,
    /// Whose TAP it is by the files under `nic/`: instance, and number of the NIC when it was made.
    pub taps: BTreeMap<IfName, (String, usize)>,
    /// What could not be read, each a sentence.
    pub problems: Vec<String>,
}

/// Longest file that is read, bytes.
const FILE_MAX: u64 = 4 << 20;

/// The record of a TAP; `None` without one, or with one that cannot be read.
#[must_use]
pub fn recorded(tap: &IfName, config: &ifup::config::Config) -> Option<Recorded> {
    let path = ifup::plan::record_path(tap, config);
    let record = read(&path).ok()??.parse().ok()?;
    let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
    let since = written.ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Recorded {
        record,
        at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    })
}

/// The TAPs that there is a binding of; none where they cannot be listed, which nfdhcpd tells of.
#[must_use]
pub fn bound_taps(config: &ifup::config::Config) -> Vec<IfName> {
    let names = list(&config.binding_dir).unwrap_or_default();
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// The text of a TAP's binding; `None` without one.
#[must_use]
pub fn binding(tap: &IfName, config: &ifup::config::Config) -> Option<String> {
    read(&config.binding_dir.join(tap.as_str())).ok()?
}

/// What Ganeti's files say. What cannot be read is a problem of that instance's alone.
#[must_use]
pub fn ganeti(config: &Config) -> Ganeti {
    let base = config.ganeti_run.join("kvm-hypervisor");
    let mut seen = Ganeti::default();
    let runtimes = base.join("conf");
    for name in seen.listed(&runtimes) {
        let Some(instance) = name.strip_suffix(".runtime") else {
            continue;
        };
        if is_instance_name(instance) {
            seen.runtime(instance, &runtimes.join(&name));
        }
    }
    let taps = base.join("nic");
    for instance in seen.listed(&taps) {
        if is_instance_name(&instance) {
            seen.taps_of(&instance, &taps.join(&instance));
        }
    }
    seen
}

impl Ganeti {
    fn runtime(&mut self, instance: &str, path: &Path) {
        match read(path) {
            // Gone since it was listed: the instance has stopped.
            Ok(None) => {}
            Ok(Some(text)) => match runtime::nics(&text) {
                Ok(nics) => {
                    self.instances.insert(instance.to_owned(), nics);
                }
                Err(error) => {
                    let problem = format!("{}: {}", path.display(), chain(&error));
                    self.problems.push(problem);
                }
            },
            Err(error) => self.problems.push(format!("{}: {error}", path.display())),
        }
    }

    fn taps_of(&mut self, instance: &str, directory: &Path) {
        for name in self.listed(directory) {
            let tap = read(&directory.join(&name)).ok().flatten();
            let tap = tap.and_then(|text| text.trim().parse().ok());
            if let (Ok(index), Some(tap)) = (name.parse(), tap) {
                self.taps.insert(tap, (instance.to_owned(), index));
            }
        }
    }

    fn listed(&mut self, directory: &Path) -> Vec<String> {
        match list(directory) {
            Ok(names) => names,
            Err(error) => {
                let problem = format!("list {}: {error}", directory.display());
                self.problems.push(problem);
                Vec::new()
            }
        }
    }
}

/// Names in a directory, sorted; none when it is not there.
fn list(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    match fs::File::open(path) {
        Ok(file) => {
            io::Read::read_to_string(&mut io::Read::take(file, FILE_MAX), &mut text)?;
            Ok(Some(text))
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
