//! A luxid of a test's own: answers on a socket what its query socket would, in the shapes of Ganeti 3.0.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::namespace::Namespace;

/// Where the socket is, as the programs under test see it.
pub const SOCKET: &str = "/run/ganeti/socket/ganeti-query";
/// The cluster's UUID.
pub const CLUSTER_UUID: &str = "0d5b1c2e-7d46-4b1c-9a53-5f4c0e6a7b11";

/// What it knows, and how it behaves.
#[derive(Debug)]
pub struct State {
    /// The cluster's UUID.
    pub cluster_uuid: String,
    /// Instances by name: what each field that is asked for has.
    pub instances: BTreeMap<String, Value>,
    /// It takes questions and answers none.
    pub silent: bool,
    /// Questions for instances.
    pub asked: u64,
}

/// The socket; it ends with the world.
#[derive(Debug, Clone)]
pub struct Luxid(Arc<Mutex<State>>);

impl Luxid {
    /// Listens in the namespace.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let path = namespace.path(SOCKET);
        fs::create_dir_all(path.parent().context("the socket has a directory")?)?;
        let listener = UnixListener::bind(&path).context("bind the query socket")?;
        let state = Arc::new(Mutex::new(State {
            cluster_uuid: CLUSTER_UUID.to_owned(),
            instances: BTreeMap::new(),
            silent: false,
            asked: 0,
        }));
        let luxid = Self(Arc::clone(&state));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || serve(&client, &state));
            }
        });
        Ok(luxid)
    }

    /// What it knows, to be changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(client: &UnixStream, state: &Mutex<State>) {
    let mut from = BufReader::new(client);
    let mut request = Vec::new();
    while matches!(from.read_until(3, &mut request), Ok(1..)) {
        request.pop();
        let question: Value = serde_json::from_slice(&request).unwrap_or_default();
        let mut known = state.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answer(&question, &mut known);
        let silent = known.silent;
        drop(known);
        if silent {
            thread::sleep(Duration::from_secs(60));
            return;
        }
        let mut client = client;
        if client
            .write_all(format!("{answer}\u{3}").as_bytes())
            .is_err()
        {
            return;
        }
        request.clear();
    }
}

fn answer(question: &Value, state: &mut State) -> Value {
    let arguments = question.get("args");
    match question.get("method").and_then(Value::as_str) {
        Some("QueryClusterInfo") => {
            json!({"success": true, "result": {"uuid": state.cluster_uuid, "name": "cluster.gnt.test"}})
        }
        Some("Query") => {
            state.asked += 1;
            let fields: Vec<&str> = texts(arguments.and_then(|args| args.get(1)));
            let filter = arguments.and_then(|args| args.get(2)?.as_array());
            let names = filter
                .into_iter()
                .flatten()
                .filter_map(|term| term.get(2)?.as_str());
            let mut rows = Vec::new();
            for name in names {
                let Some(instance) = state.instances.get(name) else {
                    let reason = format!("Instance name {name} not found");
                    return json!({"success": false, "result": ["OpPrereqError", [reason, "unknown_entity"]]});
                };
                let cell = |field: &&str| match (*field, instance.get(field)) {
                    ("name", _) => json!([0, name]),
                    (_, Some(value)) => json!([0, value]),
                    (_, None) => json!([1, null]),
                };
                rows.push(fields.iter().map(cell).collect::<Value>());
            }
            let fields: Vec<Value> = fields
                .iter()
                .map(|name| json!({"name": name, "title": name, "kind": "other", "doc": name}))
                .collect();
            json!({"success": true, "result": {"fields": fields, "data": rows}})
        }
        _ => json!({"success": false, "result": "not known here"}),
    }
}

fn texts(list: Option<&Value>) -> Vec<&str> {
    let items = list.and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}
