//! Network boot: RFC 4578, RFC 5071, RFC 5859, UEFI's HTTP boot, iPXE.

use nfdhcpd_binding::{Boot, ClientArch};

use super::*;

const NEXT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const PXE_LIST: [u8; 8] = [1, 3, 43, 60, 66, 67, 150, 210];

fn boot_binding() -> Binding {
    let by_arch = [
        (ClientArch::Bios, "undionly.kpxe"),
        (ClientArch::X64, "ipxe.efi"),
        (ClientArch::Arm64, "arm64.efi"),
        (ClientArch::HttpX64, "http://10.0.0.5/ipxe.efi"),
        (ClientArch::HttpArm64, "http://10.0.0.5/arm64.efi"),
    ];
    Binding {
        boot: Boot {
            server: Some(NEXT),
            file: Some("default.0".into()),
            file_ipxe: Some("http://10.0.0.5/boot.ipxe".into()),
            by_arch: by_arch.map(|(arch, file)| (arch, file.into())).to_vec(),
            tftp_servers: vec![NEXT, Ipv4Addr::new(10, 0, 0, 6)],
            prefix: Some("/pxe/".into()),
            ..Boot::default()
        },
        ..binding()
    }
}

fn boot(ask: &Ask) -> Answer {
    ask_with(&boot_binding(), &settings(), ask).unwrap()
}

fn file_field(answer: &Answer) -> String {
    let field = &answer.bootp[108..236];
    let end = field.iter().position(|byte| *byte == 0).unwrap();
    String::from_utf8(field[..end].to_vec()).unwrap()
}

fn of_arch(arch: u16) -> Ask {
    discover()
        .asking_for(&PXE_LIST)
        .with(93, &arch.to_be_bytes())
}

#[test]
fn row_4_25_each_architecture_gets_its_file() {
    for (arch, file) in [
        (0, "undionly.kpxe"),
        (7, "ipxe.efi"),
        (9, "ipxe.efi"),
        (11, "arm64.efi"),
        (16, "http://10.0.0.5/ipxe.efi"),
        (19, "http://10.0.0.5/arm64.efi"),
        (6, "default.0"),
    ] {
        let answer = boot(&of_arch(arch));
        assert_eq!(file_field(&answer), file, "architecture {arch}");
        assert_eq!(answer.option(67).unwrap(), file.as_bytes());
        assert_eq!(answer.message.siaddr(), NEXT);
    }
    let several = discover().with(93, &[0, 6, 0, 7]);
    assert_eq!(
        file_field(&boot(&several)),
        "ipxe.efi",
        "the first we know of a list"
    );
    assert_eq!(
        file_field(&boot(&discover())),
        "default.0",
        "no architecture"
    );
    assert_eq!(
        file_field(&boot(&discover().with(93, &[7]))),
        "default.0",
        "half an architecture"
    );
}

#[test]
fn ipxe_gets_its_script_whatever_the_architecture() {
    let script = "http://10.0.0.5/boot.ipxe";
    for (code, value) in [
        (175, &[177, 5, 1, 26, 244][..]),
        (77, b"iPXE"),
        (77, b"\x04iPXE"),
    ] {
        let answer = boot(&of_arch(7).with(code, value));
        assert_eq!(file_field(&answer), script, "option {code}");
        assert_eq!(answer.option(67).unwrap(), script.as_bytes());
    }
    assert_eq!(file_field(&boot(&of_arch(7).with(77, b"gPXE"))), "ipxe.efi");
    let mut binding = boot_binding();
    binding.boot.file_ipxe = None;
    let answer = ask_with(&binding, &settings(), &of_arch(7).with(175, &[])).unwrap();
    assert_eq!(
        file_field(&answer),
        "ipxe.efi",
        "no script: what the architecture gets"
    );
}

