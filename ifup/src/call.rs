//! Which call this is: Ganeti's file name, its `ACTION`, or a subcommand. First step of a NIC's trip.

use std::path::Path;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The NIC comes up.
    Up,
    /// The NIC goes down.
    Down,
}

/// Why it is not clear what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// `ACTION` is set to something else.
    #[error("ACTION={0}: must be up or down")]
    UnknownAction(String),
    /// The name says one thing, `ACTION` another.
    #[error("called as {name}, but ACTION={action}: the two must agree")]
    Disagree {
        /// Our own file name.
        name: String,
        /// The value of `ACTION`.
        action: String,
    },
}

/// How the program was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Under one of Ganeti's names: no arguments count, everything is in the environment.
    Ganeti(Action),
    /// Under its own name: the command line counts; without one, `ACTION`.
    Own(Option<Action>),
}

impl Action {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            // Ganeti to 3.1; the original's packages; the coming release.
            "kvm-vif-bridge" | "kvm-ifup-custom" | "up" => Some(Self::Up),
            "kvm-ifdown-custom" | "down" => Some(Self::Down),
            _ => None,
        }
    }
}

/// Reads `argv[0]` and `ACTION` (absent and empty are the same).
///
/// # Errors
/// `ACTION` is neither `up` nor `down`, or says the opposite of the name.
pub fn call(argv0: &str, action: Option<&str>) -> Result<Call, CallError> {
    let named = Path::new(argv0)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or(argv0);
    let action = match action {
        None | Some("") => None,
        Some("up") => Some(Action::Up),
        Some("down") => Some(Action::Down),
        Some(other) => return Err(CallError::UnknownAction(other.to_owned())),
    };
    match (Action::from_name(named), action) {
        (Some(by_name), Some(by_action)) if by_name != by_action => Err(CallError::Disagree {
            name: named.to_owned(),
            action: if by_action == Action::Up {
                "up"
            } else {
                "down"
            }
            .to_owned(),
        }),
        (Some(by_name), _) => Ok(Call::Ganeti(by_name)),
        (None, action) => Ok(Call::Own(action)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_ganeti_calls_says_what_it_is_for() {
        for (argv0, action, expected) in [
            ("/etc/ganeti/kvm-vif-bridge", None, Action::Up),
            ("/etc/ganeti/network/bridged/up", Some("up"), Action::Up),
            (
                "/etc/ganeti/network/routed/down",
                Some("down"),
                Action::Down,
            ),
            ("/etc/ganeti/kvm-ifup-custom", None, Action::Up),
            ("/etc/ganeti/kvm-ifdown-custom", None, Action::Down),
        ] {
            assert_eq!(call(argv0, action), Ok(Call::Ganeti(expected)), "{argv0}");
        }
    }

    #[test]
    fn under_its_own_name_the_environment_may_say_it() {
        assert_eq!(
            call("snf-ifup", Some("down")),
            Ok(Call::Own(Some(Action::Down)))
        );
        assert_eq!(call("snf-ifup", Some("")), Ok(Call::Own(None)));
    }

    #[test]
    fn contradictions_and_unknown_words_are_refused() {
        assert_eq!(
            call("up", Some("reload")),
            Err(CallError::UnknownAction("reload".into()))
        );
        assert!(matches!(
            call("/etc/ganeti/network/bridged/up", Some("down")),
            Err(CallError::Disagree { .. })
        ));
    }
}
