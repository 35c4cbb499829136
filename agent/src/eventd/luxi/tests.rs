//! A query socket that answers, refuses, is slow, or talks nonsense.

use std::path::Path;

use snf_events::Message;
use snf_events::message::{Missing, OpStatus};
use tokio::net::UnixListener;

use super::*;

fn socket(directory: &Path) -> QuerySocket {
    QuerySocket {
        path: directory.join("query"),
        bound: Duration::from_millis(300),
    }
}

/// Asks `act` of a socket that answers with what `answer` makes of a request.
async fn with<R>(
    answer: impl Fn(Value) -> Option<Value> + 'static,
    act: impl AsyncFnOnce(QuerySocket) -> R,
) -> R {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("query")).unwrap();
    let serve = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(&[END]) {
                stream.read_buf(&mut request).await.unwrap();
            }
            request.pop();
            match answer(serde_json::from_slice(&request).unwrap()) {
                Some(answer) => {
                    // In two pieces, as a socket may.
                    let text = format!("{answer}\u{3}");
                    let (first, second) = text.split_at(text.len() / 2);
                    stream.write_all(first.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                    stream.write_all(second.as_bytes()).await.unwrap();
                }
                None => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        () = serve => unreachable!(),
        result = act(socket(directory.path())) => result,
    }
}

fn run<R>(act: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(act)
}

/// An instance with two NICs and a disk, in the order of the fields asked for.
fn row(name: &str) -> Value {
    json!([
        [0, name],
        [0, "4a98629b-ef2d-45b6-b4bc-bb70b70e7057"],
        [0, 5],
        [0, ["synnefo:network:1:limited", "x"]],
        [0, ["snf-nic-7", null]],
        [0, ["snf-net-12", null]],
        [0, ["192.0.2.17", null]],
        [0, ["aa:00:00:5f:12:01", "aa:00:00:5f:12:02"]],
        [0, ["routed", "bridged"]],
        [0, ["snf_public", "br0"]],
        [0, ["n1", "n2"]],
        [0, ["snf-vol-9"]],
        [0, [2048]],
        [0, ["d1"]],
        [0, "disk"],
        [1, null],
    ])
}

