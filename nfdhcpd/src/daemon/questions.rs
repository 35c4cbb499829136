//! What the daemon answers when it is asked: by the control socket, by scrapers, by SIGUSR1.

use serde::Serializer as _;

use super::Daemon;
use crate::allocator;
use crate::ctl::report::{self, Health};
use crate::ctl::{Question, Request};
use crate::metrics::{self, Figures, Labelled};
use crate::rules::Redirect;

impl Daemon {
    pub(super) fn answer(&mut self, question: Question) {
        // An asker that is gone needs no answer.
        match question {
            Question::Ask { request, reply } => {
                let _ = reply.send(self.ask(&request));
                allocator::give_back();
            }
            Question::Metrics { reply } => {
                let _ = reply.send(self.figures().encode());
            }
            Question::Watch { tap, reply } => {
                let link = tap
                    .parse()
                    .ok()
                    .and_then(|name| self.serving.bindings.link(name));
                let index = link.map(|link| link.index);
                let served = index.filter(|index| self.serving.port(*index).is_some());
                let _ = reply.send(served.map(|index| (index, self.shared.tracer.watch(index))));
            }
        }
    }

    fn ask(&mut self, request: &Request) -> String {
        let now = self.shared.clock.nanoseconds() / 1_000_000;
        let redirect = self.redirect.is_some().then_some(&self.troubles);
        let answer = match request {
            Request::List => {
                let mut text = Vec::new();
                let written =
                    serde_json::Serializer::new(&mut text).collect_seq(report::list(&self.serving));
                written.map(|()| String::from_utf8(text).unwrap_or_default())
            }
            Request::Show { tap } => match tap.parse() {
                Ok(name) => {
                    serde_json::to_string(&report::show(&self.serving, name, redirect, now))
                }
                Err(_) => {
                    serde_json::to_string(&serde_json::json!({ "error": "no device's name" }))
                }
            },
            Request::Stats => serde_json::to_string(&self.figures()),
            Request::Health => serde_json::to_string(&self.health()),
            Request::Trace { .. } => Ok(String::new()),
        };
        answer.unwrap_or_default()
    }

    fn figures(&mut self) -> Figures {
        let mut figures = Figures::of_threads(self.counters.iter().map(AsRef::as_ref));
        if let Some(file) = &self.queue_figures {
            let queues = self.config.queues;
            let ours: Vec<u16> = queues
                .first()
                .into_iter()
                .flat_map(|(_, first)| (0..queues.shards).map(move |shard| first + shard))
                .collect();
            figures.queues = metrics::read_queues(file, &ours);
        }
        if let Some(Ok(policed)) = self.redirect.as_mut().map(Redirect::policed) {
            let policed = policed.into_iter();
            figures.policed = policed
                .map(|(protocol, count)| Labelled {
                    label: protocol.label(),
                    count,
                })
                .collect();
        }
        let mut files = Vec::new();
        for label in ["in force", "waiting", "stale", "refused"] {
            files.push(Labelled { label, count: 0 });
        }
        for name in self.serving.bindings.names() {
            let label = report::standing_label(self.serving.bindings.standing(name));
            if let Some(row) = files.iter_mut().find(|row| row.label == label) {
                row.count += 1;
            }
        }
        figures.with_counts(self.serving.served(), files, self.serving.counts)
    }

    fn health(&self) -> Health {
        let mut problems = Vec::new();
        if !self.serving.is_watching() {
            let directory = self.serving.directory().display();
            problems.push(format!(
                "the binding directory {directory} is gone: no change is seen"
            ));
        }
        if self.threads.values().any(|thread| thread.is_finished()) {
            problems.push(String::from("a packet thread has ended"));
        }
        Health {
            ok: problems.is_empty(),
            problems,
            bindings: self.serving.served() as u64,
            version: String::from(env!("CARGO_PKG_VERSION")),
        }
    }

    pub(super) fn dump(&mut self) {
        let figures = serde_json::to_string(&self.figures()).unwrap_or_default();
        tracing::info!("figures: {figures}");
        for row in report::list(&self.serving) {
            tracing::info!(
                "binding: {}",
                serde_json::to_string(&row).unwrap_or_default()
            );
        }
    }
}
