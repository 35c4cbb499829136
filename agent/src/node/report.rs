//! Stories as tables for people.

use std::fmt::Write as _;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use super::configured::Pending;
use super::counters::Figures;
use super::environment::Heard;
use super::round::{Finding, Standing};
use super::story::{Device, Part, Status, Story};

/// The node. `now`: milliseconds since 1970.
#[must_use]
pub fn status(status: &Status, now: u64) -> String {
    let mut text = match &status.agent {
        Some(figures) => agent(figures, now),
        None => {
            "snf-agent does not answer, so nothing is put right: see `systemctl status snf-agent`\n"
                .to_owned()
        }
    };
    for problem in &status.problems {
        let _ = writeln!(text, "not read: {problem}");
    }
    if status.taps.is_empty() {
        text.push_str("\nno TAPs: snf-ifup has made none here that is left\n");
        return text;
    }
    text.push('\n');
    let mut lines = vec![["TAP", "INSTANCE", "STANDING", "STEPS", "REMARK"].map(str::to_owned)];
    lines.extend(status.taps.iter().map(|row| {
        [
            row.tap.clone(),
            row.instance.clone().unwrap_or_else(|| "-".to_owned()),
            row.standing.to_owned(),
            row.steps.to_string(),
            row.reason.clone().unwrap_or_else(|| pending(&row.pending)),
        ]
    }));
    text.push_str(&columns(&lines));
    text
}

/// What takes effect at the next start; empty for nothing.
fn pending(pending: &[Pending]) -> String {
    if pending.is_empty() {
        return String::new();
    }
    let each: Vec<String> = pending.iter().map(ToString::to_string).collect();
    format!("pending until the next start: {}", each.join(", "))
}

fn agent(figures: &Figures, now: u64) -> String {
    let mut text = match figures.looked_at {
        0 => "not yet looked at everything\n".to_owned(),
        at => format!(
            "looked at everything {} ago, in {:.1} ms\n",
            age(now.saturating_sub(at)),
            figures.took_us as f64 / 1000.0
        ),
    };
    let _ = writeln!(
        text,
        "since its start: TAPs put right {}, swept {}, failed {}; hooks heard {}, refused {}",
        figures.restored,
        figures.swept,
        figures.failures,
        figures.hooks,
        figures.hooks_refused.values().sum::<u64>()
    );
    let publication = &figures.publication;
    if publication.configured {
        let stands = if publication.connected { "" } else { "not " };
        let dropped: u64 = publication.dropped.values().sum();
        let waiting = publication.waiting;
        let _ = writeln!(
            text,
            "{stands}connected to the control plane, {waiting} messages wait, {dropped} dropped"
        );
    }
    for problem in &figures.problems {
        let _ = writeln!(text, "problem: {problem}");
    }
    text
}

/// What the operator does about a standing, if anything.
fn next(standing: &str) -> Option<&'static str> {
    match standing {
        "drifted" => {
            Some("the agent puts it right at its next look; `snf-agent reconcile` does now")
        }
        "gone" => Some(
            "the agent takes away what is left at its next look; `snf-agent reconcile` does now",
        ),
        "failed" => Some("mend the reason: it is tried again at each look"),
        "no_record" => Some("snf-ifup did not make it: it is not the agent's"),
        "no_nic" => Some("left alone until Ganeti's files name it, or it is gone"),
        "other_device" => {
            Some("left alone: snf-ifup's next `up` of this name replaces what is left")
        }
        "busy" => Some("a call of snf-ifup is at work: ask again in a moment"),
        _ => None,
    }
}

/// Milliseconds, in the units that people think of.
fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{:.1} s", milliseconds as f64 / 1000.0),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Bytes, in the units that people think of.
fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut scaled = count as f64;
    let mut shown = format!("{count} bytes");
    for unit in units {
        scaled /= 1024.0;
        if scaled < 1.0 {
            break;
        }
        shown = format!("{scaled:.1} {unit}");
    }
    shown
}

/// One TAP.
#[must_use]
pub fn story(story: &Story, now: u64) -> String {
    let mut text = String::new();
    let whose = story.instance.as_deref().unwrap_or("nobody known");
    let _ = writeln!(text, "{} of {whose}: {}", story.tap, story.standing);
    if let Some(reason) = &story.reason {
        let _ = writeln!(text, "  {reason}");
    }
    if let Some(next) = next(story.standing) {
        let _ = writeln!(text, "  {next}");
    }
    if !story.pending.is_empty() {
        let _ = writeln!(text, "  {}", pending(&story.pending));
    }
    for warning in &story.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
    if let Some(variables) = &story.ganeti {
        text.push_str("\nGaneti\n");
        let lines: Vec<[String; 2]> = variables
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| [format!("  {name}"), value.clone()])
            .collect();
        text.push_str(&columns(&lines));
    }
    if let Some(heard) = &story.hooks {
        hooks(&mut text, heard, now);
    }
    if let Some(of) = &story.device {
        device(&mut text, of);
    }
    if !story.parts.is_empty() {
        text.push_str("\nWhat has to stand\n");
        let lines: Vec<[String; 3]> = story.parts.iter().map(part).collect();
        text.push_str(&columns(&lines));
    }
    text.push_str("\nPlan\n");
    if story.plan.is_empty() {
        text.push_str("  nothing to do\n");
    }
    for step in &story.plan {
        for line in step.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text.push_str("\nnfdhcpd\n");
    match (&story.nfdhcpd, &story.nfdhcpd_error) {
        (Some(value), _) => nfdhcpd(&mut text, value),
        (None, error) => {
            let error = error.as_deref().unwrap_or_default();
            let _ = writeln!(text, "  does not answer: {error}");
        }
    }
    text
}

