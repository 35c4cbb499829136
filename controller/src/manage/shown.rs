//! What a verb shows: to people as a table, to machines as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Things of one kind.
    Table {
        /// What is told of each.
        columns: &'static [&'static str],
        /// Each with as many values.
        rows: Vec<Vec<Value>>,
    },
    /// One thing.
    Fields(Vec<(&'static str, Value)>),
    /// A text, and the same for machines.
    Text {
        /// Lines.
        lines: Vec<String>,
        /// For machines.
        json: Value,
    },
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::from("-"),
        Value::String(text) => text.clone(),
        Value::Bool(true) => String::from("yes"),
        Value::Bool(false) => String::from("no"),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

impl Shown {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Table { columns, rows } => {
                let head = columns.iter().map(|name| name.to_uppercase());
                let mut lines: Vec<Vec<String>> = vec![head.collect()];
                lines.extend(rows.iter().map(|row| row.iter().map(plain).collect()));
                let width = |at: usize| {
                    let cells = lines.iter().filter_map(|line| line.get(at));
                    cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
                };
                let widths: Vec<usize> = (0..columns.len()).map(width).collect();
                for line in &lines {
                    let cells = line.iter().zip(&widths);
                    let cells: Vec<String> = cells
                        .map(|(cell, width)| format!("{cell:<width$}"))
                        .collect();
                    // Writing into a string does not fail.
                    let _ = writeln!(text, "{}", cells.join("  ").trim_end());
                }
            }
            Self::Fields(fields) => {
                let width = fields.iter().map(|(name, _)| name.len()).max();
                let width = width.unwrap_or(0) + 1;
                for (name, value) in fields {
                    let name = format!("{name}:");
                    let _ = writeln!(text, "{name:<width$} {}", plain(value));
                }
            }
            Self::Text { lines, .. } => {
                for line in lines {
                    let _ = writeln!(text, "{line}");
                }
            }
        }
        text
    }

    /// For machines: a list of objects, or one.
    #[must_use]
    pub fn json(&self) -> String {
        let value = match self {
            Self::Table { columns, rows } => {
                let object = |row: &Vec<Value>| {
                    let members = columns.iter().zip(row);
                    let members = members.map(|(name, value)| ((*name).to_owned(), value.clone()));
                    Value::Object(members.collect::<Map<_, _>>())
                };
                Value::Array(rows.iter().map(object).collect())
            }
            Self::Fields(fields) => {
                let members = fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone()));
                Value::Object(members.collect::<Map<_, _>>())
            }
            Self::Text { json, .. } => json.clone(),
        };
        format!("{value:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_json_has_their_names() {
        let table = Shown::Table {
            columns: &["id", "name"],
            rows: vec![
                vec![json!(1), json!("ä long one")],
                vec![json!(10), Value::Null],
            ],
        };
        assert_eq!(table.text(), "ID  NAME\n1   ä long one\n10  -\n");
        let read: Value = serde_json::from_str(&table.json()).unwrap();
        assert_eq!(
            read,
            json!([{"id": 1, "name": "ä long one"}, {"id": 10, "name": null}])
        );
    }

    #[test]
    fn one_thing_is_a_list_of_its_fields() {
        let shown = Shown::Fields(vec![("id", json!(1)), ("drained", json!(true))]);
        assert_eq!(shown.text(), "id:      1\ndrained: yes\n");
        let read: Value = serde_json::from_str(&shown.json()).unwrap();
        assert_eq!(read, json!({"id": 1, "drained": true}));
    }
}
