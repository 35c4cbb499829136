//! The records of this host's TAPs, as files under the run directory.

use std::fs;
use std::io;

use crate::config::Config;
use crate::file::{self, FileError};
use crate::plan::record_path;
use crate::record::{Proxy, Record};
use crate::request::IfName;

/// The TAPs that there is a record of, sorted.
///
/// # Errors
/// The directory of records cannot be listed; it need not be there.
pub fn taps(config: &Config) -> Result<Vec<IfName>, FileError> {
    let path = config.run_dir.join("taps");
    let failed = |source| FileError {
        act: "list",
        path: path.clone(),
        source,
    };
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut taps = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        // What is being written has another name until it is whole.
        taps.extend(name.to_str().and_then(|name| name.parse().ok()));
    }
    taps.sort();
    Ok(taps)
}

/// The TAP's record; `None` without one. One that cannot be understood is as good as none: it is written anew.
///
/// # Errors
/// It cannot be read.
pub fn read(tap: &IfName, config: &Config) -> Result<Option<Record>, FileError> {
    let text = file::read(&record_path(tap, config))?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// What the records of the other TAPs name: an instance that is started again at once has its addresses on other TAPs
/// before what it left is taken down.
///
/// # Errors
/// The records cannot be read.
pub(super) fn proxies_of_others(tap: &IfName, config: &Config) -> Result<Vec<Proxy>, FileError> {
    let mut proxies = Vec::new();
    for other in taps(config)?.iter().filter(|other| *other != tap) {
        proxies.extend(read(other, config)?.into_iter().flat_map(|of| of.proxies));
    }
    Ok(proxies)
}
