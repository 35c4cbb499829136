//! Values under `/proc/sys`, of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::PathBuf;

/// A value cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}")]
pub struct SysctlError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The value, without the final newline; `None` when the kernel has no such value.
///
/// # Errors
/// The file cannot be read.
pub fn read(key: &str) -> Result<Option<String>, SysctlError> {
    let path = path(key);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SysctlError { path, source }),
    }
}

/// Sets the value.
///
/// # Errors
/// The file cannot be written, or the kernel refuses the value.
pub fn write(key: &str, value: &str) -> Result<(), SysctlError> {
    let path = path(key);
    fs::write(&path, value).map_err(|source| SysctlError { path, source })
}

fn path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(key)
}
