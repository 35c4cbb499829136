//! The page that `--into` puts the figures into.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The lines the figures stand between; the first may name questions: `<!-- figures: delay replay -->`.
const FIGURES: &str = "<!-- figures";
const END_OF_COMMENT: &str = "-->";
const END_OF_FIGURES: &str = "<!-- end of figures -->";

/// A page with places for figures, open: whatever is at its path by the time they are known.
#[derive(Debug)]
pub(crate) struct Page {
    path: PathBuf,
    file: File,
}

/// Which figures belong in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Of {
    /// Those of the questions its first line names.
    These(Vec<String>),
    /// Those that no other place of the page names.
    AllBut(Vec<String>),
}

impl Of {
    /// Whether a question's figures belong here.
    pub(crate) fn takes(&self, question: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|name| name == question);
        match self {
            Self::These(list) => names(list),
            Self::AllBut(list) => !names(list),
        }
    }
}

impl Page {
    /// Opens the page and looks for its lines.
    ///
    /// # Errors
    /// It cannot be read and written, or has no place for figures; says what it has to be.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| {
                format!(
                    "--into {}: has to be a page that can be read and written, with the lines \
                     \"{FIGURES} {END_OF_COMMENT}\" and \"{END_OF_FIGURES}\"",
                    path.display()
                )
            })?;
        let mut page = Self {
            path: path.to_owned(),
            file,
        };
        page.with(|_| None).map(|_| page)
    }

    /// Puts the figures into the page as it is now: into each place what `figures` gives for it; nothing leaves it as it is.
    ///
    /// # Errors
    /// It cannot be read and written, or has no place for figures any more.
    pub(crate) fn put(mut self, figures: impl FnMut(&Of) -> Option<String>) -> Result<()> {
        let text = self.with(figures)?;
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.set_len(0))
            .and_then(|()| self.file.write_all(text.as_bytes()));
        written.with_context(|| format!("--into {}: write", self.path.display()))
    }

    /// The page with these figures.
    fn with(&mut self, figures: impl FnMut(&Of) -> Option<String>) -> Result<String> {
        let path = self.path.display();
        let mut text = String::new();
        self.file
            .rewind()
            .and_then(|()| self.file.read_to_string(&mut text))
            .with_context(|| format!("--into {path}: read"))?;
        replaced(&text, figures).with_context(|| {
            format!(
                "--into {path}: no place for figures: wanted are the line \"{FIGURES} {END_OF_COMMENT}\" and, below \
                 it, the line \"{END_OF_FIGURES}\""
            )
        })
    }
}

/// A page with other figures between its lines; nothing when it has no place for them.
fn replaced(page: &str, mut figures: impl FnMut(&Of) -> Option<String>) -> Option<String> {
    let named: Vec<String> = page
        .lines()
        .filter_map(names)
        .flat_map(|names| names.split_whitespace().map(str::to_owned))
        .collect();
    let mut text = String::new();
    let mut rest = page;
    let mut places = 0;
    while let Some((before, names, behind)) = split_at_line(rest, names) {
        let (old, _, _) = split_at_line(behind, |line| (line == END_OF_FIGURES).then_some(""))?;
        let of = if names.is_empty() {
            Of::AllBut(named.clone())
        } else {
            Of::These(names.split_whitespace().map(str::to_owned).collect())
        };
        text.push_str(before);
        match figures(&of) {
            Some(new) => text.push_str(&format!("\n{}\n\n", new.trim())),
            None => text.push_str(old),
        }
        rest = behind.get(old.len()..)?;
        places += 1;
    }
    text.push_str(rest);
    (places > 0).then_some(text)
}

/// The questions a place's first line names, if it is one.
fn names(line: &str) -> Option<&str> {
    let inside = line.trim_end().strip_prefix(FIGURES)?;
    let inside = inside.strip_suffix(END_OF_COMMENT)?.trim_end();
    match inside.strip_prefix(':') {
        Some(names) => Some(names.trim()),
        None => inside.is_empty().then_some(""),
    }
}

/// What is before and up to the end of the first line that is `wanted`, what that found in it, and what is behind; for a
/// line that ends a place, what is before it alone.
fn split_at_line<'a>(
    text: &'a str,
    wanted: impl Fn(&'a str) -> Option<&'a str>,
) -> Option<(&'a str, &'a str, &'a str)> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if let Some(found) = wanted(line.trim_end()) {
            let is_end = line.trim_end() == END_OF_FIGURES;
            let (before, behind) =
                text.split_at_checked(offset + if is_end { 0 } else { line.len() })?;
            return Some((before, found, behind));
        }
        offset += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "Between `<!-- figures -->` and its end:\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n";

    fn new(text: &str) -> impl FnMut(&Of) -> Option<String> {
        move |_| Some(text.to_owned())
    }

    #[test]
    fn figures_are_replaced_between_their_lines() {
        let changed = PAGE.replace("old\n", "\nnew\n\n");
        assert_eq!(replaced(PAGE, new("new\n")).as_ref(), Some(&changed));
        assert_eq!(
            replaced(&changed, new("new")),
            Some(changed),
            "twice changes nothing"
        );
        assert_eq!(replaced(PAGE, |_| None).as_deref(), Some(PAGE));
        for none in [
            "no place",
            "<!-- figures -->\n",
            "<!-- end of figures -->\n<!-- figures -->\n",
            "in <!-- figures --> a line <!-- end of figures -->\n",
        ] {
            assert_eq!(replaced(none, new("new")), None, "{none:?}");
        }
    }

    #[test]
    fn a_place_takes_what_it_names_and_the_other_the_rest() {
        let page = format!("{PAGE}<!-- figures: b c -->\nolder\n<!-- end of figures -->\n");
        let only_b = |of: &Of| of.takes("b").then(|| String::from("new"));
        let changed = page.replace("older\n", "\nnew\n\n");
        assert_eq!(replaced(&page, only_b), Some(changed));
        let only_a = |of: &Of| of.takes("a").then(|| String::from("new"));
        let changed = page.replace("old\n", "\nnew\n\n");
        assert_eq!(replaced(&page, only_a), Some(changed));
    }

    #[test]
    fn a_page_is_written_as_it_is_by_then() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page.md");
        std::fs::write(&path, PAGE).unwrap();
        let page = Page::open(&path).unwrap();
        let grown = PAGE.replace("after", "and much, much more than there was");
        std::fs::write(&path, &grown).unwrap();
        page.put(new("new")).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, grown.replace("old\n", "\nnew\n\n"));
    }

    #[test]
    fn a_wrong_page_is_refused_with_what_would_be_right() {
        let directory = tempfile::tempdir().unwrap();
        let blank = directory.path().join("blank.md");
        std::fs::write(&blank, "no place\n").unwrap();
        for path in [directory.path(), &directory.path().join("none.md"), &blank] {
            let error = format!("{:#}", Page::open(path).unwrap_err());
            for part in [
                &path.display().to_string(),
                "<!-- figures -->",
                END_OF_FIGURES,
            ] {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
