//! Names of network interfaces, as the kernel accepts them and as every place they go to can hold them.

use std::fmt;
use std::str::FromStr;

/// The name of a TAP, bridge or uplink: 1 to 15 bytes.
///
/// The kernel takes more; what would not survive as a file name, an nft string or a line on the terminal is refused.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfName(Box<str>);

/// Why a text is not an interface's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an interface's name: 1 to 15 letters, digits or one of . _ - + @ = , # beginning with none of . -"
)]
pub struct IfNameError;

impl IfName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = IfNameError;

    fn from_str(text: &str) -> Result<Self, IfNameError> {
        let sound = |b: u8| b.is_ascii_alphanumeric() || b"._-+@=,#".contains(&b);
        if text.is_empty()
            || text.len() > 15
            || text.starts_with(['.', '-'])
            || !text.bytes().all(sound)
        {
            return Err(IfNameError);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_names_ganeti_and_operators_give() {
        for name in [
            "tap0",
            "gnt.com.12",
            "br-prv0",
            "eth0.100",
            "vnet12345678901",
        ] {
            assert_eq!(name.parse::<IfName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn refuses_what_could_leave_a_directory_or_a_command() {
        for name in [
            "",
            ".",
            "..",
            ".lock",
            "-rf",
            "../tap0",
            "tap/0",
            "tap 0",
            "tap:0",
            "tap\n",
            "tap\"0",
            "tap*",
            "täp0",
            "tap0123456789abc",
            "tap\0",
        ] {
            assert_eq!(name.parse::<IfName>(), Err(IfNameError), "{name:?}");
        }
    }
}
