//! The daemon's figures, as Prometheus' text. What each means and what to do about it is in `docs/nfdhcpd.md`.

pub mod server;

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::counters::{Counter, Counters, LATENCY_BOUNDS};
use crate::outcome::Outcome;
use crate::serving::Counts;
use crate::wire::Protocol;

/// All figures at one time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Packets by protocol and outcome.
    pub packets: Vec<Packets>,
    /// Batches taken from the queues.
    pub batches: u64,
    /// Frames sent.
    pub frames: u64,
    /// Frames not sent, by reason.
    pub frame_errors: Vec<Labelled>,
    /// What went wrong with queues, by kind.
    pub queue_errors: Vec<Labelled>,
    /// The queues, as the kernel counts them.
    pub queues: Vec<QueueFigures>,
    /// Packets the kernel dropped over their TAP's rate, by protocol.
    pub policed: Vec<Labelled>,
    /// TAPs that are served.
    pub bindings: u64,
    /// Files by how they stand.
    pub files: Vec<Labelled>,
    /// Files refused since the start.
    pub refused: u64,
    /// Events that were lost, by source.
    pub overruns: Vec<Labelled>,
    /// Unsolicited router advertisements sent.
    pub advertisements: u64,
    /// Those that were not taken.
    pub advertisement_errors: u64,
    /// How late the last round was, seconds.
    pub advertisement_lag: f64,
    /// Packets per bucket of latency.
    pub latency: Vec<u64>,
    /// Sum of latencies, seconds.
    pub latency_sum: f64,
}

/// Packets of one protocol with one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Packets {
    /// Protocol.
    pub protocol: &'static str,
    /// `replied`, `ignored`, `passed` or `failed`.
    pub outcome: &'static str,
    /// Which reply, or why not.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}

/// A count under a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Labelled {
    /// The label.
    pub label: &'static str,
    /// How many.
    pub count: u64,
}

/// One queue, as /proc/net/netfilter/nfnetlink_queue has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct QueueFigures {
    /// Queue number.
    pub queue: u16,
    /// Packets that wait.
    pub waiting: u64,
    /// Packets dropped since the queue was full.
    pub dropped_full: u64,
    /// Packets dropped since our socket was full.
    pub dropped_socket: u64,
}

impl Figures {
    /// The packet threads' part.
    #[must_use]
    pub fn of_threads<'a>(threads: impl Iterator<Item = &'a Counters> + Clone) -> Self {
        let sum = |of: fn(&Counters) -> &Counter| threads.clone().map(|t| of(t).value()).sum();
        let labelled = |label, count| Labelled { label, count };
        let mut packets = Vec::new();
        for protocol in Protocol::ALL {
            for outcome in Outcome::all().filter(|outcome| outcome.may_be_of(protocol)) {
                let count = threads.clone().map(|t| t.packets(protocol, outcome)).sum();
                let (protocol, reason) = (protocol.label(), outcome.label());
                packets.push(Packets {
                    protocol,
                    outcome: outcome.group(),
                    reason,
                    count,
                });
            }
        }
        let mut latency = vec![0; LATENCY_BOUNDS.len() + 1];
        for thread in threads.clone() {
            for (total, count) in latency.iter_mut().zip(thread.latency()) {
                *total += count;
            }
        }
        Self {
            packets,
            batches: sum(|t| &t.batches),
            frames: sum(|t| &t.frames),
            frame_errors: vec![
                labelled("full", sum(|t| &t.taps_full)),
                labelled("gone", sum(|t| &t.taps_gone)),
                labelled("other", sum(|t| &t.send_errors)),
            ],
            queue_errors: vec![
                labelled("overrun", sum(|t| &t.overruns)),
                labelled("verdict", sum(|t| &t.verdict_errors)),
                labelled("strange", sum(|t| &t.strange)),
            ],
            latency,
            latency_sum: threads.map(Counters::latency_sum).sum::<u64>() as f64 / 1e9,
            ..Self::default()
        }
    }

    /// Adds what is counted of bindings and advertisements.
    #[must_use]
    pub fn with_counts(mut self, served: usize, files: Vec<Labelled>, counts: Counts) -> Self {
        self.bindings = served as u64;
        self.files = files;
        self.refused = counts.refused;
        self.overruns = vec![
            Labelled {
                label: "directory",
                count: counts.directory_overruns,
            },
            Labelled {
                label: "devices",
                count: counts.link_overruns,
            },
        ];
        self.advertisements = counts.advertisements;
        self.advertisement_errors = counts.advertisement_errors;
        self.advertisement_lag = counts.advertisement_lag.as_secs_f64();
        self
    }

    /// Prometheus' text.
    #[must_use]
    pub fn encode(self) -> String {
        let mut registry = Registry::with_prefix("nfdhcpd");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

/// Reads the kernel's figures of our queues from its file, opened while we were root.
#[must_use]
pub fn read_queues(file: &File, ours: &[u16]) -> Vec<QueueFigures> {
    let mut bytes = vec![0; 64 * 1024];
    let mut length = 0;
    while let Some(room @ [_, ..]) = bytes.get_mut(length..) {
        match file.read_at(room, length as u64) {
            Ok(0) | Err(_) => break,
            Ok(more) => length += more,
        }
    }
    let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
    text.lines()
        .filter_map(parse_queue)
        .filter(|queue| ours.contains(&queue.queue))
        .collect()
}

/// Columns: queue, port, waiting, copy mode, copy range, dropped (full), dropped (socket), last id, 1.
fn parse_queue(line: &str) -> Option<QueueFigures> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let column = |place: usize| columns.get(place)?.parse::<u64>().ok();
    Some(QueueFigures {
        queue: u16::try_from(column(0)?).ok()?,
        waiting: column(2)?,
        dropped_full: column(5)?,
        dropped_socket: column(6)?,
    })
}

