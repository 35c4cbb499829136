//! The two tables as text, compared with the files beside this one (`UPDATE_GOLDEN=1` writes them anew).

use std::fmt::Write as _;
use std::path::Path;

use super::*;

const ACTIONS: [Action; 12] = [
    Action::Start,
    Action::Stop,
    Action::Reboot { hard: false },
    Action::Reboot { hard: true },
    Action::Resize,
    Action::ResizeStopped,
    Action::ConfirmResize,
    Action::RevertResize,
    Action::Connect,
    Action::Disconnect,
    Action::Firewall,
    Action::Delete,
];

/// Standings that get the same answers stand together.
fn table() -> String {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for state in OperState::ALL {
        for task in std::iter::once(None).chain(Task::ALL.map(Some)) {
            for resized in [false, true] {
                let standing = Standing {
                    state,
                    task,
                    resized,
                };
                let mut answers = String::new();
                for action in ACTIONS {
                    let answer = accept(standing, action);
                    writeln!(answers, "  {action:?}: {answer:?}").unwrap();
                }
                let name = [state.as_str(), task.map_or("-", Task::as_str)].join("/");
                let name = if resized { name + "/resized" } else { name };
                match groups.iter_mut().find(|(known, _)| *known == answers) {
                    Some((_, names)) => names.push(name),
                    None => groups.push((answers, vec![name])),
                }
            }
        }
    }
    let each = groups
        .into_iter()
        .map(|(answers, names)| format!("{}\n{answers}", names.join(" ")));
    each.collect::<Vec<_>>().join("\n")
}

fn effects() -> String {
    let mut text = String::new();
    let other = OpCode::from("OP_INSTANCE_CONSOLE");
    for opcode in OpCode::NAMED.iter().chain([&other]) {
        let of = |status| [true, false].map(|executed| effect(opcode, status, executed));
        for status in JobStatus::ALL {
            let [executed, untouched] = of(status);
            if !status.is_final() {
                assert_eq!(
                    [executed, untouched],
                    [Effect::None; 2],
                    "{opcode} {status}"
                );
            } else if executed == untouched {
                writeln!(text, "{opcode} {status}: {executed:?}").unwrap();
            } else {
                writeln!(
                    text,
                    "{opcode} {status}: {executed:?}; not begun: {untouched:?}"
                )
                .unwrap();
            }
        }
    }
    text
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/lifecycle")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(expected == text, "{} is now:\n{text}", path.display());
}

#[test]
fn the_table_of_actions() {
    golden("actions.txt", &table());
}

#[test]
fn the_table_of_effects() {
    golden("effects.txt", &effects());
}

#[test]
fn words_of_columns_read_back() {
    for state in OperState::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
    for task in Task::ALL {
        assert_eq!(task.as_str().parse(), Ok(task));
    }
    for step in Step::ALL {
        assert_eq!(step.as_str().parse(), Ok(step));
    }
    assert!("build".parse::<OperState>().is_err());
}

#[test]
fn a_removed_server_accepts_nothing_and_any_other_can_be_removed() {
    for state in OperState::ALL {
        for task in std::iter::once(None).chain(Task::ALL.map(Some)) {
            let standing = Standing {
                state,
                task,
                resized: false,
            };
            let gone = state == OperState::Deleted || task == Some(Task::Destroy);
            assert_eq!(
                accept(standing, Action::Delete).is_err(),
                gone,
                "{standing:?}"
            );
            if gone {
                for action in ACTIONS {
                    assert_eq!(accept(standing, action), Err(Refusal::Deleted));
                }
            }
        }
    }
}
