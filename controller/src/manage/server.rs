//! Servers, and how they came to be as they are.

use serde_json::{Value, json};

use super::{ManageError, Shown, only};
use crate::cloud::Cloud;
use crate::db::entity::{audit_entry, intent, server};
use crate::db::explain::{self, Story};
use crate::db::{backends, lookup};

pub(super) async fn list(cloud: &Cloud, all: bool) -> Result<Shown, ManageError> {
    let found = lookup::all_servers(cloud.db.reader()).await?;
    let found = found.into_iter().filter(|row| all || row.deletion == 0);
    let rows = found.map(|row| {
        vec![
            json!(row.id),
            json!(row.uuid),
            json!(row.name),
            json!(row.project_id),
            json!(row.backend_id),
            json!(row.instance_name),
            json!(row.oper_state),
            json!(row.task),
            json!(row.primary_node),
            json!(row.doubtful_at.is_some()),
        ]
    });
    Ok(Shown::Table {
        columns: &[
            "id", "uuid", "name", "project", "backend", "instance", "state", "task", "node",
            "doubtful",
        ],
        rows: rows.collect(),
    })
}

async fn named(cloud: &Cloud, key: &str) -> Result<server::Model, ManageError> {
    only(
        lookup::servers(cloud.db.reader(), key).await?,
        "server",
        key,
    )
}

fn fields(row: &server::Model, cluster: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("id", json!(row.id)),
        ("uuid", json!(row.uuid)),
        ("name", json!(row.name)),
        ("project", json!(row.project_id)),
        ("user", json!(row.user_id)),
        ("backend", json!(cluster)),
        ("instance", json!(row.instance_name)),
        ("instance_uuid", json!(row.instance_uuid)),
        ("node", json!(row.primary_node)),
        ("flavor", json!(row.flavor_id)),
        ("image", json!(row.image_id)),
        ("vcpus", json!(row.vcpus)),
        ("ram_mib", json!(row.ram)),
        ("disk_gib", json!(row.disk)),
        ("state", json!(row.oper_state)),
        ("task", json!(row.task)),
        ("serial_no", json!(row.serial_no)),
        ("run_job", json!(row.run_job)),
        (
            "doubtful_at",
            json!(row.doubtful_at.map(|at| at.to_rfc3339())),
        ),
        ("fault", json!(row.fault_message)),
        ("created_at", json!(row.created_at.to_rfc3339())),
        ("updated_at", json!(row.updated_at.to_rfc3339())),
        (
            "deleted_at",
            json!(row.deleted_at.map(|at| at.to_rfc3339())),
        ),
    ]
}

async fn cluster(cloud: &Cloud, row: &server::Model) -> Result<String, ManageError> {
    let found = backends::by_id(cloud.db.reader(), row.backend_id).await?;
    Ok(found.map(|backend| backend.name).unwrap_or_default())
}

pub(super) async fn show(cloud: &Cloud, key: &str) -> Result<Shown, ManageError> {
    let row = named(cloud, key).await?;
    let cluster = cluster(cloud, &row).await?;
    Ok(Shown::Fields(fields(&row, &cluster)))
}