/// What the hooks said of an instance that has no TAP here.
#[must_use]
pub fn heard(heard: &Heard, now: u64) -> String {
    let mut text = format!("{}: no TAP on this node\n", heard.instance);
    hooks(&mut text, heard, now);
    text
}

fn hooks(text: &mut String, heard: &Heard, now: u64) {
    let ago = age(now.saturating_sub(heard.at));
    let _ = writeln!(text, "\nLast told by\n  {}, {ago} ago", heard.hook);
    let tags = if heard.tags.is_empty() {
        "none".to_owned()
    } else {
        heard.tags.join(" ")
    };
    let _ = writeln!(text, "  tags: {tags}");
    if let Some(primary) = &heard.primary {
        let _ = writeln!(text, "  runs on {primary}, {} NICs", heard.nics.len());
    }
}

fn device(text: &mut String, of: &Device) {
    let attached = match &of.bridge {
        Some(bridge) => format!("port of {bridge}"),
        None => "port of no bridge".to_owned(),
    };
    let state = if of.up { "up" } else { "down" };
    let used = if of.in_use { "in use" } else { "not in use" };
    let _ = writeln!(
        text,
        "\nDevice\n  ifindex {}, {attached}, {state}, {used}, {}, MTU {}",
        of.ifindex, of.address, of.mtu
    );
    let count = |name: &str| of.statistics.get(name).copied().unwrap_or_default();
    for (side, way) in [("from", "rx"), ("to", "tx")] {
        let _ = writeln!(
            text,
            "  {side} the VM: {} packets, {}, {} dropped",
            count(&format!("{way}_packets")),
            bytes(count(&format!("{way}_bytes"))),
            count(&format!("{way}_dropped"))
        );
    }
}

fn part(part: &Part) -> [String; 3] {
    let stands = if part.stands { "stands" } else { "MISSING" };
    [
        format!("  {}", part.kind),
        stands.to_owned(),
        part.what.clone(),
    ]
}

/// What nfdhcpd shows of a TAP.
fn nfdhcpd(text: &mut String, value: &Value) {
    let word = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or("-")
            .to_owned()
    };
    if let Some(error) = value.get("error").and_then(Value::as_str) {
        let _ = writeln!(text, "  {error}");
        return;
    }
    let list = |key| {
        value
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let _ = writeln!(text, "  binding {}", word(value, "standing"));
    for last in list("last") {
        let ago = last
            .get("ago_ms")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let (asked, outcome) = (word(last, "asked"), word(last, "outcome"));
        let _ = writeln!(text, "  {asked}, {} ago -> {outcome}", age(ago));
    }
    let counts = list("outcomes").map(|count| {
        let number = count
            .get("count")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        format!("{} {number}", word(count, "outcome"))
    });
    let counts: Vec<String> = counts.collect();
    if !counts.is_empty() {
        let _ = writeln!(text, "  counts: {}", counts.join(", "));
    }
    for why in list("why").filter_map(Value::as_str) {
        let _ = writeln!(text, "  why: {why}");
    }
}

/// The plan of a look: the steps of each TAP, as snf-ifup prints them, under a comment that says whose.
#[must_use]
pub fn plan(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let whose = finding.instance.as_deref().unwrap_or("-");
        let tap = &finding.tap;
        match &finding.standing {
            Standing::Sound | Standing::Left(_) => continue,
            Standing::Busy => {
                let _ = writeln!(text, "# {tap} {whose}: snf-ifup is at work on it");
            }
            Standing::Failed(reason) => {
                let _ = writeln!(text, "# {tap} {whose}: failed: {reason}");
            }
            Standing::Drifted => {
                let _ = writeln!(text, "# {tap} {whose}: put right");
            }
            Standing::Gone => {
                let _ = writeln!(text, "# {tap} {whose}: gone, take away what is left");
            }
        }
        for step in &finding.steps {
            let _ = writeln!(text, "{step}");
        }
    }
    text
}

/// Rows in aligned columns, two spaces apart.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_bytes_are_in_the_units_of_people() {
        for (milliseconds, shown) in [
            (0, "0.0 s"),
            (59_940, "59.9 s"),
            (60_000, "1 min 0 s"),
            (3_599_000, "59 min 59 s"),
            (7_260_000, "2 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(age(milliseconds), shown);
        }
        for (count, shown) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            (3 << 30, "3.0 GiB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
    }
}
