//! The subcommands an operator runs on files: what they print and how they exit.

#![expect(clippy::disallowed_methods, reason = "the program is what is tested")]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn nfdhcpd(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nfdhcpd"));
    command.args(arguments).current_dir(directory);
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it says text")
}

#[test]
fn check_binding_names_file_line_key_value_and_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let write = |name: &str, text: &str| fs::write(path.join(name), text).expect("a file");
    write(
        "tap0",
        "MAC=AA:00:00:51:AD:BC\nIP=192.0.2.10\nNOTIFY_PORT=25000\n",
    );
    write("tap1", "MAC=aa:00:00:51:ad:bc\nIP=192.0.2.300\n");
    write("tap2", "");
    write("tap3", "MAC=aa:00:00:51:ad:bc\nIP=192.0.2.1");

    let good = nfdhcpd(&["check-binding", "tap0"], path);
    assert_eq!(good.status.code(), Some(0));
    assert_eq!(
        text(&good.stdout),
        "tap0: line 3: NOTIFY_PORT: unknown key\ntap0: ok, for aa:00:00:51:ad:bc\n"
    );
    let all = nfdhcpd(
        &["check-binding", "tap0", "tap1", "tap2", "tap3", "tap4"],
        path,
    );
    assert_eq!(all.status.code(), Some(1));
    let said: Vec<&str> = text(&all.stdout).lines().skip(2).collect();
    assert_eq!(
        said,
        [
            "tap1: line 2: IP=192.0.2.300: is not an IPv4 address, as in 192.0.2.10",
            "tap2: the file is empty: incomplete",
            "tap3: line 2 does not end in a newline: incomplete",
            "tap4: there is no such file",
        ]
    );
}

#[test]
fn what_import_config_writes_passes_check_config() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let old = "[general]\ndatapath = /srv/bindings # here\n[dhcp]\nlease_lifetime = 3600\n";
    fs::write(path.join("nfdhcpd.conf"), old).expect("a file");
    let imported = nfdhcpd(&["import-config", "nfdhcpd.conf"], path);
    assert_eq!(
        imported.status.code(),
        Some(0),
        "{}",
        text(&imported.stderr)
    );
    fs::write(path.join("nfdhcpd.toml"), &imported.stdout).expect("a file");
    let checked = nfdhcpd(&["--config", "nfdhcpd.toml", "check-config"], path);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
}

#[test]
fn import_config_says_which_line_is_wrong() {
    let directory = tempfile::tempdir().expect("a directory");
    let old = "[dhcp]\ndhcp_queue = many\n";
    fs::write(directory.path().join("nfdhcpd.conf"), old).expect("a file");
    let refused = nfdhcpd(&["import-config", "nfdhcpd.conf"], directory.path());
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(text(&refused.stdout), "");
    let said = text(&refused.stderr);
    assert!(
        said.contains("nfdhcpd.conf") && said.contains("line 2: [dhcp] dhcp_queue = many"),
        "{said}"
    );
}
