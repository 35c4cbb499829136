//! A frame as text: what it says, header by header and option by option, then all of its bytes.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The frame's text.
pub(crate) fn describe(frame: &[u8]) -> String {
    let mut text = String::new();
    line(
        &mut text,
        "ethernet",
        &format!("{} -> {}", mac(&frame[6..12]), mac(&frame[..6])),
    );
    let packet = &frame[14..];
    match &frame[12..14] {
        [0x08, 0x00] => ipv4(&mut text, packet),
        [0x86, 0xdd] => ipv6(&mut text, packet),
        other => panic!("ethertype {other:02x?}"),
    }
    for (index, row) in frame.chunks(16).enumerate() {
        line(&mut text, &format!("{:04x}", index * 16), &hex(row));
    }
    text
}

fn ipv4(text: &mut String, packet: &[u8]) {
    let (from, to) = (address4(&packet[12..16]), address4(&packet[16..20]));
    line(
        text,
        "ipv4",
        &format!(
            "{from} -> {to}, ttl {}, {} bytes",
            packet[8],
            word(packet, 2)
        ),
    );
    let payload = udp(text, &packet[20..]);
    let fields = [
        ("xid", hex(&payload[4..8])),
        ("flags", hex(&payload[10..12])),
    ];
    for (name, value) in fields {
        line(text, name, &value);
    }
    for (name, at) in [
        ("ciaddr", 12),
        ("yiaddr", 16),
        ("siaddr", 20),
        ("giaddr", 24),
    ] {
        let address = address4(&payload[at..at + 4]);
        if !address.is_unspecified() {
            line(text, name, &address.to_string());
        }
    }
    line(text, "chaddr", &mac(&payload[28..34]));
    for (name, field) in [("sname", &payload[44..108]), ("file", &payload[108..236])] {
        let used = field
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        if used != 0 {
            line(text, name, &value(&field[..used]));
        }
    }
    let mut options = &payload[240..];
    while let [code, rest @ ..] = options {
        match code {
            255 => {
                line(text, "end", &format!("and {} bytes of padding", rest.len()));
                return;
            }
            0 => options = rest,
            _ => {
                let len = usize::from(rest[0]);
                line(text, &format!("option {code}"), &value(&rest[1..=len]));
                options = &rest[len + 1..];
            }
        }
    }
}

fn ipv6(text: &mut String, packet: &[u8]) {
    let (from, to) = (address6(&packet[8..24]), address6(&packet[24..40]));
    let (hops, len) = (packet[7], word(packet, 4));
    line(
        text,
        "ipv6",
        &format!("{from} -> {to}, hop limit {hops}, {len} bytes"),
    );
    let transport = &packet[40..];
    match packet[6] {
        17 => {
            let payload = udp(text, transport);
            line(
                text,
                "message",
                &format!("type {}, xid {}", payload[0], hex(&payload[1..4])),
            );
            let mut options = &payload[4..];
            while !options.is_empty() {
                let end = 4 + usize::from(word(options, 2));
                line(
                    text,
                    &format!("option {}", word(options, 0)),
                    &hex(&options[4..end]),
                );
                options = &options[end..];
            }
        }
        58 => {
            let fixed = match transport[0] {
                134 => 16,
                136 => 24,
                other => panic!("ICMPv6 type {other}"),
            };
            line(
                text,
                "icmpv6",
                &format!("type {}, {}", transport[0], hex(&transport[4..fixed])),
            );
            let mut options = &transport[fixed..];
            while !options.is_empty() {
                let end = 8 * usize::from(options[1]);
                line(
                    text,
                    &format!("option {}", options[0]),
                    &hex(&options[2..end]),
                );
                options = &options[end..];
            }
        }
        other => panic!("protocol {other}"),
    }
}

fn udp<'a>(text: &mut String, datagram: &'a [u8]) -> &'a [u8] {
    line(
        text,
        "udp",
        &format!("{} -> {}", word(datagram, 0), word(datagram, 2)),
    );
    &datagram[8..]
}

fn line(text: &mut String, name: &str, value: &str) {
    writeln!(text, "{name:<10} {value}").expect("a String takes all");
}

/// Hexadecimal, and as text where it is one.
fn value(bytes: &[u8]) -> String {
    let printable = bytes.len() > 2 && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    if printable {
        format!("{} {:?}", hex(bytes), String::from_utf8_lossy(bytes))
    } else {
        hex(bytes)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn mac(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn address4(bytes: &[u8]) -> Ipv4Addr {
    Ipv4Addr::from(<[u8; 4]>::try_from(bytes).expect("four bytes"))
}

fn address6(bytes: &[u8]) -> Ipv6Addr {
    Ipv6Addr::from(<[u8; 16]>::try_from(bytes).expect("sixteen bytes"))
}
