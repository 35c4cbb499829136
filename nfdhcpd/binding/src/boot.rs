//! `BOOT_*`: what a VM that boots from the network is told.

use std::net::Ipv4Addr;

/// Network boot: DHCPv4 `siaddr`, options 66, 67, 150, 210; DHCPv6 options 59, 60.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boot {
    /// `BOOT_SERVER`: `siaddr`, the next server.
    pub server: Option<Ipv4Addr>,
    /// `BOOT_SERVER_NAME`: option 66; absent = `BOOT_SERVER` as text.
    pub server_name: Option<String>,
    /// `BOOT_FILE`: option 67 and the `file` field, for a client of which nothing more is known.
    pub file: Option<String>,
    /// `BOOT_FILE_IPXE`: the same for a client that already is iPXE (option 175, or user class `iPXE`).
    pub file_ipxe: Option<String>,
    /// `BOOT_FILE_BIOS`, `_X64`, `_ARM64`, `_HTTP_X64`, `_HTTP_ARM64`: by the client's architecture (option 93); in the
    /// order of [`ClientArch::ALL`], each at most once.
    pub by_arch: Vec<(ClientArch, String)>,
    /// `BOOT_TFTP_SERVERS`: option 150.
    pub tftp_servers: Vec<Ipv4Addr>,
    /// `BOOT_PREFIX`: option 210.
    pub prefix: Option<String>,
    /// `BOOT_URL6`: DHCPv6 option 59.
    pub url6: Option<String>,
    /// `BOOT_PARAM6`: DHCPv6 option 60, one entry per parameter.
    pub param6: Vec<String>,
}

/// Client system architecture as binding files name it (RFC 4578 §2.1, registry "Processor Architecture Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientArch {
    /// x86 BIOS: 0.
    Bios,
    /// x64 UEFI: 7 and 9, both are in use.
    X64,
    /// ARM 64-bit UEFI: 11.
    Arm64,
    /// x64 UEFI boot from HTTP: 16.
    HttpX64,
    /// ARM 64-bit UEFI boot from HTTP: 19.
    HttpArm64,
}

impl ClientArch {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Bios,
        Self::X64,
        Self::Arm64,
        Self::HttpX64,
        Self::HttpArm64,
    ];

    /// The key that names its boot file.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Bios => "BOOT_FILE_BIOS",
            Self::X64 => "BOOT_FILE_X64",
            Self::Arm64 => "BOOT_FILE_ARM64",
            Self::HttpX64 => "BOOT_FILE_HTTP_X64",
            Self::HttpArm64 => "BOOT_FILE_HTTP_ARM64",
        }
    }

    /// The architecture of a type number in option 93 (DHCPv4) or 61 (DHCPv6).
    #[must_use]
    pub const fn from_type(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Bios),
            7 | 9 => Some(Self::X64),
            11 => Some(Self::Arm64),
            16 => Some(Self::HttpX64),
            19 => Some(Self::HttpArm64),
            _ => None,
        }
    }
}
