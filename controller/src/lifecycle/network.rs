//! The steps by which a network comes to a cluster and goes from it. Pure.

use super::UnknownWord;

/// One Ganeti job about a network: what `intents.step` holds beside a server's [`super::Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkStep {
    /// `OP_NETWORK_ADD`
    Add,
    /// `OP_NETWORK_CONNECT` to a node group.
    Connect,
    /// `OP_NETWORK_DISCONNECT` from a node group.
    Disconnect,
    /// `OP_NETWORK_REMOVE`
    Remove,
}

impl NetworkStep {
    /// All.
    pub const ALL: [Self; 4] = [Self::Add, Self::Connect, Self::Disconnect, Self::Remove];

    /// The column's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "NETWORK_ADD",
            Self::Connect => "NETWORK_CONNECT",
            Self::Disconnect => "NETWORK_DISCONNECT",
            Self::Remove => "NETWORK_REMOVE",
        }
    }
}

impl std::str::FromStr for NetworkStep {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|step| step.as_str() == text);
        found.ok_or_else(|| UnknownWord(text.to_owned()))
    }
}
