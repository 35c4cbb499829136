//! The agent's figures as Prometheus' text, and its health, over HTTP.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::counters::{Counters, Figures};
use super::taps::Taps;

mod publication;

/// How long a scraper may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest request head.
const HEAD_MAX: usize = 8 << 10;

/// Answers scrapers, one at a time, for as long as the agent runs. `old_after`: milliseconds after which the last look at
/// everything is too long ago; `now`: milliseconds since 1970.
pub async fn serve(
    listener: TcpListener,
    counters: Arc<Counters>,
    taps: Arc<Taps>,
    old_after: u64,
    now: impl Fn() -> u64,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answered = answer(stream, &counters, &taps, old_after, now());
                if tokio::time::timeout(PATIENCE, answered).await.is_err() {
                    tracing::debug!("a scraper was too slow");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept a scraper");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, counters: &Counters, taps: &Taps, old_after: u64, now: u64) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_MAX {
        match stream.read_buf(&mut head).await {
            Ok(1..) => {}
            _ => return,
        }
    }
    let asks = |path: &str| {
        let start = format!("GET {path}");
        let behind = head.strip_prefix(start.as_bytes()).and_then(<[u8]>::first);
        matches!(behind, Some(b' ' | b'?'))
    };
    let figures = counters.figures().clone();
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body) = if asks("/metrics") {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ("200 OK", kind, whole(&figures, taps, now))
    } else if asks("/health") {
        match troubles(&figures, old_after, now) {
            troubles if troubles.is_empty() => ("200 OK", plain, "well\n".to_owned()),
            troubles => ("503 Service Unavailable", plain, troubles.join("\n") + "\n"),
        }
    } else {
        let body = "metrics are at /metrics, health at /health\n".to_owned();
        ("404 Not Found", plain, body)
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // A scraper that is gone is nobody's loss.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// What is not well, each a sentence. `old_after` in milliseconds, `now` in milliseconds since 1970.
#[must_use]
pub fn troubles(figures: &Figures, old_after: u64, now: u64) -> Vec<String> {
    let mut troubles = figures.problems.clone();
    let publication = &figures.publication;
    if publication.configured && !publication.connected && publication.connection_errors > 0 {
        troubles.push("not connected to the control plane".to_owned());
    }
    let age = now.saturating_sub(figures.looked_at);
    if figures.looked_at == 0 {
        troubles.push("not everything has been looked at yet".to_owned());
    } else if age > old_after {
        troubles.push(format!("nothing was looked at for {} s", age / 1000));
    }
    troubles
}

/// All there is to scrape, as OpenMetrics text.
fn whole(figures: &Figures, taps: &Taps, now: u64) -> String {
    let mut out = text(figures);
    publication::publication(&mut out, &figures.publication, now);
    publication::traffic(&mut out, taps);
    out.push_str("# EOF\n");
    out
}

/// The figures of what is done on the node.
#[must_use]
pub fn text(figures: &Figures) -> String {
    let mut out = String::new();
    for (name, help, value) in [
        ("rounds", "Looks at all TAPs", figures.rounds),
        (
            "looks",
            "Looks at single TAPs, after an event",
            figures.looks,
        ),
        (
            "rounds_failed",
            "Looks that could not be taken",
            figures.rounds_failed,
        ),
        (
            "taps_swept",
            "TAPs that were gone and whose remains were taken away",
            figures.swept,
        ),
        (
            "taps_restored",
            "TAPs that were put right",
            figures.restored,
        ),
        (
            "failures",
            "Times a TAP could not be put right or swept",
            figures.failures,
        ),
        ("hooks", "Hooks that were understood", figures.hooks),
        (
            "hooks_lost",
            "Hooks that were understood and could not be kept",
            figures.hooks_lost,
        ),
        (
            "strangers",
            "Connections of others than root",
            figures.strangers,
        ),
        (
            "events_lost",
            "Times the kernel lost device events",
            figures.events_lost,
        ),
    ] {
        family(&mut out, name, "counter", help);
        let _ = writeln!(out, "snf_agent_{name}_total {value}");
    }
    for (name, key, help, values) in [
        ("steps", "kind", "Steps done", &figures.steps),
        (
            "hooks_refused",
            "reason",
            "Hooks that were refused",
            &figures.hooks_refused,
        ),
    ] {
        family(&mut out, name, "counter", help);
        for (label, value) in values {
            let _ = writeln!(out, "snf_agent_{name}_total{{{key}=\"{label}\"}} {value}");
        }
    }
    family(
        &mut out,
        "taps",
        "gauge",
        "TAPs, by how they stood at the last look at all",
    );
    for (label, value) in &figures.taps {
        let _ = writeln!(out, "snf_agent_taps{{standing=\"{label}\"}} {value}");
    }
    for (name, help, value) in [
        (
            "round_seconds",
            "Duration of the last look at all TAPs",
            figures.took_us as f64 / 1e6,
        ),
        (
            "looked_at_seconds",
            "When it ended, seconds since 1970",
            figures.looked_at as f64 / 1e3,
        ),
        (
            "problems",
            "What kept it from being whole",
            figures.problems.len() as f64,
        ),
    ] {
        family(&mut out, name, "gauge", help);
        let _ = writeln!(out, "snf_agent_{name} {value}");
    }
    out
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing into a string does not fail.
    let _ = writeln!(out, "# HELP snf_agent_{name} {help}");
    let _ = writeln!(out, "# TYPE snf_agent_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_under_their_names_and_age_is_trouble() {
        let mut figures = Figures {
            restored: 3,
            looked_at: 10_000,
            ..Figures::default()
        };
        figures.steps.insert("binding".into(), 2);
        let text = text(&figures);
        assert!(
            text.contains("\nsnf_agent_taps_restored_total 3\n"),
            "{text}"
        );
        assert!(text.contains("snf_agent_steps_total{kind=\"binding\"} 2\n"));
        assert!(whole(&figures, &Taps::default(), 0).ends_with("\n# EOF\n"));
        assert_eq!(troubles(&figures, 5_000, 12_000), [""; 0]);
        assert_eq!(
            troubles(&figures, 5_000, 20_000),
            ["nothing was looked at for 10 s"]
        );
        assert_eq!(troubles(&Figures::default(), 5_000, 0).len(), 1);
    }
}
