//! What makes an event this event, whoever publishes it, and where it stands in a journal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{JobId, JobStatus, Timestamp};

/// The same for two masters, both transports and a controller that polls: a consumer keeps one of each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NaturalKey {
    /// The cluster's UUID: names are used again, and a rebuilt cluster starts again at job 1.
    pub cluster_uuid: String,
    /// The job.
    pub job: JobId,
    /// When Ganeti received the job.
    pub received: Timestamp,
    /// Which of the job's operations, from 0.
    pub op_index: u32,
    /// How far it was.
    pub status: JobStatus,
}

impl fmt::Display for NaturalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster_uuid,
            job,
            received,
            op_index,
            status,
        } = self;
        write!(f, "{cluster_uuid}/{job}/{received}/{op_index}/{status}")
    }
}

/// A journal's life: a new one whenever a journal was lost, and whenever a node becomes master. A UUID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Epoch(String);

/// The text is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no UUID")]
pub struct NoUuid(String);

impl Epoch {
    /// The UUID's text, 36 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Epoch {
    type Err = NoUuid;

    fn from_str(text: &str) -> Result<Self, NoUuid> {
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let digits = |group: &&str| {
            group
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if lengths == [8, 4, 4, 4, 12] && groups.iter().all(digits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoUuid(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Epoch {
    type Error = NoUuid;

    fn try_from(text: String) -> Result<Self, NoUuid> {
        text.parse()
    }
}

impl From<Epoch> for String {
    fn from(epoch: Epoch) -> Self {
        epoch.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event's number within an epoch and a prefix, from 1. It serves only to find gaps.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The number after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_of_text() {
        let key = NaturalKey {
            cluster_uuid: String::from("4a98629b-ef2d-45b6-b4bc-bb70b70e7057"),
            job: JobId(16),
            received: (1_795_359_031, 72_006).into(),
            op_index: 0,
            status: JobStatus::Success,
        };
        assert_eq!(
            key.to_string(),
            "4a98629b-ef2d-45b6-b4bc-bb70b70e7057/16/1795359031.072006/0/success"
        );
    }

    #[test]
    fn an_epoch_is_a_uuid() {
        let text = "4a98629b-ef2d-45b6-b4bc-bb70b70e7057";
        assert_eq!(text.parse::<Epoch>().unwrap().as_str(), text);
        for wrong in ["", "x", "4a98629b", "4a98629b-ef2d-45b6-b4bc-bb70b70e705/"] {
            assert!(wrong.parse::<Epoch>().is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Epoch>("\"../../etc\"").is_err());
    }
}
