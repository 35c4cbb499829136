//! `OPT<n>`: a DHCPv4 option given as it is.

/// Code and bytes of one DHCPv4 option, for those no key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawOption {
    /// 1 to 254, none that another key or the protocol itself sets.
    pub code: u8,
    /// At most 255 bytes.
    pub value: Vec<u8>,
}
