//! What stands on a node because of its VMs: to be compared before and after something that leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Place;

/// What `ip` tells of.
const OF_IP: [(&str, &str); 9] = [
    ("links", "-d link"),
    ("addresses", "addr"),
    ("IPv4 rules", "-4 rule"),
    ("IPv6 rules", "-6 rule"),
    ("IPv4 routes", "-4 route show table all"),
    ("IPv6 routes", "-6 route show table all"),
    ("IPv4 proxies", "-4 neigh show proxy"),
    ("IPv6 proxies", "-6 neigh show proxy"),
    ("rules of multicast", "-4 mrule"),
];

/// Where our programs keep files about NICs.
const DIRECTORIES: [&str; 3] = ["/var/lib/nfdhcpd", "/run/snf-ifup", HEARD];

/// Where the agent keeps what hooks said of instances.
pub const HEARD: &str = "/var/lib/snf-agent/instances";

/// What changes by itself, or is given out anew each time, by its key.
const PASSING: [&str; 8] = [
    "expires",
    "valid_life_time",
    "preferred_life_time",
    "handle",
    "message_age_timer",
    "hello_timer",
    "gc_timer",
    "packets",
];

/// The whole: links, addresses, rules, routes, proxies, nftables and our programs' files, a part each.
///
/// # Errors
/// When a part cannot be read.
pub fn whole(node: &Place) -> Result<BTreeMap<String, String>> {
    let mut parts = BTreeMap::new();
    for (name, words) in OF_IP {
        let words = format!("-j {words}");
        let told = node.run("ip", &words.split(' ').collect::<Vec<_>>())?;
        // It tells nothing where there is nothing.
        if !told.trim().is_empty() {
            parts.insert(name.to_owned(), lines(&told)?);
        }
    }
    let rules = node.run("nft", &["-j", "-s", "list", "ruleset"])?;
    let rules: Value = serde_json::from_str(&rules)?;
    let rules = rules.get("nftables").cloned().unwrap_or_default();
    parts.insert("nftables".to_owned(), lines(&rules.to_string())?);
    for directory in DIRECTORIES {
        let mut text = String::new();
        files(&node.path(directory), "", &mut text)?;
        parts.insert(directory.to_owned(), text);
    }
    Ok(parts)
}

/// What of `now` is not as it `was`, for people; nothing if all is.
#[must_use]
pub fn differences(was: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for name in was
        .keys()
        .chain(now.keys().filter(|n| !was.contains_key(*n)))
    {
        let (before, after) = (of(was, name), of(now, name));
        let gone = before.iter().filter(|line| !after.contains(line));
        let new = after.iter().filter(|line| !before.contains(line));
        let shown = gone.map(|line| format!("{name}: - {line}\n"));
        text.extend(shown.chain(new.map(|line| format!("{name}: + {line}\n"))));
    }
    text
}

fn of<'a>(parts: &'a BTreeMap<String, String>, name: &str) -> Vec<&'a str> {
    parts
        .get(name)
        .map_or_else(Vec::new, |part| part.lines().collect())
}

/// A list as JSON has it, a line for each, without what passes.
fn lines(json: &str) -> Result<String> {
    let mut list: Value = serde_json::from_str(json).with_context(|| json.to_owned())?;
    settle(&mut list);
    let list = list.as_array().context("a list")?;
    let mut lines: Vec<String> = list.iter().map(Value::to_string).collect();
    lines.sort();
    Ok(lines.join("\n"))
}

fn settle(json: &mut Value) {
    if let Some(object) = json.as_object_mut() {
        // Elements that the kernel lets expire are counts of packets.
        let expires = object.contains_key("timeout");
        let passes = |key: &str| PASSING.contains(&key) || (expires && key == "elem");
        object.retain(|key, _| !passes(key));
        object.values_mut().for_each(settle);
    } else if let Some(list) = json.as_array_mut() {
        list.iter_mut().for_each(settle);
        // Elements of a set come in no order.
        if list.iter().all(|one| one.is_string() || one.is_object()) {
            list.sort_by_key(Value::to_string);
        }
    }
}

/// Names and contents of the files below a directory, a line each.
fn files(directory: &Path, below: &str, text: &mut String) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names {
        let (path, shown) = (directory.join(&name), format!("{below}/{name}"));
        if path.is_dir() {
            files(&path, &shown, text)?;
        } else {
            let content = fs::read_to_string(&path).unwrap_or_default();
            text.push_str(&format!("{shown}: {content:?}\n"));
        }
    }
    Ok(())
}
