//! Codes against dhcproto's, sets of them, requests dhcproto wrote.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Encodable, Encoder};
use proptest::prelude::*;

use super::*;

#[test]
fn codes_are_those_of_the_registry() {
    let pairs = [
        (code::SUBNET_MASK, OptionCode::SubnetMask),
        (code::ROUTER, OptionCode::Router),
        (code::DOMAIN_NAME_SERVER, OptionCode::DomainNameServer),
        (code::HOST_NAME, OptionCode::Hostname),
        (code::DOMAIN_NAME, OptionCode::DomainName),
        (code::INTERFACE_MTU, OptionCode::InterfaceMtu),
        (code::BROADCAST_ADDRESS, OptionCode::BroadcastAddr),
        (code::NTP_SERVERS, OptionCode::NtpServers),
        (code::REQUESTED_ADDRESS, OptionCode::RequestedIpAddress),
        (code::LEASE_TIME, OptionCode::AddressLeaseTime),
        (code::OVERLOAD, OptionCode::OptionOverload),
        (code::MESSAGE_TYPE, OptionCode::MessageType),
        (code::SERVER_IDENTIFIER, OptionCode::ServerIdentifier),
        (
            code::PARAMETER_REQUEST_LIST,
            OptionCode::ParameterRequestList,
        ),
        (code::MESSAGE, OptionCode::Message),
        (code::MAX_MESSAGE_SIZE, OptionCode::MaxMessageSize),
        (code::RENEWAL_TIME, OptionCode::Renewal),
        (code::REBINDING_TIME, OptionCode::Rebinding),
        (code::VENDOR_CLASS, OptionCode::ClassIdentifier),
        (code::CLIENT_IDENTIFIER, OptionCode::ClientIdentifier),
        (code::TFTP_SERVER_NAME, OptionCode::TFTPServerName),
        (code::BOOT_FILE_NAME, OptionCode::BootfileName),
        (code::USER_CLASS, OptionCode::UserClass),
        (code::RAPID_COMMIT, OptionCode::RapidCommit),
        (code::CLIENT_FQDN, OptionCode::ClientFQDN),
        (code::RELAY_AGENT, OptionCode::RelayAgentInformation),
        (
            code::CLIENT_ARCHITECTURE,
            OptionCode::ClientSystemArchitecture,
        ),
        (code::CLIENT_MACHINE, OptionCode::ClientMachineIdentifier),
        (code::CAPTIVE_PORTAL, OptionCode::CaptivePortal),
        (code::DOMAIN_SEARCH, OptionCode::DomainSearch),
        (code::CLASSLESS_ROUTES, OptionCode::ClasslessStaticRoute),
        (code::TFTP_SERVERS, OptionCode::TFTPServerAddress),
        (code::PAD, OptionCode::Pad),
        (code::END, OptionCode::End),
    ];
    for (number, known) in pairs {
        assert_eq!(OptionCode::from(number), known);
    }
}

fn written(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut Encoder::new(&mut bytes)).unwrap();
    bytes
}

#[test]
fn a_request_of_the_oracle_is_read() {
    let [ciaddr, giaddr] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Ipv4Addr::from);
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message =
        Message::new_with_id(0x0102_0304, ciaddr, none, none, giaddr, &[2, 0, 0, 0, 0, 9]);
    message.set_flags(dhcproto::v4::Flags::default().set_broadcast());
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(MessageType::Request));
    options.insert(DhcpOption::RequestedIpAddress(giaddr));
    options.insert(DhcpOption::ServerIdentifier(ciaddr));
    options.insert(DhcpOption::MaxMessageSize(1472));
    options.insert(DhcpOption::ParameterRequestList(vec![
        OptionCode::Router,
        OptionCode::SubnetMask,
    ]));
    options.insert(DhcpOption::ClientIdentifier(vec![1, 2, 0, 0, 0, 0, 9]));
    options.insert(DhcpOption::RapidCommit);
    options.insert(DhcpOption::ClientSystemArchitecture(7.into()));
    let bytes = written(&message);

    let read = Request::read(&bytes).unwrap();
    assert_eq!(read.opcode, dhcproto::v4::Opcode::BootRequest);
    assert_eq!(read.xid, [1, 2, 3, 4]);
    assert_eq!(read.flags, BROADCAST);
    assert_eq!((read.ciaddr, read.giaddr), (ciaddr, giaddr));
    assert_eq!(read.chaddr.octets(), [2, 0, 0, 0, 0, 9]);
    assert_eq!(read.message_type, Some(MessageType::Request));
    assert_eq!(
        (read.requested_address, read.server_identifier),
        (Some(giaddr), Some(ciaddr))
    );
    assert_eq!(read.max_message_size, Some(1472));
    assert_eq!(read.parameters.bytes().collect::<Vec<_>>(), [3, 1]);
    assert!(read.client_identifier.is(&[1, 2, 0, 0, 0, 0, 9]));
    assert!(read.rapid_commit && !read.etherboot);
    assert_eq!(read.architecture.words().collect::<Vec<_>>(), [7]);
    assert!(!read.relay_agent.is_present() && !read.vendor_class.is_present());
}

proptest! {
    #[test]
    fn a_code_set_is_a_set(codes in prop::collection::btree_set(any::<u8>(), 0..40), probe: u8) {
        let set: CodeSet = codes.iter().copied().collect();
        prop_assert_eq!(set.contains(probe), codes.contains(&probe));
        let mut grown = set;
        prop_assert_eq!(grown.insert(probe), !codes.contains(&probe));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        prop_assert!(Request::read(&bytes).is_err());
        let mut sound = vec![0; FIXED_FIELDS];
        sound[..3].copy_from_slice(&[1, 1, 6]);
        sound.extend(MAGIC_COOKIE);
        sound.extend(&bytes);
        let _ = Request::read(&sound);
    }
}