struct Writer<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Writer<'_, '_> {
    fn count(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn level(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn by(
    key: &'static str,
    of: &[Labelled],
) -> impl Iterator<Item = ([(&'static str, &'static str); 1], u64)> {
    of.iter()
        .map(move |Labelled { label, count }| ([(key, *label)], *count))
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer(&mut encoder);
        let packets = self.packets.iter().map(|row| {
            let labels = [
                ("protocol", row.protocol),
                ("outcome", row.outcome),
                ("reason", row.reason),
            ];
            (labels, row.count)
        });
        out.counter("packets", "Packets taken, by what became of them", packets)?;
        out.count("batches", "Batches of packets", self.batches)?;
        out.count("frames", "Frames sent to VMs", self.frames)?;
        let errors = by("reason", &self.frame_errors);
        out.counter("frame_errors", "Frames the kernel refused", errors)?;
        let errors = by("kind", &self.queue_errors);
        out.counter("queue_errors", "Failures of queues", errors)?;
        self.encode_queues(&mut out)?;
        let policed = by("protocol", &self.policed);
        out.counter(
            "policed",
            "Packets the kernel dropped over their TAP's rate",
            policed,
        )?;
        out.level("bindings", "TAPs that are served", self.bindings as f64)?;
        let files = by("standing", &self.files).map(|(labels, count)| (labels, count as f64));
        out.gauge("binding_files", "Binding files, by how they stand", files)?;
        out.count("binding_refusals", "Binding files refused", self.refused)?;
        let overruns = by("source", &self.overruns);
        out.counter(
            "event_overruns",
            "Times events were lost and all was read anew",
            overruns,
        )?;
        let help = "Unsolicited router advertisements";
        out.count("advertisements", help, self.advertisements)?;
        let help = "Unsolicited router advertisements the kernel refused";
        out.count("advertisement_errors", help, self.advertisement_errors)?;
        let help = "How late the last unsolicited router advertisements were";
        out.level("advertisement_lag_seconds", help, self.advertisement_lag)?;
        self.encode_latency(encoder)
    }
}

impl Figures {
    fn encode_queues(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let numbers: Vec<String> = self
            .queues
            .iter()
            .map(|row| row.queue.to_string())
            .collect();
        let queues = || self.queues.iter().zip(&numbers);
        let waiting =
            queues().map(|(row, number)| ([("queue", number.as_str())], row.waiting as f64));
        out.gauge("queue_waiting", "Packets that wait in a queue", waiting)?;
        let dropped = queues().flat_map(|(row, number)| {
            let labels = |reason| [("queue", number.as_str()), ("reason", reason)];
            [
                (labels("full"), row.dropped_full),
                (labels("socket"), row.dropped_socket),
            ]
        });
        out.counter(
            "queue_dropped",
            "Packets the kernel dropped before us",
            dropped,
        )
    }

    fn encode_latency(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Time from taking a packet to its verdict";
        let mut metric =
            encoder.encode_descriptor("answer_seconds", help, None, MetricType::Histogram)?;
        let bounds = LATENCY_BOUNDS
            .iter()
            .map(|bound| *bound as f64 / 1e6)
            .chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.latency.iter().copied()).collect();
        let count = self.latency.iter().sum();
        metric.encode_histogram::<NoLabelSet>(self.latency_sum, count, &buckets, None)
    }
}

#[cfg(test)]
mod tests;
