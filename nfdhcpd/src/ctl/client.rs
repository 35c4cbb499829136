//! The asker's end of the control socket: JSON for machines as it comes, tables for people.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use super::Request;
use super::report::{Health, Row, Show, TraceLine};

/// What went wrong with asking.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or we may not ask.
    #[error("connect to {} (is nfdhcpd running?)", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke.
    #[error("ask the daemon")]
    Ask(#[source] io::Error),
    /// The answer is of another version.
    #[error("read the daemon's answer")]
    Answer(#[source] serde_json::Error),
    /// The daemon refuses.
    #[error("{0}")]
    Refused(String),
    /// Not all is well.
    #[error("nfdhcpd is not well")]
    Unhealthy,
}

/// Asks, and writes the answer to `out`, as JSON if `json`.
///
/// # Errors
/// When the daemon cannot be asked, refuses, or says that it is not well.
pub fn ask(
    socket: &Path,
    request: &Request,
    json: bool,
    out: &mut impl io::Write,
) -> Result<(), ClientError> {
    let connected = UnixStream::connect(socket);
    let mut stream = connected.map_err(|source| ClientError::Connect {
        path: socket.to_owned(),
        source,
    })?;
    let mut line = serde_json::to_string(request).map_err(ClientError::Answer)?;
    line.push('\n');
    stream
        .write_all(line.as_bytes())
        .map_err(ClientError::Ask)?;
    if matches!(request, Request::Trace { .. }) {
        return follow(stream, json, out);
    }
    stream.shutdown(Shutdown::Write).map_err(ClientError::Ask)?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .map_err(ClientError::Ask)?;
    refusal(&answer)?;
    let text = if json {
        answer.clone()
    } else {
        table(request, &answer)?
    };
    out.write_all(text.as_bytes()).map_err(ClientError::Ask)?;
    if *request == Request::Health && !parse::<Health>(&answer)?.ok {
        return Err(ClientError::Unhealthy);
    }
    Ok(())
}

fn parse<'a, T: serde::Deserialize<'a>>(answer: &'a str) -> Result<T, ClientError> {
    serde_json::from_str(answer).map_err(ClientError::Answer)
}

fn refusal(answer: &str) -> Result<(), ClientError> {
    let value: Value = parse(answer)?;
    match value.get("error").and_then(Value::as_str) {
        Some(error) => Err(ClientError::Refused(error.to_owned())),
        None => Ok(()),
    }
}

fn follow(stream: UnixStream, json: bool, out: &mut impl io::Write) -> Result<(), ClientError> {
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(ClientError::Ask)?;
        refusal(&line)?;
        let text = match serde_json::from_str::<TraceLine>(&line) {
            Ok(packet) if !json => packet_line(&packet),
            _ => line,
        };
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        if written.is_err() {
            return Ok(()); // nobody reads any more
        }
    }
    Ok(())
}

fn packet_line(packet: &TraceLine) -> String {
    let TraceLine {
        at_ms,
        from,
        asked,
        outcome,
        took_us,
        ..
    } = packet;
    let from = from.as_deref().unwrap_or("-");
    format!(
        "{:>10.3}  {from}  {asked} -> {outcome}  ({took_us:.0} µs)",
        *at_ms as f64 / 1000.0
    )
}

fn table(request: &Request, answer: &str) -> Result<String, ClientError> {
    Ok(match request {
        Request::List => list(&parse::<Vec<Row>>(answer)?),
        Request::Show { .. } => show(&parse::<Show>(answer)?),
        Request::Health => health(&parse::<Health>(answer)?),
        Request::Stats => stats(&parse::<Value>(answer)?),
        Request::Trace { .. } => answer.to_owned(),
    })
}

fn list(rows: &[Row]) -> String {
    let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| String::from("-"));
    let mut lines = vec![
        [
            "TAP", "STANDING", "IFINDEX", "BRIDGE", "MAC", "IP", "IP6", "ANSWERED", "IGNORED",
        ]
        .map(String::from),
    ];
    lines.extend(rows.iter().map(|row| {
        [
            row.tap.clone(),
            row.standing.clone(),
            row.ifindex
                .map_or_else(|| String::from("-"), |index| index.to_string()),
            dash(&row.bridge),
            dash(&row.mac),
            dash(&row.ip),
            dash(&row.ip6),
            row.answered.to_string(),
            row.ignored.to_string(),
        ]
    }));
    columns(&lines)
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

fn show(show: &Show) -> String {
    let row = &show.row;
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<9} {value}");
    };
    line("tap", &row.tap);
    line("binding", &format!("{} ({})", row.standing, show.file));
    if let Some(index) = row.ifindex {
        let attached = match &row.bridge {
            Some(bridge) => format!("port of {bridge}"),
            None => String::from("routed"),
        };
        let state = if show.up { "up" } else { "down" };
        line("device", &format!("ifindex {index}, {attached}, {state}"));
    }
    for (key, value) in [("mac", &row.mac), ("ip", &row.ip), ("ip6", &row.ip6)] {
        if let Some(value) = value {
            line(key, value);
        }
    }
    for last in &show.last {
        let ago = last.ago_ms as f64 / 1000.0;
        line(
            "asked",
            &format!("{} {ago:.3} s ago -> {}", last.asked, last.outcome),
        );
    }
    let counts = show
        .outcomes
        .iter()
        .map(|count| format!("{} {}", count.outcome, count.count));
    let counts: Vec<String> = counts.collect();
    if !counts.is_empty() {
        line("counts", &counts.join(", "));
    }
    for why in &show.why {
        line("why", why);
    }
    text
}

fn health(health: &Health) -> String {
    let word = if health.ok { "well" } else { "not well" };
    let mut text = format!(
        "nfdhcpd {} is {word}, {} TAPs are served\n",
        health.version, health.bindings
    );
    for problem in &health.problems {
        let _ = writeln!(text, "  {problem}");
    }
    text
}

/// Each figure on a line; those that are 0 are left out.
fn stats(value: &Value) -> String {
    let mut lines = Vec::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Array(rows) => lines.extend(rows.iter().filter_map(|row| stats_row(key, row))),
            Value::Number(number) => lines.push([key.clone(), number.to_string()]),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => {}
        }
    }
    columns(&lines)
}

fn stats_row(key: &str, row: &Value) -> Option<[String; 2]> {
    let row = row.as_object()?;
    let words: Vec<&str> = row.values().filter_map(Value::as_str).collect();
    let numbers = row.iter().filter(|(_, value)| value.is_number());
    let numbers: Vec<String> = match row.get("count") {
        Some(count) if count.as_u64() == Some(0) => return None,
        Some(count) => vec![count.to_string()],
        None => numbers
            .map(|(name, value)| format!("{name} {value}"))
            .collect(),
    };
    Some([format!("{key} {}", words.join(" ")), numbers.join(", ")])
}
