//! What a machine has: to be compared before and after something that leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Links, addresses, rules, routes, mounts, files and names; by name, for the message.
///
/// # Errors
/// When a part cannot be read.
pub fn state() -> Result<BTreeMap<&'static str, String>> {
    let mut state = BTreeMap::new();
    for (name, arguments) in [
        ("links", "-j link"),
        ("addresses", "-j addr"),
        ("IPv4 rules", "-j -4 rule"),
        ("IPv6 rules", "-j -6 rule"),
        ("IPv4 routes", "-j -4 route show table all"),
        ("IPv6 routes", "-j -6 route show table all"),
    ] {
        let words: Vec<_> = arguments.split_whitespace().collect();
        let mut json: Value = serde_json::from_str(&run("ip", &words)?)?;
        without_clocks(&mut json);
        state.insert(name, json.to_string());
    }
    state.insert("nft rules", run("nft", &["-s", "list", "ruleset"])?);
    state.insert("mounts", fs::read_to_string("/proc/self/mounts")?);
    state.insert(
        "host name",
        fs::read_to_string("/proc/sys/kernel/hostname")?,
    );
    state.insert(
        "resolver",
        fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    );
    state.insert("/run", listing("/run")?);
    state.insert("/var/lib", listing("/var/lib")?);
    state.insert(
        "named namespaces",
        listing("/run/netns").unwrap_or_default(),
    );
    Ok(state)
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .context(program.to_owned())?;
    ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn listing(directory: &str) -> Result<String> {
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    // Labs come and go; each test of one looks for its own folder.
    names.retain(|name| name != "snf-lab");
    names.sort();
    Ok(format!("{names:?}"))
}

/// Takes out what changes by itself.
fn without_clocks(json: &mut Value) {
    if let Some(object) = json.as_object_mut() {
        object.retain(|key, _| !key.ends_with("life_time") && key != "expires");
        object.values_mut().for_each(without_clocks);
    } else if let Some(list) = json.as_array_mut() {
        list.iter_mut().for_each(without_clocks);
    }
}
