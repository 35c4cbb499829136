//! The text scrapers read, and the page that explains it.

use super::*;
use crate::responder::Decision;

#[test]
fn counts_of_all_threads_are_added_and_labelled() {
    let threads = [Counters::default(), Counters::default()];
    let outcome = Outcome::from(Decision::NotOurs);
    for thread in &threads {
        thread.packet(Protocol::Dhcpv6, outcome);
        thread.batch(1, 15_000);
    }
    let text = Figures::of_threads(threads.iter())
        .with_counts(
            3,
            vec![Labelled {
                label: "stale",
                count: 4,
            }],
            Counts::default(),
        )
        .encode();
    for line in [
        "nfdhcpd_packets_total{protocol=\"dhcpv6\",outcome=\"passed\",reason=\"not_ours\"} 2",
        "nfdhcpd_bindings 3.0",
        "nfdhcpd_binding_files{standing=\"stale\"} 4.0",
        "nfdhcpd_answer_seconds_bucket{le=\"0.00001\"} 0",
        "nfdhcpd_answer_seconds_bucket{le=\"0.00002\"} 2",
        "nfdhcpd_answer_seconds_count 2",
        "nfdhcpd_answer_seconds_bucket{le=\"+Inf\"} 2",
        "nfdhcpd_frame_errors_total{reason=\"full\"} 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in\n{text}"
        );
    }
}

#[test]
fn the_kernels_columns_are_read() {
    let line = "   42  12345     7 2  2048     1     2       99  1";
    let expected = QueueFigures {
        queue: 42,
        waiting: 7,
        dropped_full: 1,
        dropped_socket: 2,
    };
    assert_eq!(parse_queue(line), Some(expected));
    assert_eq!(parse_queue("42 1"), None);
}

/// Every metric, reason and label stands in the documentation.
#[test]
fn the_documentation_names_every_metric() {
    let page = include_str!("../../docs/nfdhcpd.md");
    let queue = QueueFigures {
        queue: 0,
        waiting: 0,
        dropped_full: 0,
        dropped_socket: 0,
    };
    let none: [Counters; 0] = [];
    let mut figures =
        Figures::of_threads(none.iter()).with_counts(0, Vec::new(), Counts::default());
    figures.queues.push(queue);
    let text = figures.encode();
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut count = 0;
    for name in names {
        count += 1;
        assert!(
            page.contains(&format!("| `{name}` |")),
            "{name} is not documented"
        );
    }
    assert!(count > 10, "{text}");
    for outcome in Outcome::all() {
        let label = outcome.label();
        assert!(
            page.contains(&format!("`{label}`")),
            "reason {label} is not documented"
        );
    }
}
