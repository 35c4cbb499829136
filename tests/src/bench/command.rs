//! The command line: which questions are asked, how long, and where the answers go.

use std::env;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use super::cases;
use super::cases::rounds::Contestant;
use super::client::Load;
use super::cpu::on_cpu;
use super::floor::{self, Variant};
use super::machine::Machine;
use super::page::Page;
use super::report::{Faults, Report, Section};
use super::server::GENERATOR_CPU;
use crate::world::{self, World};

/// The programs against the least that can be done.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    inner: Option<Inner>,
    /// Which questions; all when none is named.
    #[arg(value_enum)]
    questions: Vec<Question>,
    /// All questions about these programs.
    #[arg(long, value_enum)]
    program: Vec<Program>,
    /// Everything once, small and short: shows that it works, says nothing about speed.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds that have to count, of each comparison.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Milliseconds of load, of each contestant in each round.
    #[arg(long, default_value_t = 600)]
    pub(crate) milliseconds: u64,
    /// Only these loads (question `loops`).
    #[arg(long, value_enum)]
    pub(crate) load: Vec<Load>,
    /// Only this many TAPs (question `loops`).
    #[arg(long)]
    pub(crate) taps: Option<usize>,
    /// Only this many exchanges under way (question `loops`).
    #[arg(long)]
    pub(crate) in_flight: Option<usize>,
    /// Only these contestants (questions `loops`, `open`, `storm`); there are no ratios then, and no targets.
    #[arg(long, value_enum)]
    pub(crate) only: Vec<Contestant>,
    /// Write one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Replace what stands in FILE, any page, between the lines `<!-- figures -->` and `<!-- end of figures -->`.
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Inner {
    /// Be the floor, in the network one is started in.
    #[command(name = "be-the-floor", hide = true)]
    Floor {
        #[arg(value_enum)]
        variant: Variant,
    },
    /// Send one canned router advertisement to each interface index on stdin; print nanoseconds.
    #[command(name = "be-the-advertiser", hide = true)]
    Advertise,
}

/// The questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Question {
    /// How many exchanges, how fast, at what cost: closed loops.
    Loops,
    /// Latency at a fixed rate.
    Open,
    /// A thousand VMs at one instant.
    Storm,
    /// One VM floods; what do the others notice?
    Hostile,
    /// The daemon is killed amid a storm.
    Continuity,
    /// What a thousand periodic router advertisements cost.
    Advertise,
    /// How soon a new binding is in force.
    Binding,
    /// Readiness and memory with 1,000 and 10,000 bindings.
    Start,
    /// How long snf-ifup takes for one NIC.
    Ifup,
    /// From the rename of a job file to the broker's confirm.
    Delay,
    /// How fast a recorded job queue goes out.
    Replay,
    /// How soon eventd is ready with a full queue directory, and what it holds.
    Queue,
    /// What one look of snf-agent at 1,000 TAPs costs, and what it holds.
    Look,
}

/// The programs that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    Nfdhcpd,
    Ifup,
    Eventd,
    Agent,
}

impl Question {
    const fn program(self) -> Program {
        match self {
            Self::Loops
            | Self::Open
            | Self::Storm
            | Self::Hostile
            | Self::Continuity
            | Self::Advertise
            | Self::Binding
            | Self::Start => Program::Nfdhcpd,
            Self::Ifup => Program::Ifup,
            Self::Delay | Self::Replay | Self::Queue => Program::Eventd,
            Self::Look => Program::Agent,
        }
    }
}

impl Arguments {
    fn asked(&self) -> Vec<Question> {
        if self.questions.is_empty() && self.program.is_empty() {
            return Question::value_variants().to_vec();
        }
        let wanted = |question: &&Question| {
            self.questions.contains(question) || self.program.contains(&question.program())
        };
        let all = Question::value_variants().iter();
        all.filter(wanted).copied().collect()
    }