#[test]
fn row_4_25_machine_identifier_and_vendor_class_come_back() {
    let machine = [&[0][..], &[0xab; 16]].concat();
    for (class, told) in [
        (
            &b"PXEClient:Arch:00007:UNDI:003016"[..],
            Some(&b"PXEClient"[..]),
        ),
        (b"HTTPClient:Arch:00016:UNDI:003001", Some(b"HTTPClient")),
        (b"MSFT 5.0", None),
        (b"PXE", None),
    ] {
        for ask in [discover(), select(ADDRESS, GATEWAY)] {
            let answer = boot(&ask.asking_for(&[1]).with(97, &machine).with(60, class));
            assert_eq!(answer.option(97).unwrap(), machine);
            assert_eq!(answer.option(60).as_deref(), told);
        }
    }
    let diskless = answered(&discover().with(60, b"PXEClient:Arch:00007"));
    assert_eq!(
        diskless.option(60),
        None,
        "nothing to boot: not a boot server's answer"
    );
}

#[test]
fn an_http_client_finds_its_file_in_option_67_unasked() {
    let answer = boot(&of_arch(16).with(60, b"HTTPClient:Arch:00016"));
    assert_eq!(answer.option(67).unwrap(), b"http://10.0.0.5/ipxe.efi");
    let bare = discover()
        .asking_for(&[1])
        .with(93, &[0, 16])
        .with(60, b"HTTPClient");
    assert_eq!(boot(&bare).option(67).unwrap(), b"http://10.0.0.5/ipxe.efi");
}

#[test]
fn server_name_servers_and_prefix_are_told_when_asked_for() {
    let answer = boot(&of_arch(0));
    assert_eq!(answer.option(66).unwrap(), b"10.0.0.5");
    assert_eq!(answer.option(150).unwrap(), [10, 0, 0, 5, 10, 0, 0, 6]);
    assert_eq!(answer.option(210).unwrap(), b"/pxe/");
    let mut binding = boot_binding();
    binding.boot.server_name = Some("tftp.example.org".into());
    let answer = ask_with(&binding, &settings(), &of_arch(0)).unwrap();
    assert_eq!(answer.option(66).unwrap(), b"tftp.example.org");
    let answer = boot(&discover().asking_for(&[1]));
    assert_eq!(answer.codes(), [53, 54, 51, 58, 59, 1]);
}

#[test]
fn a_file_too_long_for_its_field_goes_into_option_67_unasked() {
    let mut binding = binding();
    for (len, in_field) in [(127, true), (128, false), (250, false)] {
        let file = "x".repeat(len);
        binding.boot.file = Some(file.clone());
        let answer = ask_with(&binding, &settings(), &discover().asking_for(&[1])).unwrap();
        assert_eq!(file_field(&answer), if in_field { &file } else { "" });
        assert_eq!(answer.option(67).is_some(), !in_field, "{len} bytes");
    }
}

#[test]
fn the_file_field_holds_a_name_or_options_never_both() {
    let mut binding = boot_binding();
    let raw = |code, len| nfdhcpd_binding::RawOption {
        code,
        value: vec![7; len],
    };
    binding.raw_options = vec![raw(224, 240), raw(225, 60), raw(226, 50)];
    let answer = ask_with(&binding, &settings(), &discover().asking_for(&[1])).unwrap();
    assert_eq!(file_field(&answer), "default.0");
    assert_eq!(answer.option(52).unwrap(), [2], "sname only");
    assert_eq!(answer.option(225).unwrap(), vec![7; 60]);
    assert_eq!(answer.option(226), None);
}

#[test]
fn a_vendor_class_the_binding_gives_stands() {
    let mut binding = boot_binding();
    binding.raw_options = vec![nfdhcpd_binding::RawOption {
        code: 60,
        value: b"mine".to_vec(),
    }];
    let ask = discover().with(60, b"PXEClient:Arch:00007");
    let answer = ask_with(&binding, &settings(), &ask).unwrap();
    assert_eq!(answer.option(60).unwrap(), b"mine");
}
