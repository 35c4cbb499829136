//! A server's life: what an action may do now, and what an operation's end makes of it. Pure.
//!
//! ```text
//!            create failed
//!   BUILD ──────────────────► ERROR ───────────┐
//!     │ created                 ▲              │
//!     ▼          stopped        │              │ removed
//!  STARTED ◄──────────────► STOPPED ───────────┼──────► DELETED
//!     └──────────────started────────────────────┘
//! ```
//!
//! The arrows are Ganeti's to draw: a successful operation sets the state it leaves, whatever was before, if it was the last
//! ([`crate::order`]). What the API lets its users ask for is told by [`accept`]. A *task* is what was asked for and is not
//! done: it stands beside the state, and ends with the last of its steps.

mod network;

use std::fmt;

use snf_events::{JobStatus, OpCode};

pub use network::NetworkStep;

/// What a server is, between operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperState {
    /// It is being created.
    Build,
    /// Its creation failed.
    Error,
    /// It is shut down.
    Stopped,
    /// It runs.
    Started,
    /// It is removed. Nothing follows.
    Deleted,
}

impl OperState {
    /// All, in order.
    pub const ALL: [Self; 5] = [
        Self::Build,
        Self::Error,
        Self::Stopped,
        Self::Started,
        Self::Deleted,
    ];

    /// The column's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "BUILD",
            Self::Error => "ERROR",
            Self::Stopped => "STOPPED",
            Self::Started => "STARTED",
            Self::Deleted => "DELETED",
        }
    }
}

/// What a server was asked to do and has not done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Come to be.
    Build,
    /// Start.
    Start,
    /// Shut down.
    Stop,
    /// Start again, after the guest was asked to shut down.
    RebootSoft,
    /// Start again, at once.
    RebootHard,
    /// Take another flavor's size, to be confirmed.
    Resize,
    /// Take another flavor's size, for good.
    ResizeStopped,
    /// Take the former flavor's size again.
    RevertResize,
    /// Get a NIC.
    Connect,
    /// Lose a NIC.
    Disconnect,
    /// Have its NICs' firewall profiles changed.
    Firewall,
    /// Be removed.
    Destroy,
}

impl Task {
    /// All.
    pub const ALL: [Self; 12] = [
        Self::Build,
        Self::Start,
        Self::Stop,
        Self::RebootSoft,
        Self::RebootHard,
        Self::Resize,
        Self::ResizeStopped,
        Self::RevertResize,
        Self::Connect,
        Self::Disconnect,
        Self::Firewall,
        Self::Destroy,
    ];

    /// The column's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "BUILD",
            Self::Start => "START",
            Self::Stop => "STOP",
            Self::RebootSoft => "REBOOT",
            Self::RebootHard => "REBOOT_HARD",
            Self::Resize => "RESIZE",
            Self::ResizeStopped => "RESIZE_STOPPED",
            Self::RevertResize => "REVERT_RESIZE",
            Self::Connect => "CONNECT",
            Self::Disconnect => "DISCONNECT",
            Self::Firewall => "SET_FIREWALL_PROFILE",
            Self::Destroy => "DESTROY",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A column holds a word that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state, task or step of a server")]
pub struct UnknownWord(pub String);

impl std::str::FromStr for OperState {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| UnknownWord(text.to_owned()))
    }
}

impl std::str::FromStr for Task {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|task| task.as_str() == text);
        found.ok_or_else(|| UnknownWord(text.to_owned()))
    }
}

/// How a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// What it is.
    pub state: OperState,
    /// What it was asked for.
    pub task: Option<Task>,
    /// It was resized, and its user has neither confirmed nor reverted that.
    pub resized: bool,
}

/// What a user may ask of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Start it.
    Start,
    /// Shut it down.
    Stop,
    /// Start it again, gently or at once.
    Reboot {
        /// Without asking the guest.
        hard: bool,
    },
    /// Give it another flavor, to be confirmed (Compute v2.1).
    Resize,
    /// Give it another flavor while it is stopped; nothing to confirm (Compute v1.1).
    ResizeStopped,
    /// Keep the new flavor.
    ConfirmResize,
    /// Take the old flavor again.
    RevertResize,
    /// Give it a NIC.
    Connect,
    /// Take a NIC away.
    Disconnect,
    /// Change a NIC's firewall profile.
    Firewall,
    /// Remove it.
    Delete,
}

