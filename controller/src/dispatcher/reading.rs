//! A reading of Ganeti into a server's rows: what ends a doubt. Pure.
//!
//! A reading is true of the moment it was made. If an event has moved the server's marks since it was asked for, nobody can
//! tell which of the two is later: the doubt stays, and it is read again.

use chrono::{DateTime, Duration, Utc};

use super::merge;
use super::rows::Rows;
use crate::db::entity::server;
use crate::lifecycle::OperState;
use crate::order::{Configuration, configuration};
use crate::rapi::instance::Instance;

/// How long a server must have been in doubt before "there is no such instance" is believed: an instance that is being made
/// is not there yet.
pub const GONE_AFTER: Duration = Duration::seconds(10);

/// What Ganeti says.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// It is there.
    There(Box<Instance>),
    /// There is no such instance.
    Gone,
}

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The rows say what Ganeti says.
    Written,
    /// It is to be read again.
    Later,
}

/// Whether two states of a row have the same marks.
fn same_marks(one: &server::Model, other: &server::Model) -> bool {
    let marks = |row: &server::Model| (row.run_job, row.run_op_index, row.run_ended, row.serial_no);
    marks(one) == marks(other)
}

/// Writes what was read of a server; `asked` is its row from before it was asked for.
pub fn settle(
    rows: &mut Rows,
    asked: &server::Model,
    reading: &Reading,
    now: DateTime<Utc>,
) -> Settled {
    let is_wanted = rows.is_being_made(asked.id);
    let Some(server) = rows.server(asked.id) else {
        return Settled::Later;
    };
    if server.deletion != 0 {
        return Settled::Written;
    }
    let Some(since) = server.doubtful_at else {
        return Settled::Written;
    };
    if !same_marks(server, asked) {
        return Settled::Later;
    }
    match reading {
        Reading::Gone if is_wanted || now - since < GONE_AFTER => Settled::Later,
        Reading::Gone => {
            merge::remove(server, now);
            rows.release_ports_of(asked.id, now);
            Settled::Written
        }
        Reading::There(instance) => there(rows, asked.id, instance, now),
    }
}

fn there(rows: &mut Rows, id: i64, instance: &Instance, now: DateTime<Utc>) -> Settled {
    let Some(server) = rows.server(id) else {
        return Settled::Later;
    };
    let Some(runs) = instance.oper_state else {
        // Its node does not tell.
        return Settled::Later;
    };
    let state = if runs {
        OperState::Started
    } else {
        OperState::Stopped
    };
    server.oper_state = state.as_str().to_owned();
    server.doubtful_at = None;
    server.primary_node = instance.pnode.clone();
    if runs && server.launched_at.is_none() {
        server.launched_at = Some(now);
        server.progress = 100;
    }
    server.updated_at = now;
    let Ok(number) = i64::try_from(instance.serial_no) else {
        return Settled::Written;
    };
    let known = server.instance_uuid.clone();
    let judged = |ours: Option<i64>| {
        let ours = known
            .as_deref()
            .zip(ours.and_then(|ours| u64::try_from(ours).ok()));
        // Of two instances under one name, the one that is there is the one.
        configuration(ours, (&instance.uuid, instance.serial_no)) != Configuration::Known
    };
    let (is_size_news, are_nics_news) =
        (judged(server.size_serial_no), judged(server.nics_serial_no));
    server.instance_uuid = Some(instance.uuid.clone());
    server.serial_no = Some(number);
    if is_size_news {
        server.size_serial_no = Some(number);
        server.vcpus = instance.beparams.vcpus.unwrap_or(server.vcpus);
        server.ram = instance.beparams.maxmem.unwrap_or(server.ram);
    }
    if are_nics_news {
        server.nics_serial_no = Some(number);
        rows.take_nics(id, &instance.nics(), now);
    }
    Settled::Written
}
