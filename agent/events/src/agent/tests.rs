//! The bodies' shapes, as a consumer sees them; and what a helper must not get through.

use serde_json::json;

use super::*;

fn origin() -> Origin {
    Origin {
        node: "node1.gnt.test".into(),
        cluster: Some("c".into()),
        cluster_uuid: None,
        epoch: "4a98629b-ef2d-45b6-b4bc-bb70b70e7057".parse().unwrap(),
        prefix: "snf-".parse().unwrap(),
        sequence: Sequence(7),
    }
}

#[test]
fn a_net_status_has_the_originals_fields_and_ours_beside_them() {
    let message = AgentMessage::Net(NetStatus {
        instance: "snf-42".into(),
        nics: vec![
            NetNic {
                ip: Some("147.102.3.1".into()),
                mac: Some("00:01:de:ad:be:ef".into()),
                link: Some("xen-br0".into()),
                firewall: Some("protected".into()),
                ..NetNic::default()
            },
            NetNic::default(),
        ],
        hook: "instance-start".into(),
        event_time: (1, 2).into(),
        origin: origin(),
    });
    let expected = json!({
        "type": "ganeti-net-status", "instance": "snf-42",
        "nics": [
            {"ip": "147.102.3.1", "mac": "00:01:de:ad:be:ef", "link": "xen-br0", "firewall": "protected"},
            {},
        ],
        "hook": "instance-start", "event_time": [1, 2], "node": "node1.gnt.test", "cluster": "c",
        "epoch": "4a98629b-ef2d-45b6-b4bc-bb70b70e7057", "prefix": "snf-", "sequence": 7,
    });
    let body = message.encode();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    assert_eq!(AgentMessage::decode(&body).unwrap(), message);
}

#[test]
fn a_copys_progress_is_in_hundredths_of_a_percent() {
    let progress = Progress::of_copy("snf-42", (1, 2).into(), Some(37.2549), None);
    assert_eq!(
        serde_json::from_slice::<Value>(&progress.encode()).unwrap(),
        json!({"type": "ganeti-create-progress", "instance": "snf-42", "event_time": [1, 2], "rprogress": 37.25})
    );
    assert_eq!(Progress::decode(&progress.encode()), Ok(progress));
}

#[test]
fn a_helper_keeps_its_fields_but_says_nothing_of_whose_or_from_where_it_is() {
    let said = json!({
        "type": "image-helper", "subtype": "task-start", "task": "FixPartitionTable",
        "instance": "snf-1", "event_time": "now", "sequence": -1, "node": [], "more": {"a": [1]},
    });
    let Value::Object(said) = said else {
        panic!("an object");
    };
    let progress = Progress::of_helper(said, "snf-42", (3, 4).into()).unwrap();
    let body = progress.encode_from(&origin());
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        json!({
            "type": "image-helper", "subtype": "task-start", "task": "FixPartitionTable", "more": {"a": [1]},
            "instance": "snf-42", "event_time": [3, 4], "node": "node1.gnt.test", "cluster": "c",
            "epoch": "4a98629b-ef2d-45b6-b4bc-bb70b70e7057", "prefix": "snf-", "sequence": 7,
        })
    );
}

#[test]
fn what_is_no_progress_is_refused() {
    let read = |text: &str| Progress::decode(text.as_bytes()).unwrap_err();
    assert_eq!(read("["), NoProgress::NoObject);
    assert_eq!(read("[]"), NoProgress::NoObject);
    assert_eq!(read("{}"), NoProgress::Without("type"));
    assert_eq!(
        read(r#"{"type":"ganeti-op-status","instance":"snf-1","event_time":[1,2]}"#),
        NoProgress::Type("ganeti-op-status".into())
    );
    assert_eq!(
        read(r#"{"type":"image-info","event_time":[1,2]}"#),
        NoProgress::Without("instance")
    );
    assert_eq!(
        read(r#"{"type":"image-info","instance":"snf-1","event_time":[1]}"#),
        NoProgress::Without("event_time")
    );
    assert_eq!(read(&" ".repeat(PROGRESS_MAX + 1)), NoProgress::TooLong);
}
