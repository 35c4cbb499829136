//! Ganeti's words for its work, in Ganeti's spelling (`constants.py`, `opcodes.py` of Ganeti 3.0).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Number of a job: `N` of `queue/job-N`. A rebuilt cluster starts again at 1.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment of the cluster's clock: `[seconds since 1970, microseconds]`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "(i64, u32)", into = "(i64, u32)")]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Microseconds of the second.
    pub microseconds: u32,
}

impl From<(i64, u32)> for Timestamp {
    fn from((seconds, microseconds): (i64, u32)) -> Self {
        Self {
            seconds,
            microseconds,
        }
    }
}

impl From<Timestamp> for (i64, u32) {
    fn from(moment: Timestamp) -> Self {
        (moment.seconds, moment.microseconds)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.seconds, self.microseconds)
    }
}

/// Why a word of Ganeti's was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no status of a job")]
pub struct UnknownStatus(pub String);

/// How far an operation is. It only rises: [`JobStatus::rank`].
///
/// ```text
/// queued → waiting → running → success | error
///    ↓         ↓         ↘
/// canceled  canceling → canceled   error
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Submitted.
    Queued,
    /// Waits for locks; `waitlock` on old Ganeti.
    #[serde(alias = "waitlock")]
    Waiting,
    /// Asked to stop while it waited.
    Canceling,
    /// Runs.
    Running,
    /// Did not run.
    Canceled,
    /// Done.
    Success,
    /// Failed.
    Error,
}

impl JobStatus {
    /// All, by rank.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Waiting,
        Self::Canceling,
        Self::Running,
        Self::Canceled,
        Self::Success,
        Self::Error,
    ];

    /// Place in an operation's life; the three final ones share the last.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Waiting => 1,
            Self::Canceling => 2,
            Self::Running => 3,
            Self::Canceled | Self::Success | Self::Error => 4,
        }
    }

    /// True when the operation will not change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        self.rank() == 4
    }

    /// Ganeti's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Canceling => "canceling",
            Self::Running => "running",
            Self::Canceled => "canceled",
            Self::Success => "success",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        if text == "waitlock" {
            return Ok(Self::Waiting);
        }
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// What an operation is about: the word between the first two underscores of its opcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// `OP_INSTANCE_…`
    Instance,
    /// `OP_NETWORK_…`
    Network,
    /// `OP_CLUSTER_…`
    Cluster,
    /// `OP_TAGS_…`
    Tags,
    /// Anything else.
    Other,
}

macro_rules! opcodes {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// An operation's code. Those we know by name have a variant; all others are kept as they are spelt.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[expect(missing_docs, reason = "each variant's meaning is Ganeti's, under the name it stands for")]
        pub enum OpCode {
            $($name,)*
            /// Not known by name.
            Other(String),
        }

        impl OpCode {
            /// All that have a name here.
            pub const NAMED: &'static [Self] = &[$(Self::$name),*];

            /// Ganeti's spelling.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for OpCode {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

opcodes! {
    ClusterSetParams = "OP_CLUSTER_SET_PARAMS",
    InstanceCreate = "OP_INSTANCE_CREATE",
    InstanceFailover = "OP_INSTANCE_FAILOVER",
    InstanceGrowDisk = "OP_INSTANCE_GROW_DISK",
    InstanceMigrate = "OP_INSTANCE_MIGRATE",
    InstanceReboot = "OP_INSTANCE_REBOOT",
    InstanceReinstall = "OP_INSTANCE_REINSTALL",
    InstanceRemove = "OP_INSTANCE_REMOVE",
    InstanceRename = "OP_INSTANCE_RENAME",
    InstanceSetParams = "OP_INSTANCE_SET_PARAMS",
    InstanceShutdown = "OP_INSTANCE_SHUTDOWN",
    InstanceSnapshot = "OP_INSTANCE_SNAPSHOT",
    InstanceStartup = "OP_INSTANCE_STARTUP",
    NetworkAdd = "OP_NETWORK_ADD",
    NetworkConnect = "OP_NETWORK_CONNECT",
    NetworkDisconnect = "OP_NETWORK_DISCONNECT",
    NetworkRemove = "OP_NETWORK_REMOVE",
    NetworkSetParams = "OP_NETWORK_SET_PARAMS",
    TagsDel = "OP_TAGS_DEL",
    TagsSet = "OP_TAGS_SET",
}

impl OpCode {
    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self.as_str().split('_').nth(1) {
            Some("INSTANCE") => Subject::Instance,
            Some("NETWORK") => Subject::Network,
            Some("CLUSTER") => Subject::Cluster,
            Some("TAGS") => Subject::Tags,
            _ => Subject::Other,
        }
    }
}

impl From<String> for OpCode {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<OpCode> for String {
    fn from(code: OpCode) -> Self {
        code.as_str().to_owned()
    }
}

impl fmt::Display for OpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_reads_back_and_only_final_ones_share_a_rank() {
        for status in JobStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(json, format!("\"{status}\""));
            assert_eq!(serde_json::from_str::<JobStatus>(&json).unwrap(), status);
        }
        assert_eq!("waitlock".parse(), Ok(JobStatus::Waiting));
        assert_eq!(
            serde_json::from_str::<JobStatus>("\"waitlock\"").unwrap(),
            JobStatus::Waiting
        );
        assert!("cancelled".parse::<JobStatus>().is_err());
        let ranks = JobStatus::ALL.map(JobStatus::rank);
        assert!(ranks.is_sorted());
        let finals: Vec<_> = JobStatus::ALL
            .into_iter()
            .filter(|s| s.is_final())
            .collect();
        assert_eq!(
            finals,
            [JobStatus::Canceled, JobStatus::Success, JobStatus::Error]
        );
    }

    #[test]
    fn opcodes_read_back_and_tell_their_subject() {
        for code in OpCode::NAMED {
            assert_eq!(OpCode::from(code.as_str()), *code);
        }
        let subject = |text: &str| OpCode::from(text).subject();
        assert_eq!(subject("OP_INSTANCE_CONSOLE"), Subject::Instance);
        assert_eq!(subject("OP_NETWORK_ADD"), Subject::Network);
        assert_eq!(subject("OP_CLUSTER_VERIFY"), Subject::Cluster);
        assert_eq!(subject("OP_TAGS_SET"), Subject::Tags);
        assert_eq!(subject("OP_NODE_ADD"), Subject::Other);
        assert_eq!(subject("nonsense"), Subject::Other);
    }

    #[test]
    fn a_timestamp_is_two_numbers() {
        let moment = Timestamp::from((1_795_359_031, 72_006));
        assert_eq!(
            serde_json::to_string(&moment).unwrap(),
            "[1795359031,72006]"
        );
        assert_eq!(
            serde_json::from_str::<Timestamp>("[1795359031, 72006]").unwrap(),
            moment
        );
        assert_eq!(moment.to_string(), "1795359031.072006");
    }
}