    /// How long a contestant is loaded in a round.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { self.milliseconds })
    }

    /// Rounds that have to count.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds }
    }

    /// A number of TAPs, or fewer when it has to be quick.
    pub(crate) fn scaled(&self, taps: usize) -> usize {
        if self.quick { taps.min(20) } else { taps }
    }
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse() {
        Arguments {
            inner: Some(Inner::Floor { variant }),
            ..
        } => floor::run(variant),
        Arguments {
            inner: Some(Inner::Advertise),
            ..
        } => advertise(),
        arguments => measure(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when stderr is gone.
            let _ = writeln!(io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn advertise() -> Result<()> {
    let lines = io::stdin().lock().lines();
    let devices: Vec<u32> = lines
        .map(|line| Ok(line?.parse()?))
        .collect::<Result<_>>()
        .context("interface indices")?;
    let cpu = floor::advertise(&devices)?;
    writeln!(io::stdout(), "{}", cpu.run)?;
    Ok(())
}

fn measure(arguments: &Arguments) -> Result<()> {
    // Before anything is measured for nothing, and outside the world, which has directories of its own at some paths.
    let page = arguments.into.as_deref().map(Page::open).transpose()?;
    let Some(world) = world::enter_program()? else {
        return Ok(());
    };
    let start = Instant::now();
    let asked = arguments.asked();
    let mut sections = Vec::new();
    for (place, question) in asked.iter().enumerate() {
        let progress = Progress {
            place: place + 1,
            of: asked.len(),
            start,
        };
        let answers = || ask(*question, &world, arguments, &progress);
        sections.extend(match question.program() {
            // The broker takes both CPUs, and all have to share them as on a small master.
            Program::Eventd => answers()?,
            Program::Nfdhcpd | Program::Ifup | Program::Agent => on_cpu(GENERATOR_CPU, answers)?,
        });
    }
    if !arguments.only.is_empty() {
        sections
            .iter_mut()
            .for_each(|section| section.targets.clear());
    }
    let mut faults = Faults::default();
    for section in &sections {
        faults.add(section.faults);
    }
    let words = env::args().skip(1);
    let command = ["make bench".to_owned()]
        .into_iter()
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ");
    let seconds = start.elapsed().as_secs();
    let report = Report {
        machine: Machine::read(),
        command,
        seconds,
        faults,
        sections,
    };
    if arguments.json {
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        writeln!(
            io::stdout(),
            "{}",
            report.markdown(|_| true).unwrap_or_default()
        )?;
    }
    page.map_or(Ok(()), |page| {
        page.put(|of| report.markdown(|name| of.takes(name)))
    })
}

fn ask(
    question: Question,
    world: &World,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Vec<Section>> {
    match question {
        Question::Loops => cases::loops::ask(world, arguments, progress),
        Question::Open => cases::open::ask(world, arguments, progress),
        Question::Storm => cases::storm::ask(world, arguments, progress),
        Question::Hostile => cases::hostile::ask(world, arguments, progress),
        Question::Continuity => cases::continuity::ask(world, arguments, progress),
        Question::Advertise => cases::advertise::ask(world, arguments, progress),
        Question::Binding => cases::binding::ask(world, arguments, progress),
        Question::Start => cases::start::ask(world, arguments, progress),
        Question::Ifup => cases::ifup::ask(world, arguments, progress),
        Question::Delay => cases::delay::ask(world, arguments, progress),
        Question::Replay => cases::replay::ask(world, arguments, progress),
        Question::Queue => cases::queue::ask(world, arguments, progress),
        Question::Look => cases::look::ask(world, arguments, progress),
    }
    .with_context(|| format!("{question:?}"))
}

/// One line on stderr: where the run is.
#[derive(Debug)]
pub(crate) struct Progress {
    place: usize,
    of: usize,
    start: Instant,
}

impl Progress {
    /// Says what is being done now.
    pub(crate) fn say(&self, what: &str) {
        let Self { place, of, start } = self;
        let seconds = start.elapsed().as_secs();
        let mut out = io::stderr().lock();
        let (before, after) = if out.is_terminal() {
            ("\r\x1b[K", "")
        } else {
            ("", "\n")
        };
        // A progress line nobody reads is no loss.
        let _ = write!(out, "{before}[{place}/{of} {seconds:3} s] {what}{after}");
        let _ = out.flush();
    }
}
