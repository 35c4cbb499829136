//! The page that `--into` puts the figures into.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The lines the figures stand between.
const FIGURES: &str = "<!-- figures -->";
const END_OF_FIGURES: &str = "<!-- end of figures -->";

/// A page with a place for figures, open: whatever is at its path by the time they are known.
#[derive(Debug)]
pub(crate) struct Page {
    path: PathBuf,
    file: File,
}

impl Page {
    /// Opens the page and looks for its two lines.
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
                     \"{FIGURES}\" and \"{END_OF_FIGURES}\"",
                    path.display()
                )
            })?;
        let mut page = Self {
            path: path.to_owned(),
            file,
        };
        page.with("").map(|_| page)
    }

    /// Puts the figures into the page as it is now.
    ///
    /// # Errors
    /// It cannot be read and written, or has no place for figures any more.
    pub(crate) fn put(mut self, figures: &str) -> Result<()> {
        let text = self.with(figures)?;
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.set_len(0))
            .and_then(|()| self.file.write_all(text.as_bytes()));
        written.with_context(|| format!("--into {}: write", self.path.display()))
    }

    /// The page with these figures.
    fn with(&mut self, figures: &str) -> Result<String> {
        let path = self.path.display();
        let mut text = String::new();
        self.file
            .rewind()
            .and_then(|()| self.file.read_to_string(&mut text))
            .with_context(|| format!("--into {path}: read"))?;
        replaced(&text, figures).with_context(|| {
            format!(
                "--into {path}: no place for figures: wanted are the line \"{FIGURES}\" and, below it, the line \
                 \"{END_OF_FIGURES}\""
            )
        })
    }
}

/// A page with other figures between its two lines.
fn replaced(page: &str, figures: &str) -> Option<String> {
    let line = |wanted: &str, text: &str| {
        let mut offset = 0;
        for line in text.split_inclusive('\n') {
            if line.trim_end() == wanted {
                return Some((offset, offset + line.len()));
            }
            offset += line.len();
        }
        None
    };
    let (_, start) = line(FIGURES, page)?;
    let (before, rest) = page.split_at_checked(start)?;
    let (end, _) = line(END_OF_FIGURES, rest)?;
    let after = rest.get(end..)?;
    Some(format!("{before}\n{}\n\n{after}", figures.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "Between `<!-- figures -->` and its end:\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n";

    #[test]
    fn figures_are_replaced_between_their_lines() {
        let new = PAGE.replace("old\n", "\nnew\n\n");
        assert_eq!(replaced(PAGE, "new\n").as_ref(), Some(&new));
        assert_eq!(replaced(&new, "new"), Some(new), "twice changes nothing");
        for none in [
            "no place",
            "<!-- figures -->\n",
            "<!-- end of figures -->\n<!-- figures -->\n",
            "in <!-- figures --> a line <!-- end of figures -->\n",
        ] {
            assert_eq!(replaced(none, "new"), None, "{none:?}");
        }
    }

    #[test]
    fn a_page_is_written_as_it_is_by_then() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page.md");
        std::fs::write(&path, PAGE).unwrap();
        let page = Page::open(&path).unwrap();
        let grown = PAGE.replace("after", "and much, much more than there was");
        std::fs::write(&path, &grown).unwrap();
        page.put("new").unwrap();
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
            for part in [&path.display().to_string(), FIGURES, END_OF_FIGURES] {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
