//! The rules as text, for `nfdhcpd rules show`: what should be there, what is, and where they differ.

use std::fmt::Write;

use snf_nft::{Error, Set, Socket};

use super::plan::{Queueing, Settings, TablePlan, tables};
use super::{RulesError, probe, tap};

/// Both tables as `nft` would write them, with the elements and counters that the kernel has. A comment says where the
/// kernel has other rules than these settings make.
///
/// # Errors
/// When the kernel does not list what it has.
pub fn show(settings: &Settings) -> Result<String, RulesError> {
    let mut socket = Socket::open().map_err(RulesError::Nftables)?;
    let queueing = probe(&mut socket)?;
    let mut text = String::new();
    for plan in tables(settings, queueing) {
        let shown = show_table(&mut socket, &plan, queueing).map_err(RulesError::Nftables)?;
        text.push_str(&shown);
    }
    Ok(text)
}

fn show_table(socket: &mut Socket, plan: &TablePlan, queueing: Queueing) -> Result<String, Error> {
    let mut text = String::new();
    let there = socket.has_table(&plan.table)?;
    let chains = socket.chains(&plan.table)?;
    let counters = socket.counters(&plan.table)?;
    let state = match (there, queueing) {
        (false, _) => "not in the kernel",
        (true, Queueing::Native) => "in the kernel; queues by the nft expression",
        (true, Queueing::Target) => "in the kernel; queues by the xtables target NFQUEUE",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "table {} {{ # {state}", plan.table);
    if plan.owned {
        text.push_str("\tflags owner\n");
    }
    for counter in &plan.counters {
        let found = counters.iter().find(|found| found.name == *counter);
        let (packets, bytes) = found.map_or((0, 0), |found| (found.packets, found.bytes));
        let _ = writeln!(
            text,
            "\tcounter {counter} {{ packets {packets} bytes {bytes} }}"
        );
    }
    for set in &plan.sets {
        show_set(socket, plan, set, &mut text)?;
    }
    for (chain, rules) in &plan.chains {
        let found = chains
            .iter()
            .find(|found| found.chain == chain.name)
            .map(|c| c.rules);
        let difference = match found {
            Some(count) if count == rules.len() => String::new(),
            Some(count) => format!(" # the kernel has {count} of {} rules", rules.len()),
            None if there => " # the kernel lacks this chain".to_owned(),
            None => String::new(),
        };
        let _ = writeln!(text, "\n\tchain {} {{{difference}", chain.name);
        if let Some((hook, priority, policy)) = &chain.base {
            let _ = writeln!(
                text,
                "\t\ttype filter hook {hook} priority {priority}; policy {policy};"
            );
        }
        for rule in rules {
            let _ = writeln!(text, "\t\t{rule}");
        }
        text.push_str("\t}\n");
    }
    text.push_str("}\n");
    Ok(text)
}

fn show_set(
    socket: &mut Socket,
    plan: &TablePlan,
    set: &Set,
    text: &mut String,
) -> Result<(), Error> {
    let word = if set.value.is_some() { "map" } else { "set" };
    let found = if set.dynamic {
        Vec::new()
    } else {
        socket.elements(&plan.table, &set.name)?
    };
    let mut elements: Vec<String> = found
        .iter()
        .filter_map(|element| tap::read(element, &set.key, set.value))
        .map(|element| element.to_string())
        .collect();
    elements.sort();
    let body = set.to_string();
    let body = body.strip_suffix(" }").unwrap_or(&body);
    let _ = match &elements[..] {
        [] => writeln!(text, "\t{word} {body} }}"),
        _ => writeln!(
            text,
            "\t{word} {body} elements = {{\n\t\t{} }} }}",
            elements.join(",\n\t\t")
        ),
    };
    Ok(())
}
