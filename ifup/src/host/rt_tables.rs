//! Names of routing tables, as iproute2 keeps them.

use std::path::{Path, PathBuf};

/// What iproute2 knows without a file.
pub(super) const BUILT_IN: &str = "254 main\n253 default\n";

/// The files that may name tables, in the order they are asked: the operator's first. `rt_tables.d` is read in the order
/// of names.
pub(super) fn files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/iproute2/rt_tables")];
    let directory = Path::new("/etc/iproute2/rt_tables.d");
    let mut dropped: Vec<PathBuf> = directory
        .read_dir()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .collect();
    dropped.sort();
    files.append(&mut dropped);
    files.push("/usr/share/iproute2/rt_tables".into());
    files.push("/usr/lib/iproute2/rt_tables".into());
    files
}

/// The number that `name` has in a file's text: lines of number and name, `#` begins a comment. The kernel's own tables,
/// 0 and 255, are never found.
pub(super) fn find(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let number = words.next()?;
        (words.next()? == name).then_some(())?;
        let number = match number.strip_prefix("0x") {
            Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
            None => number.parse().ok()?,
        };
        (number != 0 && number != 255).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_beside_comments_and_in_hexadecimal() {
        let text = "#\n# reserved\n255\tlocal\n254 main # x\n79 rt79\n  0x5a rt90\n#80 rt80\nx y\n";
        for (name, id) in [
            ("main", Some(254)),
            ("rt79", Some(79)),
            ("rt90", Some(90)),
            ("rt80", None),
            ("local", None),
        ] {
            assert_eq!(find(text, name), id, "{name}");
        }
    }
}
