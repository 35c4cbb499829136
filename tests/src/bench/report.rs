//! What was found out: tables for people (Markdown), one object for machines (JSON).

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::machine::Machine;
use super::stats::Spread;

/// One question's answer.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    /// As selected on the command line.
    pub(crate) name: &'static str,
    /// What was measured, one sentence.
    pub(crate) title: String,
    #[serde(skip)]
    pub(crate) columns: Vec<&'static str>,
    #[serde(skip)]
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) targets: Vec<Target>,
    /// What must not happen, counted.
    pub(crate) faults: Faults,
    /// The figures behind the table.
    pub(crate) figures: Value,
}

/// What must not happen.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Faults {
    /// Exchanges nfdhcpd did not complete; events that did not arrive.
    pub(crate) lost: u64,
    /// Answers of nfdhcpd with another VM's address; TAPs of snf-agent that do not stand as they were made.
    pub(crate) wrong: u64,
    /// DHCPNAKs nobody deserved.
    pub(crate) nak: u64,
    /// Requests that reached the LAN.
    pub(crate) leaked: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, more: Self) {
        self.lost += more.lost;
        self.wrong += more.wrong;
        self.nak += more.nak;
        self.leaked += more.leaked;
    }
}

/// A promise, and whether it is kept.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    /// What it is about.
    pub(crate) about: String,
    /// As "≤ 1.3 × the floor's".
    pub(crate) wanted: String,
    /// As measured.
    pub(crate) measured: String,
    /// Whether it is kept.
    pub(crate) met: bool,
}

/// A bound of a target.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    /// The median has to keep the bound.
    pub(crate) fn new(about: impl Into<String>, bound: Bound, unit: &str, found: Spread) -> Self {
        let (sign, limit, met) = match bound {
            Bound::AtMost(limit) => ("≤", limit, found.median <= limit),
            Bound::AtLeast(limit) => ("≥", limit, found.median >= limit),
        };
        let wanted = format!("{sign} {} {unit}", number(limit));
        Self {
            about: about.into(),
            wanted,
            measured: spread(found),
            met,
        }
    }

    /// Nothing of it may happen.
    pub(crate) fn none(about: impl Into<String>, count: u64) -> Self {
        let (wanted, measured) = ("0".to_owned(), count.to_string());
        Self {
            about: about.into(),
            wanted,
            measured,
            met: count == 0,
        }
    }
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    pub(crate) seconds: u64,
    pub(crate) faults: Faults,
    pub(crate) sections: Vec<Section>,
}

impl Report {
    /// Tables of the sections that `of` takes, by their names; nothing when there is none.
    pub(crate) fn markdown(&self, of: impl Fn(&str) -> bool) -> Option<String> {
        let sections = self.sections.iter().filter(|section| of(section.name));
        let sections: Vec<&Section> = sections.collect();
        // Writing to a string does not fail.
        (!sections.is_empty()).then(|| self.tables(&sections).unwrap_or_default())
    }

    fn tables(&self, sections: &[&Section]) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        writeln!(out, "{}\n", self.machine)?;
        writeln!(out, "`{}`, {} s.\n", self.command, self.seconds)?;
        let targets = sections.iter().flat_map(|section| &section.targets);
        let rows: Vec<Vec<String>> = targets
            .map(|target| {
                let met = if target.met { "yes" } else { "**no**" }.to_owned();
                vec![
                    target.about.clone(),
                    target.wanted.clone(),
                    target.measured.clone(),
                    met,
                ]
            })
            .collect();
        writeln!(out, "### Targets\n")?;
        table(
            &mut out,
            &["Target", "wanted", "measured: median [min, max]", "met"],
            &rows,
        )?;
        for section in sections {
            writeln!(out, "### `{}`\n\n{}\n", section.name, section.title)?;
            table(&mut out, &section.columns, &section.rows)?;
        }
        Ok(out)
    }
}

fn table(out: &mut String, columns: &[&str], rows: &[Vec<String>]) -> std::fmt::Result {
    let width = |place: usize, title: &str| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(place))
            .map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(title.chars().count())
    };
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(place, title)| width(place, title))
        .collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        for (cell, width) in cells.zip(&widths) {
            write!(out, "| {cell:width$} ")?;
        }
        writeln!(out, "|")
    };
    line(&mut columns.iter().copied())?;
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    line(&mut rules.iter().map(String::as_str))?;
    for row in rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    writeln!(out)
}

/// Three significant digits, more for large numbers; nothing of what was not measured.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        none if none.is_nan() => String::new(),
        0.0 => "0".to_owned(),
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// "median [min, max]"; nothing of what was not measured.
pub(crate) fn spread(found: Spread) -> String {
    if found.median.is_nan() {
        return String::new();
    }
    format!(
        "{} [{}, {}]",
        number(found.median),
        number(found.min),
        number(found.max)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_holds_by_its_median() {
        let found = Spread {
            median: 1.25,
            min: 1.0,
            max: 1.5,
        };
        let target = Target::new("latency", Bound::AtMost(1.3), "× the floor's", found);
        assert!(target.met);
        assert_eq!(target.wanted, "≤ 1.30 × the floor's");
        assert_eq!(target.measured, "1.25 [1, 1.50]");
        assert!(!Target::new("rate", Bound::AtLeast(1.3), "", found).met);
        assert!(!Target::none("frames on the LAN", 1).met);
    }

    /// As with `--only`, where there is nothing to compare with.
    #[test]
    fn what_was_not_measured_is_left_blank() {
        let nothing = Spread {
            median: f64::NAN,
            min: f64::NAN,
            max: f64::NAN,
        };
        assert_eq!((number(f64::NAN), spread(nothing)), Default::default());
    }

    #[test]
    fn tables_line_up() {
        let mut out = String::new();
        table(&mut out, &["a", "bb"], &[vec!["ccc".into(), "≤".into()]]).expect("a table");
        assert_eq!(out, "| a   | bb |\n| --- | -- |\n| ccc | ≤  |\n\n");
    }
}