pub(super) async fn explain(cloud: &Cloud, key: &str) -> Result<Shown, ManageError> {
    let row = named(cloud, key).await?;
    let cluster = cluster(cloud, &row).await?;
    let story = explain::server(cloud.db.reader(), &row).await?;
    let mut lines = vec![format!(
        "server {} {:?} ({}) is {} on {cluster} as {}{}{}",
        row.id,
        row.name,
        row.uuid,
        row.oper_state,
        row.instance_name.as_deref().unwrap_or("nothing yet"),
        row.task
            .as_ref()
            .map_or_else(String::new, |task| format!(", task {task}")),
        if row.doubtful_at.is_some() {
            ", in doubt"
        } else {
            ""
        },
    )];
    if let Some(fault) = &row.fault_message {
        lines.push(format!("  fault: {fault}"));
    }
    for port in &story.ports {
        lines.push(format!(
            "  NIC {} {} {} on network {}",
            port.id, port.mac, port.state, port.network_id
        ));
    }
    let mut calls = Vec::new();
    for call in &story.calls {
        lines.push(call_line(call));
        let own = |intent: &&intent::Model| {
            !call.request_id.is_empty() && intent.request_id.as_ref() == Some(&call.request_id)
        };
        let intents: Vec<Value> = story
            .intents
            .iter()
            .filter(own)
            .map(|intent| told(intent, &story, &mut lines))
            .collect();
        calls.push(json!({
            "at": call.at.to_rfc3339(), "request": call.request_id, "actor": call.actor, "source": call.source,
            "action": call.action, "result": call.result, "intents": intents,
        }));
    }
    // Those whose call is not written down, or not kept any more.
    let is_loose = |intent: &&intent::Model| {
        let mut calls = story.calls.iter();
        !calls.any(|call| {
            !call.request_id.is_empty() && intent.request_id.as_ref() == Some(&call.request_id)
        })
    };
    let mut loose = Vec::new();
    for intent in story.intents.iter().filter(is_loose) {
        lines.push(String::from("a call that is not kept"));
        loose.push(told(intent, &story, &mut lines));
    }
    let is_others = |job: i64| {
        !story
            .intents
            .iter()
            .any(|intent| intent.job_id == Some(job))
    };
    let mut others = Vec::new();
    for job in story.jobs.iter().filter(|job| is_others(job.job_id)) {
        lines.push(String::from("not of ours"));
        others.push(job_told(job.job_id, &story, &mut lines));
    }
    let row_shown: serde_json::Map<String, Value> = fields(&row, &cluster)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Ok(Shown::Text {
        lines,
        json: json!({"server": row_shown, "calls": calls, "intents_without_call": loose, "other_jobs": others}),
    })
}

fn call_line(call: &audit_entry::Model) -> String {
    format!(
        "{} {} by {} from {}: {} ({})",
        call.at.to_rfc3339(),
        call.action,
        call.actor,
        call.source,
        call.result,
        if call.request_id.is_empty() {
            "no request"
        } else {
            &call.request_id
        },
    )
}

fn told(intent: &intent::Model, story: &Story, lines: &mut Vec<String>) -> Value {
    let after = intent
        .after_id
        .map_or_else(String::new, |id| format!(" after {id}"));
    let job = intent
        .job_id
        .map_or_else(String::new, |id| format!(", job {id}"));
    let error = intent
        .error
        .as_ref()
        .map_or_else(String::new, |why| format!(": {why}"));
    lines.push(format!(
        "  intent {} {}{after} {}, sent {} times{job}{error}",
        intent.id, intent.step, intent.state, intent.attempts
    ));
    let job = intent.job_id.map(|id| job_told(id, story, lines));
    json!({
        "id": intent.id, "uuid": intent.uuid, "step": intent.step, "task": intent.task, "state": intent.state,
        "after": intent.after_id, "attempts": intent.attempts, "error": intent.error, "leased_by": intent.leased_by,
        "not_before": intent.not_before.to_rfc3339(), "job": job,
    })
}

fn job_told(id: i64, story: &Story, lines: &mut Vec<String>) -> Value {
    let mut operations = Vec::new();
    for job in story.jobs.iter().filter(|job| job.job_id == id) {
        let log = job
            .log
            .as_ref()
            .map_or_else(String::new, |log| format!(": {log}"));
        lines.push(format!("    job {id} {} {}{log}", job.opcode, job.status));
        operations.push(
            json!({"opcode": job.opcode, "status": job.status, "log": job.log, "ended": job.ended}),
        );
    }
    if operations.is_empty() {
        lines.push(format!("    job {id}: nothing was heard of it"));
    }
    let mut events = Vec::new();
    for event in story.events.iter().filter(|event| event.job_id == id) {
        let at = event.taken_at.to_rfc3339();
        lines.push(format!("      event {} taken in {at}", event.status));
        events.push(json!({"status": event.status, "taken_at": at}));
    }
    json!({"id": id, "operations": operations, "events": events})
}
