//! The controller's figures, as Prometheus' text. Each part counts in fields of its own.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A request, as it is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// Its method.
    pub method: String,
    /// Its route, as it is written in the router: bounded, whatever clients ask for.
    pub route: String,
    /// The reply's status.
    pub status: u16,
}

/// All figures.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests that were answered.
    pub requests: Family<RequestLabels, Counter>,
    /// How long they took.
    pub request_seconds: Histogram,
    /// Logins that were refused.
    pub logins_failed: Counter,
    /// Requests that were refused since there were too many.
    pub rate_limited: Counter,
    /// What became of intents.
    pub outbox: crate::outbox::Counts,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("snf_controller");
        let requests = Family::<RequestLabels, Counter>::default();
        let request_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let (logins_failed, rate_limited) = (Counter::default(), Counter::default());
        registry.register("requests", "Requests answered", requests.clone());
        let help = "Time from a request's head to its answer's";
        registry.register("request_seconds", help, request_seconds.clone());
        registry.register("logins_failed", "Logins refused", logins_failed.clone());
        let help = "Requests refused since there were too many";
        registry.register("rate_limited", help, rate_limited.clone());
        let outbox = crate::outbox::Counts::default();
        outbox.register(&mut registry);
        Self {
            registry,
            outbox,
            requests,
            request_seconds,
            logins_failed,
            rate_limited,
        }
    }
}

impl Metrics {
    /// The text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
