//! snf-ganeti-hook: Ganeti's hook. Hands its environment to the node's agent, says nothing, and always succeeds.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use agent::hook;

#[expect(
    clippy::disallowed_methods,
    reason = "what a hook is told is in its environment, and it may take only so long"
)]
fn main() -> ExitCode {
    let deadline = Instant::now() + hook::PATIENCE;
    // What is printed would end up in the job, and a failure there as a warning: the agent's absence is the agent's matter.
    std::panic::set_hook(Box::new(|_| {}));
    let _ = std::panic::catch_unwind(|| {
        let message = hook::message(std::env::vars_os());
        hook::hand_over(Path::new(hook::SOCKET), &message, deadline)
    });
    ExitCode::SUCCESS
}
