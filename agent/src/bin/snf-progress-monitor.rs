//! snf-progress-monitor's command line: an image's deployment, watched for the control plane.
//!
//! With `-i` it runs a command and tells how far it is; without, it forwards what a helper writes to its stdin.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::process::ExitCode;

use agent::command_line::CommandLine;
use agent::hook::SOCKET;
use agent::progress::copy::{self, Expected};
use agent::progress::objects::Objects;
use agent::progress::{Speaker, echo, now};
use clap::{CommandFactory as _, Parser, error::ErrorKind};
use snf_events::Progress;

/// Tells the node's agent how far an image's deployment is. With -i it runs COMMAND and tells what of BYTES it has read
/// and written; else it forwards the JSON objects that come in.
#[derive(Debug, Parser)]
#[command(
    version,
    override_usage = "snf-progress-monitor -i INSTANCE [-r BYTES] [-w BYTES] COMMAND [ARGUMENT]...\n       \
    snf-progress-monitor INSTANCE"
)]
struct Arguments {
    /// The instance whose image is copied by COMMAND.
    #[arg(short, long, value_name = "INSTANCE")]
    instance_name: Option<String>,
    /// How much COMMAND is to read.
    #[arg(short, long, value_name = "BYTES", requires = "instance_name", value_parser = clap::value_parser!(u64).range(1..))]
    read_bytes: Option<u64>,
    /// How much it is to write.
    #[arg(short, long, value_name = "BYTES", requires = "instance_name", value_parser = clap::value_parser!(u64).range(1..))]
    write_bytes: Option<u64>,
    /// COMMAND and its arguments; or the instance of which stdin tells.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "WORD"
    )]
    words: Vec<OsString>,
}

const PROGRAM: CommandLine = CommandLine("snf-progress-monitor");

fn main() -> ExitCode {
    let arguments: Arguments = match PROGRAM.arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let mut speaker = Speaker::new(SOCKET);
    let expected = Expected {
        read: arguments.read_bytes,
        written: arguments.write_bytes,
    };
    match (&arguments.instance_name, arguments.words.as_slice()) {
        (Some(_), _) if expected == Expected::default() => misused("-r or -w is needed"),
        (Some(instance), command) => match copy::run(instance, expected, command, &mut speaker) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => PROGRAM.failed(&error),
        },
        (None, [instance]) => match instance.to_str() {
            Some(instance) => forward(instance, &mut speaker),
            None => misused("the instance's name is no text"),
        },
        (None, _) => misused("without -i there is one word: the instance"),
    }
}

fn misused(why: &str) -> ExitCode {
    let error = Arguments::command().error(ErrorKind::MissingRequiredArgument, why);
    // Nobody is left to tell when this cannot be written.
    let _ = error.print();
    ExitCode::from(64)
}

/// Until the end of stdin: whoever writes there must never meet a closed pipe.
fn forward(instance: &str, speaker: &mut Speaker) -> ExitCode {
    let mut objects = Objects::default();
    let mut chunk = [0; 4096];
    let mut stdin = io::stdin().lock();
    loop {
        let length = match stdin.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                echo(&format!("stdin: {error}"));
                break;
            }
        };
        for fields in objects.take(chunk.get(..length).unwrap_or_default()) {
            match Progress::of_helper(fields, instance, now()) {
                Ok(progress) => speaker.tell(&progress),
                Err(refusal) => echo(&format!("not forwarded: {refusal}")),
            }
        }
        passed(objects.passed(false));
    }
    passed(objects.passed(true));
    ExitCode::SUCCESS
}

fn passed(bytes: u64) {
    if bytes > 0 {
        echo(&format!("{bytes} bytes are no JSON objects"));
    }
}
