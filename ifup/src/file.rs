//! Small files that others read: written whole, under another name, then renamed.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file cannot be read, written or removed.
#[derive(Debug, thiserror::Error)]
#[error("{act} {path}")]
pub struct FileError {
    /// read, write or remove
    pub act: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Longest file that is read: ours and bindings are far shorter.
const LONGEST: u64 = 64 * 1024;

/// The file's text; `None` when it is not there.
///
/// # Errors
/// It cannot be read, is not text, is longer than 64 KiB.
pub fn read(path: &Path) -> Result<Option<String>, FileError> {
    let failed = |source| FileError {
        act: "read",
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => {
            io::Read::read_to_string(&mut io::Read::take(file, LONGEST), &mut text)
                .map_err(failed)?;
            Ok(Some(text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Makes the file this text, mode 0644 whatever the umask (Ganeti's is 077), or removes it. Its directory is made if it is
/// not there. A reader sees the text before or the text after.
///
/// # Errors
/// It cannot be written or removed.
pub fn put(path: &Path, text: Option<&str>) -> Result<(), FileError> {
    match text {
        Some(text) => write(path, text, None),
        None => match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FileError {
                act: "remove",
                path: path.to_owned(),
                source,
            }),
            _ => Ok(()),
        },
    }
}

/// Makes the file this text as [`put`] does, last modified when the caller says.
///
/// # Errors
/// It cannot be written.
pub fn put_as_of(path: &Path, text: &str, modified: SystemTime) -> Result<(), FileError> {
    write(path, text, Some(modified))
}

fn write(path: &Path, text: &str, modified: Option<SystemTime>) -> Result<(), FileError> {
    replace(path, text, modified).map_err(|source| FileError {
        act: "write",
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, text: &str, modified: Option<SystemTime>) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    if !directory.exists() {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    }
    // A leading dot: no TAP is called so, and readers of the directory pass it by.
    let beside = directory.join(format!(".{}.{}", name.display(), std::process::id()));
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        modified.map_or(Ok(()), |modified| file.set_modified(modified))?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_and_removes_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/tap0");
        assert_eq!(read(&path).unwrap(), None);
        put(&path, Some("one\n")).unwrap();
        put(&path, Some("two\n")).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two\n"));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let modified = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_234);
        put_as_of(&path, "three\n", modified).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("three\n"));
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), modified);
        put(&path, None).unwrap();
        put(&path, None).unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tap0");
        fs::create_dir(&path).unwrap();
        assert!(put(&path, Some("text")).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
