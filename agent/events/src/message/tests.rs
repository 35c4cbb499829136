//! The bodies' shapes, as a consumer sees them.

use serde_json::json;

use super::*;

fn operation() -> Operation {
    Operation {
        operation: OpCode::InstanceStartup,
        status: JobStatus::Success,
        job: JobId(16),
        event_time: (1_795_359_032, 753_654).into(),
        logmsg: None,
        cluster: String::from("ganeti1.example.org"),
        result: Value::Null,
        cluster_uuid: None,
        received_timestamp: None,
        op_index: 0,
        end_timestamp: None,
        reason: None,
        truncated: Vec::new(),
        place: None,
    }
}

#[test]
fn an_operation_has_the_originals_fields_and_ours_beside_them() {
    let message = Message::Op(OpStatus {
        instance: String::from("snf-42"),
        operation: Operation {
            cluster_uuid: Some(String::from("c0ffee00-0000-4000-8000-000000000001")),
            received_timestamp: Some((1_795_359_031, 72_006).into()),
            place: Some(Place {
                epoch: "4a98629b-ef2d-45b6-b4bc-bb70b70e7057".parse().unwrap(),
                prefix: "snf-".parse().unwrap(),
                sequence: Sequence(7),
                previous: Sequence(5),
            }),
            ..operation()
        },
        job_fields: json!({}),
        tags: Vec::new(),
        instance_nics: Some(vec![InstanceNic {
            name: Some(String::from("snf-nic-7")),
            network: Some(String::from("snf-net-12")),
            ip: None,
            mac: String::from("aa:00:00:5f:12:01"),
            mode: String::from("routed"),
            link: String::from("snf_public"),
            uuid: String::from("ff7053d8-b2ff-464a-8f68-c9da6aa35a20"),
            firewall: None,
        }]),
        instance_disks: None,
        instance_hvparams: None,
        instance_uuid: None,
        serial_no: Some(3),
        info: Some(Missing::Absent),
    });
    let expected = json!({
        "type": "ganeti-op-status",
        "instance": "snf-42",
        "operation": "OP_INSTANCE_STARTUP",
        "status": "success",
        "jobId": 16,
        "event_time": [1_795_359_032, 753_654],
        "logmsg": null,
        "cluster": "ganeti1.example.org",
        "result": null,
        "job_fields": {},
        "tags": [],
        "instance_nics": [{
            "name": "snf-nic-7", "network": "snf-net-12", "ip": null, "mac": "aa:00:00:5f:12:01",
            "mode": "routed", "link": "snf_public", "uuid": "ff7053d8-b2ff-464a-8f68-c9da6aa35a20",
        }],
        "cluster_uuid": "c0ffee00-0000-4000-8000-000000000001",
        "received_timestamp": [1_795_359_031, 72_006],
        "op_index": 0,
        "epoch": "4a98629b-ef2d-45b6-b4bc-bb70b70e7057",
        "prefix": "snf-",
        "sequence": 7,
        "previous": 5,
        "serial_no": 3,
        "info": "absent",
    });
    let body = message.encode();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    assert_eq!(Message::decode(&body).unwrap(), message);
    let key = message.operation().unwrap().natural_key().unwrap();
    assert_eq!(
        key.to_string(),
        "c0ffee00-0000-4000-8000-000000000001/16/1795359031.072006/0/success"
    );
}

#[test]
fn what_the_original_sent_can_be_read() {
    let body = json!({
        "type": "ganeti-network-status", "network": "snf-net-12", "operation": "OP_NETWORK_CONNECT",
        "status": "waiting", "jobId": 19, "event_time": [1, 2], "cluster": "c", "logmsg": "x",
        "result": null, "job_fields": {"group_name": "default"},
    });
    let message = Message::decode(body.to_string().as_bytes()).unwrap();
    assert_eq!(message.operation().unwrap().natural_key(), None);
    let Message::Network(network) = message else {
        panic!("read as another type");
    };
    assert_eq!(network.network, "snf-net-12");
    assert_eq!(network.operation.place, None);
}

#[test]
fn other_types_are_refused() {
    for body in ["", "{", "{}", r#"{"type":"ganeti-net-status"}"#, "[1]"] {
        assert!(Message::decode(body.as_bytes()).is_err(), "{body}");
    }
}
