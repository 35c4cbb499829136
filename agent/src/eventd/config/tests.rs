//! What is accepted, and what is said of the rest.

use super::*;
use crate::transport::settings::Url;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("eventd.toml")).map_err(|error| error.to_string())
}

const LEAST: &str =
    "[amqp]\nhosts = [\"amqp://snf:pw@broker1:5672/%2Fsnf\", \"amqp://snf:pw@broker2\"]\n";

#[test]
fn the_least_is_a_broker() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.prefixes, ["snf-".parse().unwrap()]);
    assert_eq!(config.ganeti.list_interval, Duration::from_secs(60));
    assert_eq!(config.node, None);
    let Way::Amqp(amqp) = config.transport else {
        panic!("another transport");
    };
    assert_eq!(amqp.hosts.len(), 2);
    assert_eq!(amqp.hosts[0].vhost, "/snf");
    assert_eq!(amqp.hosts[1].authority.port, 5672);
}

#[test]
fn the_packaged_file_has_every_default() {
    let text = include_str!("../../../../packaging/snf-ganeti-eventd.toml");
    let packaged = format!("{:?}", parse(text).unwrap());
    let least = "[amqp]\nhosts = [\"amqp://eventd@localhost\"]\n";
    assert_eq!(packaged, format!("{:?}", parse(least).unwrap()));
    // Every key is there, so that nobody has to look for its name.
    let is_key = |line: &&str| line.contains(" = ") && !line.starts_with('#');
    assert_eq!(text.lines().filter(is_key).count(), 28);
}

#[test]
fn passwords_may_be_in_a_file_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "s3cret/@\n").unwrap();
    let text = format!(
        "[amqp]\nhosts = [\"amqp://snf@broker\"]\npassword_file = {:?}",
        file.display()
    );
    let Way::Amqp(amqp) = parse(&text).unwrap().transport else {
        panic!("another transport");
    };
    assert_eq!(amqp.hosts[0].authority.userinfo.password, "s3cret/@");
}

#[test]
fn https_needs_a_token_and_an_authority() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "t").unwrap();
    let https = |url: &str, more: &str| {
        parse(&format!(
            "transport = \"https\"\n[https]\nurl = \"{url}\"\ntoken_file = {:?}\n{more}",
            token.display()
        ))
    };
    let Way::Https(settings) = https("http://127.0.0.1:8080/api/", "").unwrap().transport else {
        panic!("another transport");
    };
    assert_eq!(
        settings.url,
        Url {
            tls: false,
            host: String::from("127.0.0.1"),
            port: 8080,
            base: String::from("/api")
        }
    );
    let error = https("https://controller.example.org", "").unwrap_err();
    assert!(error.contains("https.ca"), "{error}");
    let error = https("http://controller.example.org", "").unwrap_err();
    assert!(error.contains("loopback"), "{error}");
    assert!(https("http://[::1]:80", "").is_ok());
    for wrong in [
        "",
        "ftp://x",
        "https://",
        "http://u:p@localhost",
        "http://localhost:x",
    ] {
        assert!(https(wrong, "").is_err(), "{wrong}");
    }
}

#[test]
fn complaints_name_file_key_and_value() {
    let digest = "0".repeat(64);
    let cases = [
        ("prefixes = [\"snf\"]\n", "prefixes = \"snf\"", ""),
        ("prefixes = [\"a-\", \"a-\"]\n", "given twice", ""),
        ("prefixes = []\n", "prefixes", ""),
        ("transport = \"smtp\"\n", "transport = \"smtp\"", ""),
        ("metrics = \"9548\"\n", "metrics = \"9548\"", ""),
        ("unknown = 1\n", "unknown", ""),
        ("heartbeat = 0\n", "heartbeat = \"0\"", ""),
        ("", "ganeti.list_interval", "[ganeti]\nlist_interval = 0\n"),
        ("", "unknown field `queues`", "[ganeti]\nqueues = \"x\"\n"),
        (
            "",
            "pull.token_sha256",
            "[pull]\nlisten = \"127.0.0.1:1\"\n",
        ),
    ];
    for (keys, expected, tables) in cases {
        let error = parse(&format!("{keys}{LEAST}{tables}")).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with("eventd.toml"), "{error}");
    }
    let error = parse("").unwrap_err();
    assert!(error.contains("amqp.hosts"), "{error}");
    let error = parse("[amqp]\nhosts = [\"amqps://u:geheim@broker\"]\n").unwrap_err();
    assert!(
        error.contains("amqp.ca") && !error.contains("geheim"),
        "{error}"
    );
    let open = format!("{LEAST}[pull]\nlisten = \"0.0.0.0:1\"\ntoken_sha256 = \"{digest}\"\n");
    let error = parse(&open).unwrap_err();
    assert!(error.contains("loopback"), "{error}");
    assert!(
        parse(&open.replace("0.0.0.0", "127.0.0.1"))
            .unwrap()
            .pull
            .is_some()
    );
}
