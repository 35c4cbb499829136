//! The original's configuration syntax: `[section]`, `key = value # comment`, values with or without quotes, lists with
//! commas.

use super::ImportError;

/// One `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Line number, from 1.
    pub(super) line: usize,
    /// The section it stands in; empty before the first.
    pub(super) section: String,
    /// The key.
    pub(super) key: String,
    /// The values, without quotes; a value without commas is a list of one, an empty value a list of none.
    pub(super) values: Vec<String>,
}

/// Reads all entries, in order.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, ImportError> {
    let mut section = String::new();
    let mut entries: Vec<Entry> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let wrong = |reason: &'static str| ImportError::Syntax { line, reason };
        if content.chars().any(|c| c.is_control() && c != '\t') {
            return Err(wrong("has a control character"));
        }
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if let Some(rest) = content.strip_prefix('[') {
            let (name, _) = rest.split_once(']').ok_or(wrong("has no ] behind its ["))?;
            name.trim().clone_into(&mut section);
            continue;
        }
        let (key, value) = content.split_once('=').ok_or(wrong("is not key = value"))?;
        let entry = Entry {
            line,
            section: section.clone(),
            key: key.trim().to_owned(),
            values: values(value).map_err(wrong)?,
        };
        if entries
            .iter()
            .any(|other| other.section == entry.section && other.key == entry.key)
        {
            return Err(wrong("gives a key for the second time"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn values(text: &str) -> Result<Vec<String>, &'static str> {
    let mut values = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() && !rest.starts_with('#') {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, behind) = match quote {
            Some(quote) => rest
                .split_at(1)
                .1
                .split_once(quote)
                .ok_or("has a quote that is not closed")?,
            None => {
                let end = rest.find([',', '#']).unwrap_or(rest.len());
                let (value, behind) = rest.split_at(end);
                (value.trim_end(), behind)
            }
        };
        values.push(value.to_owned());
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if behind.is_empty() || behind.starts_with('#') => "",
            None => return Err("has more behind a closing quote"),
        };
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted_and_split() {
        for (text, expected) in [
            ("", &[][..]),
            ("# nothing", &[]),
            ("a # comment", &["a"]),
            ("a b\t# comment", &["a b"]),
            ("a, b,c", &["a", "b", "c"]),
            ("a,", &["a"]),
            (",", &[""]),
            ("\"a, #b\", 'c' # comment", &["a, #b", "c"]),
            ("2001:db8::1", &["2001:db8::1"]),
        ] {
            assert_eq!(values(text).unwrap(), expected, "{text}");
        }
        assert!(values("\"a").is_err());
        assert!(values("\"a\" b").is_err());
    }

    #[test]
    fn entries_know_their_line_and_section() {
        let entries = entries("x=0\n# c\n[ one ]\na = 1\n\n[two] # more\na = 2\n").unwrap();
        let seen: Vec<_> = entries
            .iter()
            .map(|e| (e.line, e.section.as_str(), e.key.as_str()))
            .collect();
        assert_eq!(seen, [(1, "", "x"), (4, "one", "a"), (7, "two", "a")]);
    }

    #[test]
    fn what_is_no_entry_is_refused_with_its_line() {
        for text in ["\n[one", "\nword", "a=1\na=2", "\na=\"b", "\na=\x07"] {
            assert!(
                matches!(entries(text), Err(ImportError::Syntax { line: 2, .. })),
                "{text:?}"
            );
        }
    }
}
