//! eventd's figures, as Prometheus' text. What each means and what to do about it is in `docs/snf-ganeti-eventd.md`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::counters::{Counter, Counters, Level};

/// The figures of `counters`; `now` in milliseconds since 1970.
#[must_use]
pub fn encode(counters: &Arc<Counters>, now: u64) -> String {
    let mut registry = Registry::with_prefix("snf_eventd");
    let counters = Arc::clone(counters);
    registry.register_collector(Box::new(Figures { counters, now }));
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Figures {
    counters: Arc<Counters>,
    now: u64,
}

struct Writer<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Writer<'_, '_> {
    fn count(&mut self, name: &str, help: &str, counter: &Counter) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(counter.value()).encode(metric)
    }

    fn counts(
        &mut self,
        name: &str,
        help: &str,
        key: &'static str,
        values: &[(&'static str, &Counter)],
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, counter) in values {
            let labels = [(key, *label)];
            ConstCounter::new(counter.value()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn level(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn levels(&mut self, levels: &[(&str, &str, &Level)]) -> fmt::Result {
        for (name, help, level) in levels {
            self.level(name, help, level.value() as f64)?;
        }
        Ok(())
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let of = &*self.counters;
        let mut out = Writer(&mut encoder);
        out.count("files_read", "Job files read", &of.files_read)?;
        out.counts(
            "files_skipped",
            "Job files that were not used",
            "reason",
            &[
                ("malformed", &of.files_malformed),
                ("too_large", &of.files_too_large),
                ("unreadable", &of.files_unreadable),
            ],
        )?;
        let help = "Unfinished jobs whose file is nowhere";
        out.count("jobs_vanished", help, &of.jobs_vanished)?;
        out.count("hints_lost", "Times inotify lost events", &of.hints_lost)?;
        out.count("lists", "Times the queue was listed", &of.lists)?;
        let help = "Times the queue could not be listed";
        out.count("lists_failed", help, &of.lists_failed)?;
        let help = "Events found by a list, without a hint";
        out.count("found_by_list", help, &of.found_by_list)?;
        let help = "Operations on instances and networks of others";
        out.count("foreign_operations", help, &of.foreign)?;
        out.count("journaled", "Events journaled", &of.journaled)?;
        let help = "Times the journal could not be written or read";
        out.count("journal_errors", help, &of.journal_errors)?;
        out.counts(
            "published",
            "Events sent, by what became of them",
            "outcome",
            &[
                ("acknowledged", &of.acknowledged),
                ("returned", &of.returned),
                ("refused", &of.refused),
            ],
        )?;
        let help = "Events not sent, since a newer one stands for them";
        out.count("superseded", help, &of.superseded)?;
        out.count("connections", "Connections made", &of.connections)?;
        let help = "Connections that failed or broke";
        out.count("connection_errors", help, &of.connection_errors)?;
        out.count("heartbeats", "Heartbeats sent", &of.heartbeats)?;
        let help = "Events sent without their instance's details";
        out.count("attachments_unavailable", help, &of.attachments_unavailable)?;
        out.levels(&[
            ("live_jobs", "Jobs in the queue directory", &of.live_jobs),
            ("known_jobs", "Jobs in memory", &of.known_jobs),
            ("journal_bytes", "Size of the journal", &of.journal_bytes),
            (
                "backlog",
                "Events journaled and not acknowledged",
                &of.backlog,
            ),
            ("connected", "1 while a connection stands", &of.connected),
            ("master", "1 on the master", &of.master),
        ])?;
        let age = |since: &Level| match since.value() {
            0 => 0.0,
            since => self.now.saturating_sub(since) as f64 / 1000.0,
        };
        let help = "Age of the oldest event that is not acknowledged";
        out.level("lag_seconds", help, age(&of.oldest_written))?;
        let help = "Time since the queue was listed";
        out.level("list_age_seconds", help, age(&of.listed_at))
    }
}
