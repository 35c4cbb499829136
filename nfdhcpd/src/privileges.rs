//! From root to what the daemon needs: CAP_NET_ADMIN and CAP_NET_RAW, under its own user. Before the first thread.

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, User, setgroups, setresgid, setresuid};

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesError {
    /// The user data base cannot be read.
    #[error("look up the user {user}")]
    LookUp {
        /// The user's name.
        user: String,
        /// Why.
        source: nix::Error,
    },
    /// The user cannot be become.
    #[error("become the user {user}")]
    Become {
        /// The user's name.
        user: String,
        /// Why.
        source: nix::Error,
    },
    /// A capability set cannot be changed.
    #[error("give up capabilities ({set})")]
    Capabilities {
        /// Which set.
        set: &'static str,
        /// Why.
        source: caps::errors::CapsError,
    },
    /// The kernel refuses a process flag.
    #[error("set {flag}")]
    Flag {
        /// Which flag.
        flag: &'static str,
        /// Why.
        source: nix::Error,
    },
}

/// A user's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
}

/// The numbers of a user; `None` when there is no such user.
///
/// # Errors
/// When the user data base cannot be read.
pub fn look_up(user: &str) -> Result<Option<Identity>, PrivilegesError> {
    let found = User::from_name(user).map_err(|source| PrivilegesError::LookUp {
        user: user.to_owned(),
        source,
    })?;
    Ok(found.map(|user| Identity {
        uid: user.uid,
        gid: user.gid,
    }))
}

/// Gives up everything but CAP_NET_ADMIN and CAP_NET_RAW, in every set, for good; becomes `identity` when there is one
/// and we are root. Only the calling thread changes: there must be no other yet.
///
/// # Errors
/// When the kernel refuses a step; the process must not go on then.
pub fn drop_all_but_network(identity: Option<(&str, Identity)>) -> Result<(), PrivilegesError> {
    let kept = CapsHashSet::from([Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]);
    let failed = |set| move |source| PrivilegesError::Capabilities { set, source };
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        for capability in caps::read(None, CapSet::Bounding).map_err(failed("bounding"))? {
            if !kept.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability).map_err(failed("bounding"))?;
            }
        }
    }
    if let Some((user, Identity { uid, gid })) = identity
        && Uid::effective().is_root()
    {
        caps::securebits::set_keepcaps(true).map_err(failed("kept"))?;
        setgroups(&[])
            .and_then(|()| setresgid(gid, gid, gid))
            .and_then(|()| setresuid(uid, uid, uid))
            .map_err(|source| PrivilegesError::Become {
                user: user.to_owned(),
                source,
            })?;
        caps::securebits::set_keepcaps(false).map_err(failed("kept"))?;
    }
    // What is not permitted any more cannot be asked for: as another user we may hold less.
    let permitted = caps::read(None, CapSet::Permitted).map_err(failed("permitted"))?;
    let kept: CapsHashSet = kept.intersection(&permitted).copied().collect();
    caps::clear(None, CapSet::Ambient).map_err(failed("ambient"))?;
    caps::clear(None, CapSet::Inheritable).map_err(failed("inheritable"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed("effective"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed("permitted"))?;
    nix::sys::prctl::set_no_new_privs().map_err(|source| PrivilegesError::Flag {
        flag: "no_new_privs",
        source,
    })
}