/// One Ganeti job of a task. The steps of a task follow each other: the next is sent when the one before has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// `OP_INSTANCE_CREATE`
    Create,
    /// `OP_INSTANCE_STARTUP`
    Startup,
    /// `OP_INSTANCE_SHUTDOWN`
    Shutdown,
    /// `OP_INSTANCE_REBOOT`, soft: the guest is asked first.
    RebootSoft,
    /// `OP_INSTANCE_REBOOT`, hard.
    RebootHard,
    /// `OP_INSTANCE_SET_PARAMS` of the size.
    SetSize,
    /// `OP_INSTANCE_SET_PARAMS` that adds a NIC.
    AddNic,
    /// `OP_INSTANCE_SET_PARAMS` that removes a NIC.
    RemoveNic,
    /// `OP_TAGS_DEL` of the profiles that no longer hold.
    RemoveTags,
    /// `OP_TAGS_SET` of the profile.
    AddTags,
    /// `OP_INSTANCE_SET_PARAMS` that changes nothing: its hook brings the tags to the node.
    Announce,
    /// `OP_INSTANCE_REMOVE`
    Remove,
}

impl Step {
    /// All.
    pub const ALL: [Self; 12] = [
        Self::Create,
        Self::Startup,
        Self::Shutdown,
        Self::RebootSoft,
        Self::RebootHard,
        Self::SetSize,
        Self::AddNic,
        Self::RemoveNic,
        Self::RemoveTags,
        Self::AddTags,
        Self::Announce,
        Self::Remove,
    ];

    /// The column's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Startup => "STARTUP",
            Self::Shutdown => "SHUTDOWN",
            Self::RebootSoft => "REBOOT_SOFT",
            Self::RebootHard => "REBOOT_HARD",
            Self::SetSize => "SET_SIZE",
            Self::AddNic => "ADD_NIC",
            Self::RemoveNic => "REMOVE_NIC",
            Self::RemoveTags => "REMOVE_TAGS",
            Self::AddTags => "ADD_TAGS",
            Self::Announce => "ANNOUNCE",
            Self::Remove => "REMOVE",
        }
    }
}

impl std::str::FromStr for Step {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|step| step.as_str() == text);
        found.ok_or_else(|| UnknownWord(text.to_owned()))
    }
}

/// What follows from an action that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// A task with its steps; each is one intent.
    Do(Task, &'static [Step]),
    /// Rows change, Ganeti has nothing to do.
    Rows,
}

/// Why an action is not allowed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no server any more.
    Deleted,
    /// It is being created.
    Building,
    /// It does something else.
    Busy(Task),
    /// It is in a state that the action does not start from.
    State(OperState),
    /// There is no resize to confirm or to revert.
    NotResized,
    /// A resize is to be confirmed or reverted first.
    Unconfirmed,
}

