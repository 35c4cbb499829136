//! What fails around eventd on a real cluster, and what arrives all the same.

use anyhow::{Context, Result, ensure};
use system_tests::lab::layout::{BROKER_ADDRESS, full_name};
use system_tests::lab::{COMMAND, Hypervisor, Instance, Lab, Place};
use system_tests::wait::{self, SOON};

use crate::arrivals::{Arrivals, journal_equals, logs};
use crate::{fresh_with_broker, with};

const EVENTD: &str = "snf-ganeti-eventd";

#[test]
#[ignore = "takes minutes: make test-lab"]
fn nothing_is_lost_whatever_fails_around_it() {
    with(|| {
        let lab = fresh_with_broker(3)?;
        let vm = Instance::add(&lab, "snf-1", Hypervisor::Fake, &lab.node(3)?, &[])?;
        let mut arrivals = Arrivals::default();
        arrivals.equal(&lab)?;
        let told = |fault: &str, arrivals: &Arrivals| {
            println!("{fault}: {} messages so far", arrivals.messages.len());
        };
        eventd_is_down(&lab, &vm, &mut arrivals).context("eventd is down")?;
        told("eventd killed", &arrivals);
        the_broker_is_down(&lab, &vm, &mut arrivals).context("the broker is down")?;
        told("broker down", &arrivals);
        let anew = the_journal_is_lost(&lab, &vm).context("the journal is lost")?;
        arrivals.messages.extend(anew.messages);
        told("journal lost", &arrivals);
        another_node_becomes_master(&lab, &vm, &mut arrivals).context("another master")?;
        told("two failovers of the master", &arrivals);
        lab.down()
    });
}

/// Jobs end, some are archived, and one VM comes and goes wholly, while nobody looks.
fn eventd_is_down(lab: &Lab, vm: &Instance<'_>, arrivals: &mut Arrivals) -> Result<()> {
    let master = lab.master()?;
    master.kill_service(EVENTD)?;
    vm.stop()?;
    let before = lab.ended()?;
    let last = before.last().context("a job")?.job.to_string();
    master.run("gnt-job", &["archive", &last])?;
    Instance::add(lab, "snf-2", Hypervisor::Fake, &lab.node(2)?, &[])?.remove()?;
    master.run("gnt-job", &["autoarchive", "1"])?;
    vm.start()?;
    master.start_service(EVENTD)?;
    let record = arrivals.equal(lab)?;
    let archived = master.shell("find /var/lib/ganeti/queue/archive -name 'job-*' | wc -l")?;
    let archived: usize = archived.trim().parse()?;
    ensure!(archived >= 3, "only {archived} jobs are archived");
    journal_equals(lab, &record)
}

fn the_broker_is_down(lab: &Lab, vm: &Instance<'_>, arrivals: &mut Arrivals) -> Result<()> {
    let (master, broker) = (lab.master()?, lab.broker().context("a broker")?);
    vm.act(&["reboot", "--submit"])?;
    broker.stop_service("rabbitmq-server")?;
    vm.stop()?;
    vm.tag("snf:while-it-was-down")?;
    lab.ended()?;
    let backlog = "snf_eventd_backlog";
    wait::until("eventd has a backlog", SOON, || {
        Ok(master
            .eventd_figure(backlog)
            .is_some_and(|count| count > 0.0))
    })?;
    vm.act(&["start", "--submit"])?;
    broker.start_service("rabbitmq-server")?;
    wait::until("the broker lets clients in", COMMAND, || {
        Ok(lab.take("snf-no-such-queue").is_ok())
    })
    .context(BROKER_ADDRESS)?;
    let record = arrivals.equal(lab)?;
    journal_equals(lab, &record)?;
    wait::until("nothing is left to be sent", SOON, || {
        Ok(master.eventd_figure(backlog) == Some(0.0))
    })
}

/// Everything there is, live and archived, goes out again, under a new epoch.
fn the_journal_is_lost(lab: &Lab, vm: &Instance<'_>) -> Result<Arrivals> {
    let master = lab.master()?;
    let (epoch, _) = master.journal()?;
    master.stop_service(EVENTD)?;
    vm.stop()?;
    vm.start()?;
    lab.ended()?;
    master.run("gnt-job", &["autoarchive", "1"])?;
    master.run("rm", &["-rf", "/var/lib/snf-ganeti-eventd"])?;
    master.start_service(EVENTD)?;
    let mut anew = Arrivals::default();
    let record = anew.equal(lab)?;
    journal_equals(lab, &record)?;
    let (now, _) = master.journal()?;
    ensure!(now != epoch, "the epoch is the old one");
    Ok(anew)
}

/// Jobs before, around and after; there and back.
fn another_node_becomes_master(
    lab: &Lab,
    vm: &Instance<'_>,
    arrivals: &mut Arrivals,
) -> Result<()> {
    for next in [lab.node(2)?, lab.node(1)?] {
        vm.stop()?;
        vm.act(&["start", "--submit"])?;
        vm.act(&["reboot", "--submit"])?;
        fail_over(lab, &next)?;
        vm.act(&["reboot", "--shutdown-timeout=0"])?;
        vm.tag(&format!("snf:by-{}", next.name()))?;
        let record = arrivals.equal(lab)?;
        journal_equals(lab, &record)?;
        let (epoch, _) = next.journal()?;
        ensure!(
            arrivals.epochs().last() == Some(&epoch),
            "the last epoch is not the new master's"
        );
    }
    Ok(())
}

/// Makes `next` the master, and waits until it works as such.
pub(crate) fn fail_over(lab: &Lab, next: &Place) -> Result<()> {
    next.run("gnt-cluster", &["master-failover"])?;
    ensure!(
        lab.master()?.name() == next.name(),
        "the master is {}",
        lab.master()?.name()
    );
    wait::until("the new master's eventd publishes", COMMAND, || {
        Ok(next.journal().is_ok())
    })
    .with_context(|| logs(lab))?;
    wait::until("the remote API answers from there", COMMAND, || {
        let said = next.run("gnt-cluster", &["getmaster"])?;
        Ok(said.trim() == full_name(next.name()))
    })
}
