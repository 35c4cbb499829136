//! The benchmark: nfdhcpd against the least that can be done, in one run, round by round (`make bench`).
//!
//! `lab` builds hosts with many TAPs, `server` starts nfdhcpd or the `floor` on one CPU, `generator` plays the VMs on
//! the other; `cases` are the questions asked, `report` the answers. What counts are ratios between neighbours in one
//! round: the machine's speed is its own. Figures and method: `BENCHMARKS.md`.

mod cases;
mod client;
mod command;
mod cpu;
mod floor;
mod frames;
mod generator;
mod lab;
mod machine;
mod page;
mod report;
mod server;
mod stats;

pub use command::main;
