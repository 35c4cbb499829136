//! What is published, and what passed the TAPs.

use std::fmt::Write as _;

use super::family;
use crate::node::counters::Publication;
use crate::node::taps::{Taps, traffic as of_devices};

/// What becomes of messages to the control plane; nothing where there is no way out. `now`: milliseconds since 1970.
pub(super) fn publication(out: &mut String, figures: &Publication, now: u64) {
    if !figures.configured {
        return;
    }
    for (name, key, help, values) in [
        ("spooled", "kind", "Messages put on disk", &figures.spooled),
        (
            "dropped",
            "kind",
            "Messages dropped because the spool was full",
            &figures.dropped,
        ),
        (
            "lost",
            "kind",
            "Messages that could not be put on disk",
            &figures.lost,
        ),
        (
            "published",
            "kind",
            "Messages stored on the other side",
            &figures.published,
        ),
        (
            "progress_refused",
            "reason",
            "Progress that was refused",
            &figures.progress_refused,
        ),
    ] {
        family(out, name, "counter", help);
        for (label, value) in values {
            let _ = writeln!(out, "snf_agent_{name}_total{{{key}=\"{label}\"}} {value}");
        }
    }
    for (name, help, value) in [
        (
            "replaced",
            "Messages that a newer one took the place of, unsent",
            figures.replaced,
        ),
        ("returned", "Messages that no queue took", figures.returned),
        (
            "refused",
            "Messages that were refused for now",
            figures.refused,
        ),
        (
            "foreign",
            "Messages about others' instances, never published",
            figures.foreign,
        ),
        ("connections", "Connections made", figures.connections),
        (
            "connection_errors",
            "Connections that failed or broke",
            figures.connection_errors,
        ),
    ] {
        family(out, name, "counter", help);
        let _ = writeln!(out, "snf_agent_{name}_total {value}");
    }
    let age = match figures.oldest {
        0 => 0,
        oldest => now.saturating_sub(oldest),
    };
    for (name, help, value) in [
        (
            "connected",
            "1 while a connection stands",
            u64::from(figures.connected) as f64,
        ),
        ("waiting", "Messages on disk", figures.waiting as f64),
        (
            "waiting_bytes",
            "Bytes of messages on disk",
            figures.waiting_bytes as f64,
        ),
        (
            "waiting_seconds",
            "Age of the oldest of them",
            age as f64 / 1e3,
        ),
    ] {
        family(out, name, "gauge", help);
        let _ = writeln!(out, "snf_agent_{name} {value}");
    }
}

/// What passed the TAPs that were looked at, as their VMs see it.
pub(super) fn traffic(out: &mut String, taps: &Taps) {
    let Ok(devices) = of_devices() else {
        return;
    };
    let seen = taps.seen();
    let rows = || {
        seen.iter().filter_map(|(tap, one)| {
            let instance = one.instance.as_deref().unwrap_or_default();
            Some((tap, instance, devices.get(tap.as_str())?))
        })
    };
    for (name, help, of) in [
        (
            "tap_rx_bytes",
            "Bytes that the VM received",
            (|traffic| traffic.rx_bytes) as fn(&snf_events::agent::Traffic) -> u64,
        ),
        (
            "tap_rx_packets",
            "Packets that the VM received",
            |traffic| traffic.rx_packets,
        ),
        ("tap_rx_errors", "Errors on the way to the VM", |traffic| {
            traffic.rx_errors
        }),
        (
            "tap_rx_dropped",
            "Packets to the VM that were dropped",
            |traffic| traffic.rx_dropped,
        ),
        ("tap_tx_bytes", "Bytes that the VM sent", |traffic| {
            traffic.tx_bytes
        }),
        ("tap_tx_packets", "Packets that the VM sent", |traffic| {
            traffic.tx_packets
        }),
        (
            "tap_tx_errors",
            "Errors on the way from the VM",
            |traffic| traffic.tx_errors,
        ),
        (
            "tap_tx_dropped",
            "Packets from the VM that were dropped",
            |traffic| traffic.tx_dropped,
        ),
    ] {
        family(out, name, "counter", help);
        for (tap, instance, traffic) in rows() {
            let value = of(traffic);
            let _ = writeln!(
                out,
                "snf_agent_{name}_total{{tap=\"{tap}\",instance=\"{instance}\"}} {value}"
            );
        }
    }
}
