//! `bench`: see `system_tests::bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    system_tests::bench::main()
}
