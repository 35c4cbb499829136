//! The benchmark: the programs against the least that can be done, in one run, round by round (`make bench`).
//!
//! Of nfdhcpd: `lab` builds hosts with many TAPs, `server` starts it or the `floor` on one CPU, `generator` plays the VMs
//! on the other. Of eventd: `site` is a master with a broker, `confirms` sees what the broker confirms, `publisher` is the
//! floor. `cases` are the questions asked, `report` the answers. What counts are ratios between neighbours in one round:
//! the machine's speed is its own. Figures and method: `BENCHMARKS.md`.

mod cases;
mod client;
mod command;
mod confirms;
mod cpu;
mod floor;
mod frames;
mod generator;
mod lab;
mod machine;
mod page;
mod publisher;
mod report;
mod server;
mod site;
mod stats;

pub use command::main;
