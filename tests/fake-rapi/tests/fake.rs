//! The fake is held to the transcript, goes wrong where it is told to, and writes the job files that a node's reader sees.

use std::time::Duration;

use fake_rapi::client::Client;
use fake_rapi::conformance::{self, Names};
use fake_rapi::{Accept, FakeRapi, Fault, Options, Reply};
use serde_json::{Value, json};

fn client(fake: &FakeRapi) -> Client {
    Client {
        address: fake.address,
        user: String::from("synnefo"),
        password: String::from("secret"),
    }
}

#[tokio::test]
async fn it_answers_as_the_transcript_says() {
    let fake = FakeRapi::start(Options {
        pace: Some(Duration::from_millis(1)),
        ..Options::default()
    });
    let fake = fake.await.unwrap();
    let names = Names {
        prefix: String::from("conf-"),
        node: String::from("node1.gnt.test"),
        group: String::from("default"),
        hypervisor: String::from("fake"),
        os: String::from("noop+default"),
        bridge: String::from("br0"),
    };
    let differences = conformance::run(&client(&fake), &names).await.unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
}

#[tokio::test]
async fn nobody_else_gets_in_and_a_drained_queue_takes_nothing() {
    let fake = FakeRapi::start(Options::default()).await.unwrap();
    let stranger = Client {
        password: String::from("guess"),
        ..client(&fake)
    };
    let (status, _) = stranger.ask("GET", "/2/info", None).await.unwrap();
    assert_eq!(status, 401);
    fake.cluster().is_drained = true;
    let start = "/2/instances/web/startup";
    let (status, said) = client(&fake).ask("PUT", start, None).await.unwrap();
    assert_eq!(status, 500);
    assert!(said["message"].as_str().unwrap().contains("Queue drained"));
    assert_eq!(fake.cluster().last_job, 0);
}

#[tokio::test]
async fn faults_are_spent_one_by_one_and_tell_whether_there_is_a_job() {
    let fake = FakeRapi::start(Options::default()).await.unwrap();
    let client = client(&fake);
    let start = "/2/instances/web/startup";
    for (accept, reply, jobs) in [
        (Accept::No, Reply::Cut, 0),
        (Accept::Yes, Reply::Cut, 1),
        (Accept::Yes, Reply::Garbage, 2),
        (Accept::No, Reply::BadGateway, 2),
        (Accept::Yes, Reply::Late(Duration::from_millis(1)), 3),
    ] {
        fake.fault(Fault::on_submission(accept, reply.clone()));
        let answered = client.ask("PUT", start, None).await;
        let is_cut = reply == Reply::Cut;
        assert_eq!(answered.is_err(), is_cut, "{reply:?}: {answered:?}");
        assert_eq!(fake.cluster().last_job, jobs, "{reply:?}");
    }
    assert_eq!(fake.faults_left(), 0);
    let (status, job) = client.ask("PUT", start, None).await.unwrap();
    assert_eq!((status, job), (200, json!(4)));
    fake.set_down(true);
    assert!(client.ask("GET", "/2/info", None).await.is_err());
    fake.set_down(false);
    client.ask("GET", "/2/info", None).await.unwrap();
}

#[tokio::test]
async fn secrets_are_not_kept_and_archived_jobs_are_told_by_number_only() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeRapi::start(Options {
        ganeti: Some(folder.path().to_owned()),
        ..Options::default()
    });
    let fake = fake.await.unwrap();
    let client = client(&fake);
    let body = json!({
        "__version__": 1, "mode": "create", "name": "web", "os_type": "noop+default", "disk_template": "diskless",
        "disks": [], "nics": [], "osparams": {"shown": "yes"}, "osparams_private": {"password": "hunter2"},
    });
    let (_, job) = client
        .ask("POST", "/2/instances", Some(&body))
        .await
        .unwrap();
    assert_eq!(job, json!(1));
    let file = folder.path().join("queue/job-1");
    let read = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    assert_eq!(read()["ops"][0]["status"], "queued");
    fake.settle();
    let kept = read();
    assert_eq!(kept["ops"][0]["status"], "success");
    assert_eq!(kept["ops"][0]["input"]["osparams"]["shown"], "yes");
    assert!(!kept.to_string().contains("hunter2"));
    fake.archive();
    assert!(!file.exists());
    assert!(folder.path().join("queue/archive/0/job-1").exists());
    let (_, listed) = client.ask("GET", "/2/jobs", None).await.unwrap();
    assert_eq!(listed, json!([]));
    let (status, told) = client.ask("GET", "/2/jobs/1", None).await.unwrap();
    assert_eq!((status, &told["status"]), (200, &json!("success")));
}

#[tokio::test]
async fn serial_numbers_rise_on_start_stop_modify_and_tags_but_not_on_reboot() {
    let fake = FakeRapi::start(Options::default()).await.unwrap();
    let client = client(&fake);
    let body = json!({
        "__version__": 1, "mode": "create", "name": "web", "os_type": "noop+default", "disk_template": "diskless",
        "disks": [], "nics": [], "beparams": {"vcpus": 1, "minmem": 64, "maxmem": 64},
    });
    client
        .ask("POST", "/2/instances", Some(&body))
        .await
        .unwrap();
    fake.settle();
    let serial = || fake.cluster().instances["web"].serial_no;
    let mut known = serial();
    let size = json!({"beparams": {"vcpus": 2}});
    for (method, path, body, rises) in [
        ("PUT", "/2/instances/web/shutdown", None, true),
        ("PUT", "/2/instances/web/startup", None, true),
        ("POST", "/2/instances/web/reboot", None, false),
        ("PUT", "/2/instances/web/modify", Some(&size), true),
        ("PUT", "/2/instances/web/tags?tag=a", None, true),
        ("PUT", "/2/instances/web/migrate", None, true),
    ] {
        let (status, said) = client.ask(method, path, body).await.unwrap();
        assert_eq!(status, 200, "{path}: {said}");
        fake.settle();
        assert_eq!(serial() > known, rises, "{path}");
        known = serial();
    }
}