/// What becomes of an action on a server that stands like this.
///
/// Removal is allowed at any time but twice: it waits its turn behind what Ganeti does already.
///
/// # Errors
/// Why not.
pub fn accept(standing: Standing, action: Action) -> Result<Accepted, Refusal> {
    use OperState::{Build, Deleted, Error, Started, Stopped};

    if standing.state == Deleted || standing.task == Some(Task::Destroy) {
        return Err(Refusal::Deleted);
    }
    if action == Action::Delete {
        return Ok(Accepted::Do(Task::Destroy, &[Step::Remove]));
    }
    if standing.state == Build {
        return Err(Refusal::Building);
    }
    if let Some(task) = standing.task {
        return Err(Refusal::Busy(task));
    }
    let state = standing.state;
    let unless_resized = |accepted| {
        if standing.resized {
            Err(Refusal::Unconfirmed)
        } else {
            Ok(accepted)
        }
    };
    match (action, state) {
        (_, Error | Build | Deleted) => Err(Refusal::State(state)),
        (Action::Start, Stopped) => unless_resized(Accepted::Do(Task::Start, &[Step::Startup])),
        (Action::Stop, Started) => unless_resized(Accepted::Do(Task::Stop, &[Step::Shutdown])),
        (Action::Reboot { hard: true }, Started | Stopped) => {
            let steps: &[Step] = if state == Started {
                &[Step::RebootHard]
            } else {
                &[Step::Startup]
            };
            unless_resized(Accepted::Do(Task::RebootHard, steps))
        }
        (Action::Reboot { hard: false }, Started) => {
            unless_resized(Accepted::Do(Task::RebootSoft, &[Step::RebootSoft]))
        }
        (Action::Resize, Started) => unless_resized(Accepted::Do(
            Task::Resize,
            &[Step::Shutdown, Step::SetSize, Step::Startup],
        )),
        (Action::Resize, Stopped) => unless_resized(Accepted::Do(Task::Resize, &[Step::SetSize])),
        (Action::ResizeStopped, Stopped) => {
            unless_resized(Accepted::Do(Task::ResizeStopped, &[Step::SetSize]))
        }
        (Action::ConfirmResize | Action::RevertResize, Started | Stopped) if !standing.resized => {
            Err(Refusal::NotResized)
        }
        (Action::ConfirmResize, Started | Stopped) => Ok(Accepted::Rows),
        (Action::RevertResize, Started) => Ok(Accepted::Do(
            Task::RevertResize,
            &[Step::Shutdown, Step::SetSize, Step::Startup],
        )),
        (Action::RevertResize, Stopped) => Ok(Accepted::Do(Task::RevertResize, &[Step::SetSize])),
        (Action::Connect, Started | Stopped) => Ok(Accepted::Do(Task::Connect, &[Step::AddNic])),
        (Action::Disconnect, Started | Stopped) => {
            Ok(Accepted::Do(Task::Disconnect, &[Step::RemoveNic]))
        }
        (Action::Firewall, Started | Stopped) => Ok(Accepted::Do(
            Task::Firewall,
            &[Step::RemoveTags, Step::AddTags, Step::Announce],
        )),
        (Action::Start, Started)
        | (Action::Stop | Action::Reboot { hard: false }, Stopped)
        | (Action::ResizeStopped, Started) => Err(Refusal::State(state)),
        (Action::Delete, Started | Stopped) => Ok(Accepted::Do(Task::Destroy, &[Step::Remove])),
    }
}

/// What an operation that ended says of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing of its run state.
    None,
    /// It left it so.
    Leaves(OperState),
    /// It is gone.
    Removed,
    /// It failed half-way, or says that there is nothing to remove: what is true is to be read from Ganeti.
    Doubtful,
}

/// What an operation on an instance says of its server's run state. `executed` tells whether it was begun: what was cancelled
/// in the queue, or refused before its locks were taken, changed nothing.
#[must_use]
pub fn effect(opcode: &OpCode, status: JobStatus, executed: bool) -> Effect {
    let succeeded = match status {
        JobStatus::Queued | JobStatus::Waiting | JobStatus::Canceling | JobStatus::Running => {
            return Effect::None;
        }
        JobStatus::Success => true,
        JobStatus::Canceled | JobStatus::Error => false,
    };
    match opcode {
        OpCode::InstanceCreate if succeeded => Effect::Leaves(OperState::Started),
        OpCode::InstanceCreate => Effect::Leaves(OperState::Error),
        OpCode::InstanceRemove if succeeded => Effect::Removed,
        OpCode::InstanceStartup | OpCode::InstanceReboot if succeeded => {
            Effect::Leaves(OperState::Started)
        }
        OpCode::InstanceShutdown if succeeded => Effect::Leaves(OperState::Stopped),
        // "No such instance" is told before anything is begun: a removal that failed is looked into either way.
        OpCode::InstanceRemove => Effect::Doubtful,
        OpCode::InstanceStartup
        | OpCode::InstanceReboot
        | OpCode::InstanceShutdown
        | OpCode::InstanceFailover
        | OpCode::InstanceMigrate
        | OpCode::InstanceReinstall
            if executed && !succeeded =>
        {
            Effect::Doubtful
        }
        OpCode::InstanceStartup
        | OpCode::InstanceReboot
        | OpCode::InstanceShutdown
        | OpCode::InstanceFailover
        | OpCode::InstanceMigrate
        | OpCode::InstanceReinstall
        | OpCode::InstanceGrowDisk
        | OpCode::InstanceSetParams
        | OpCode::InstanceSnapshot
        | OpCode::ClusterSetParams
        | OpCode::NetworkAdd
        | OpCode::NetworkConnect
        | OpCode::NetworkDisconnect
        | OpCode::NetworkRemove
        | OpCode::NetworkSetParams
        | OpCode::TagsDel
        | OpCode::TagsSet => Effect::None,
        // The instance has another name now, and may be nobody's.
        OpCode::InstanceRename if succeeded => Effect::Doubtful,
        OpCode::InstanceRename | OpCode::Other(_) => Effect::None,
    }
}

#[cfg(test)]
mod tests;
