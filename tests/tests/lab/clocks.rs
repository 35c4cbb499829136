//! Nodes whose clocks are ten minutes apart, and a master on one after the other: nothing is lost, and what the order of
//! effects is told by is there.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use system_tests::lab::{Hypervisor, Instance, Lab};

use crate::arrivals::{Arrivals, journal_equals, state};
use crate::faults::fail_over;
use crate::{fresh_with_broker, with};

/// How far ahead the clocks of the three nodes are, minutes: seen from the first, ten behind and ten ahead. Each is the
/// master in turn: node1, node2, node3, node1.
const AHEAD: [u32; 3] = [10, 0, 20];

#[test]
#[ignore = "takes minutes: make test-lab"]
fn clocks_ten_minutes_apart_lose_nothing() {
    with(|| {
        let lab = fresh_with_broker(3)?;
        for (node, ahead) in lab.nodes().iter().zip(AHEAD) {
            if ahead > 0 {
                node.set_clock(ahead)?;
            }
        }
        let vm = Instance::add(&lab, "snf-1", Hypervisor::Fake, &lab.node(2)?, &[])?;
        let mut arrivals = Arrivals::default();
        for next in [2, 3, 1] {
            vm.stop()?;
            vm.start()?;
            fail_over(&lab, &lab.node(next)?)?;
            vm.act(&["modify", "-B", &format!("vcpus={next}")])?;
            let record = arrivals.equal(&lab)?;
            journal_equals(&lab, &record)?;
        }
        ordered(&lab, &arrivals)?;
        lab.down()
    });
}

/// Ends are out of order, and each has what tells the order all the same: job, end and serial number.
fn ordered(lab: &Lab, arrivals: &Arrivals) -> Result<()> {
    let record = lab.ended()?;
    let ours: Vec<_> = record.iter().filter(|one| one.is_ours()).collect();
    let seconds = |value: &Value| value.get(0).and_then(Value::as_i64).unwrap_or_default();
    let falls = ours
        .iter()
        .zip(ours.iter().skip(1))
        .map(|(one, next)| seconds(&next.end) - seconds(&one.end))
        .filter(|step| *step < -500)
        .count();
    ensure!(falls == 2, "ends fell {falls} times by ten minutes");
    let mut before = 0;
    for operation in ours {
        let this = (operation.job, operation.index, operation.status.clone());
        let messages = arrivals.messages.iter().filter(|m| state(&m.body) == this);
        let serial = |key: &str, body: &Value| body.get(key).and_then(Value::as_u64);
        let told = messages.filter_map(|message| serial("serial_no", &message.body));
        let serial = told.min().with_context(|| format!("{operation:?}"))?;
        ensure!(serial >= before, "{operation:?}: from {before} to {serial}");
        before = serial;
    }
    println!("{} operations, numbered to {before}", record.len());
    Ok(())
}
