//! `docs/binding.md` is true: every example is read, every key is in it, every refusal is worded as it says.

use std::collections::BTreeSet;

use nfdhcpd_binding::Binding;

const PAGE: &str = include_str!("../../docs/binding.md");

/// The texts of the page's fenced blocks of one kind.
fn blocks(kind: &str) -> Vec<String> {
    let fence = format!("\n```{kind}\n");
    let blocks = PAGE.split(&fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// The example `KEY=value` of each row of the tables of keys.
fn examples() -> Vec<String> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let example = |row: &str| {
        let cell = row.split(" | ").nth(2)?.trim();
        Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned())
    };
    rows.map(|row| example(row).unwrap_or_else(|| format!("no example in {row}")))
        .collect()
}

fn keys(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        .collect()
}

#[test]
fn every_file_on_the_page_is_read_without_a_warning() {
    let files = blocks("ini");
    assert!(files.len() >= 4);
    for text in files {
        let file =
            Binding::read_bytes(text.as_bytes()).unwrap_or_else(|error| panic!("{text}{error}"));
        assert_eq!(file.ignored, [], "{text}");
    }
}

#[test]
fn every_example_is_read_and_all_of_them_together_are_one_binding() {
    let examples = examples();
    for example in &examples {
        let text = format!("MAC=aa:00:00:51:ad:bc\n{example}\n");
        Binding::parse(&text).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
    let all = format!("{}\n", examples.join("\n"));
    let file = Binding::read_bytes(all.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(file.ignored, []);
    assert_eq!(
        Binding::read_bytes(file.binding.to_file().unwrap().as_bytes())
            .unwrap()
            .binding,
        file.binding
    );
}

/// A key we write and a key the page explains are the same set.
#[test]
fn every_key_has_a_row() {
    let page = keys(&examples().join("\n"));
    let all = format!("{}\nMACSPOOF=yes\nPRIVATE=yes\n", examples().join("\n"));
    let mut written = keys(&all.parse::<Binding>().unwrap().to_string());
    written.extend(["BRIDGE".to_owned(), "IFACE".to_owned()]);
    assert_eq!(page, written);
}

#[test]
fn every_refusal_is_worded_as_on_the_page() {
    let refusals = blocks("refused");
    assert!(refusals.len() >= 5);
    for block in refusals {
        let (text, message) = block
            .split_once("=> ")
            .expect("a block says the message behind =>");
        let error = Binding::read_bytes(text.as_bytes()).expect_err(text);
        assert_eq!(error.to_string(), message.trim_end());
    }
}
