//! Which file names in the binding directory name a TAP.

use std::ffi::OsStr;
use std::fmt;

/// A network interface's name, as the kernel accepts it: 1 to 15 bytes (IFNAMSIZ).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TapName(Box<str>);

/// What editors, package tools and writers that rename leave behind.
const LEFTOVERS: &[&str] = &[
    "~",
    ".swp",
    ".swo",
    ".swx",
    ".tmp",
    ".temp",
    ".new",
    ".bak",
    ".old",
    ".orig",
    ".rej",
    ".part",
    ".lock",
    ".dpkg-old",
    ".dpkg-new",
    ".dpkg-dist",
    ".dpkg-tmp",
    ".rpmnew",
    ".rpmsave",
    ".rpmorig",
];

impl TapName {
    /// The TAP a file in the binding directory is about; `None` when the file is no binding: a name no interface can
    /// have, a hidden file, or one that an editor or a writer has there for a moment.
    #[must_use]
    pub fn from_file_name(file_name: &OsStr) -> Option<Self> {
        let name = file_name.to_str()?;
        let possible = (1..=15).contains(&name.len())
            && name
                .chars()
                .all(|c| c != '/' && c != ':' && !c.is_whitespace() && !c.is_control());
        let passing = name.starts_with('.')
            || name.starts_with('#')
            || LEFTOVERS.iter().any(|ending| name.ends_with(ending));
        (possible && !passing).then(|| Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn names_a_tap(name: &[u8]) -> bool {
        TapName::from_file_name(OsStr::from_bytes(name)).is_some()
    }

    #[test]
    fn names_of_interfaces_are_taken() {
        for name in [
            "tap0",
            "one-123-0",
            "vif1.0",
            "vif1.0-emu",
            "gnt.com.0",
            "a",
            "exactly15bytes-",
            "tap0.100",
        ] {
            assert_eq!(
                TapName::from_file_name(OsStr::new(name)).unwrap().as_str(),
                name
            );
        }
    }

    #[test]
    fn names_no_interface_can_have_are_not() {
        for name in [
            "",
            ".",
            "..",
            "sixteen-bytes-00",
            "tap 0",
            "tap:0",
            "tap\n",
            "a/b",
        ] {
            assert!(!names_a_tap(name.as_bytes()), "{name:?}");
        }
        assert!(!names_a_tap(b"tap\xff"));
    }

    #[test]
    fn b17_editors_and_renaming_writers_leave_no_bindings() {
        for name in [
            ".tap0.swp",
            ".tap0.tmp",
            ".#tap0",
            "#tap0#",
            "tap0~",
            "tap0.swp",
            "tap0.tmp",
            "tap0.bak",
            "tap0.orig",
            "tap0.dpkg-new",
            "tap0.rpmsave",
            "tap0.new",
        ] {
            assert!(!names_a_tap(name.as_bytes()), "{name:?}");
        }
    }
}