fn known(request: &Value) -> Value {
    assert_eq!(request["method"], "Query");
    assert_eq!(request["args"][0], "instance");
    assert_eq!(request["args"][1], json!(instance::FIELDS));
    let terms = request["args"][2].as_array().unwrap();
    assert_eq!(terms[0], "|");
    let mut rows = Vec::new();
    for term in &terms[1..] {
        assert_eq!((&term[0], &term[1]), (&json!("="), &json!("name")));
        let name = term[2].as_str().unwrap();
        if name == "snf-gone" {
            let reason = json!([
                "OpPrereqError",
                ["Instance name snf-gone not found", "unknown_entity"]
            ]);
            return json!({"success": false, "result": reason});
        }
        // As Ganeti does: a name without its domain is found too.
        rows.push(row(if name == "snf-9" {
            "snf-9.example.org"
        } else {
            name
        }));
    }
    json!({"success": true, "result": {"fields": [], "data": rows}})
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn instances_are_found_by_their_whole_names() {
    let found = run(with(
        |request| Some(known(&request)),
        async |socket| {
            socket
                .instances(&names(&["snf-42", "snf-9"]))
                .await
                .unwrap()
        },
    ));
    assert_eq!(found["snf-9"], None);
    let details = found["snf-42"].clone().unwrap();
    assert_eq!((details.serial_no, details.disks[0].size), (5, 2048));
    assert_eq!(details.nics[0].network.as_deref(), Some("snf-net-12"));
    assert_eq!(details.nics[0].firewall, None);
    assert_eq!(details.nics[1].firewall.as_deref(), Some("limited"));
    assert_eq!(details.nics[1].ip, None);
    assert_eq!(
        details.hvparams,
        json!({"boot_order": "disk", "cdrom_image_path": null})
    );
}

#[test]
fn one_unknown_instance_costs_the_others_nothing() {
    let found = run(with(
        |request| Some(known(&request)),
        async |socket| {
            socket
                .instances(&names(&["snf-42", "snf-gone"]))
                .await
                .unwrap()
        },
    ));
    assert!(found["snf-42"].is_some());
    assert_eq!(found["snf-gone"], None);
}

#[test]
fn the_cluster_has_a_uuid() {
    let answer = |request: Value| {
        assert_eq!(request, json!({"method": "QueryClusterInfo", "args": []}));
        Some(json!({"success": true, "result": {"name": "c", "uuid": "u"}}))
    };
    let uuid = run(with(answer, async |socket| {
        socket.cluster_uuid().await.unwrap()
    }));
    assert_eq!(uuid, "u");
}

#[test]
fn what_is_no_answer_is_an_error() {
    let ask = |answer: Option<Value>| {
        run(with(
            move |_| answer.clone(),
            async |socket| socket.instances(&names(&["snf-42"])).await.unwrap_err(),
        ))
    };
    assert!(matches!(ask(None), LuxiError::TooSlow { .. }));
    let strange = [
        json!([1]),
        json!({"success": true}),
        json!({"success": true, "result": {"data": [[]]}}),
        json!({"success": true, "result": {"data": [[[0, "snf-42"]]]}}),
    ];
    for answer in strange {
        let error = ask(Some(answer.clone()));
        assert!(matches!(error, LuxiError::Strange(_)), "{answer}: {error}");
    }
    let refused = ask(Some(json!({"success": false, "result": "no"})));
    assert!(matches!(refused, LuxiError::Refused(_)));
    let nobody = socket(Path::new("/nonexistent"));
    assert!(matches!(
        run(nobody.cluster_uuid()),
        Err(LuxiError::Io { .. })
    ));
}

fn message(operation: &str, status: &str) -> OpStatus {
    let body = json!({
        "type": "ganeti-op-status", "instance": "snf-42", "operation": operation, "status": status, "jobId": 1,
        "event_time": [1, 2], "logmsg": null, "cluster": "c", "result": null, "job_fields": {}, "tags": [],
    });
    let Message::Op(message) = Message::decode(body.to_string().as_bytes()).unwrap() else {
        panic!("read as another type");
    };
    message
}

#[test]
fn what_goes_with_which_event() {
    use Wanted::{All, Identity};
    let cases = [
        ("OP_INSTANCE_CREATE", "success", Some(All)),
        ("OP_INSTANCE_CREATE", "error", Some(Identity)),
        ("OP_INSTANCE_CREATE", "running", None),
        ("OP_INSTANCE_STARTUP", "success", Some(All)),
        ("OP_INSTANCE_STARTUP", "canceled", Some(Identity)),
        ("OP_INSTANCE_SET_PARAMS", "success", Some(All)),
        ("OP_INSTANCE_SET_PARAMS", "error", Some(All)),
        ("OP_INSTANCE_SET_PARAMS", "canceled", Some(All)),
        ("OP_INSTANCE_GROW_DISK", "error", Some(All)),
        ("OP_INSTANCE_REBOOT", "success", Some(Identity)),
        ("OP_INSTANCE_REMOVE", "success", None),
        ("OP_INSTANCE_REMOVE", "error", Some(Identity)),
        ("OP_TAGS_SET", "success", Some(Identity)),
    ];
    for (operation, status, expected) in cases {
        let of = message(operation, status).operation;
        assert_eq!(
            wanted(&of.operation, of.status),
            expected,
            "{operation} {status}"
        );
    }
    let details = Details {
        uuid: String::from("u"),
        serial_no: 5,
        nics: Vec::new(),
        disks: Vec::new(),
        hvparams: json!({}),
    };
    let mut event = message("OP_INSTANCE_REBOOT", "success");
    attach(&mut event, Identity, Ok(&details));
    assert_eq!((event.serial_no, &event.instance_nics), (Some(5), &None));
    attach(&mut event, All, Ok(&details));
    assert_eq!(event.instance_nics, Some(Vec::new()));
    let mut event = message("OP_INSTANCE_REBOOT", "success");
    attach(&mut event, Identity, Err(Missing::Unavailable));
    assert_eq!(
        (event.serial_no, event.info),
        (None, Some(Missing::Unavailable))
    );
}
