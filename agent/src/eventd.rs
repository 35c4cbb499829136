//! snf-ganeti-eventd: what Ganeti's job queue says reaches the control plane, always.
//!
//! In reading order, which is an event's trip: a file is renamed into the queue directory → [`queue_dir`] hears of it
//! or finds it → [`job_file`] reads it → [`seen`] tells what is new in it → [`events`] makes messages → [`journal`]
//! keeps them on disk → [`publish`] hands them over and, once they are acknowledged, moves the cursor. [`scribe`] is the
//! thread of the first half, [`daemon`] everything's owner.

pub mod config;
pub mod counters;
pub mod daemon;
pub mod events;
pub mod http;
pub mod job_file;
pub mod journal;
pub mod luxi;
pub mod master;
pub mod metrics;
pub mod publish;
pub mod queue_dir;
pub mod scribe;
pub mod seen;
