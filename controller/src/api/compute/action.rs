//! What a server is asked to do: a body of one word.

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::servers::seen;
use super::uuid;
use crate::api::body::{Json, Path};
use crate::api::fault::Fault;
use crate::api::principal::Principal;
use crate::cloud::Cloud;
use crate::lifecycle::Action;
use crate::servers;

/// Nova's other actions; whoever asks for them is told that they are not done here.
const UNDONE: [&str; 33] = [
    "addFixedIp",
    "addFloatingIp",
    "addSecurityGroup",
    "changePassword",
    "createBackup",
    "createImage",
    "evacuate",
    "forceDelete",
    "injectNetworkInfo",
    "lock",
    "migrate",
    "os-getConsoleOutput",
    "os-getRDPConsole",
    "os-getSPICEConsole",
    "os-getSerialConsole",
    "os-getVNCConsole",
    "os-migrateLive",
    "os-resetState",
    "pause",
    "rebuild",
    "removeFixedIp",
    "removeFloatingIp",
    "removeSecurityGroup",
    "rescue",
    "resetNetwork",
    "restore",
    "resume",
    "shelve",
    "shelveOffload",
    "suspend",
    "trigger_crash_dump",
    "unlock",
    "unpause",
];

/// Has a server do something.
#[utoipa::path(post, path = "/v2.1/servers/{server_id}/action", tag = "servers",
    params(("server_id" = String, Path)), request_body = Value,
    responses((status = 202), (status = 204), (status = 501)))]
pub(super) async fn act(
    State(cloud): State<Cloud>,
    who: Principal,
    Path(id): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Result<StatusCode, Fault> {
    let uuid = uuid(&id)?;
    let mut words = body.iter();
    let (Some((word, with)), None) = (words.next(), words.next()) else {
        return Err(Fault::bad("a body of one action is wanted"));
    };
    let accepted = StatusCode::ACCEPTED;
    let (action, status) = match word.as_str() {
        "os-start" => (Action::Start, accepted),
        "os-stop" => (Action::Stop, accepted),
        "reboot" => (
            Action::Reboot {
                hard: is_hard(with)?,
            },
            accepted,
        ),
        "resize" => {
            let flavor = flavor_of(with)?;
            servers::resize(&cloud, &who, uuid, Action::Resize, flavor).await?;
            return Ok(accepted);
        }
        "confirmResize" => (Action::ConfirmResize, StatusCode::NO_CONTENT),
        "revertResize" => (Action::RevertResize, accepted),
        word => {
            seen(&cloud, &who, &id).await?;
            if UNDONE.contains(&word) {
                return Err(Fault::NotImplemented(format!("{word} is not done here")));
            }
            return Err(Fault::bad(format!("There is no such action: {word}")));
        }
    };
    if !matches!(action, Action::Reboot { .. }) && !with.is_null() && !is_empty(with) {
        return Err(Fault::bad(format!("{word} takes nothing")));
    }
    servers::act(&cloud, &who, uuid, action).await?;
    Ok(status)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

fn is_hard(with: &Value) -> Result<bool, Fault> {
    let bad = || Fault::bad("reboot takes a type of SOFT or HARD");
    let with = with
        .as_object()
        .filter(|with| with.len() == 1)
        .ok_or_else(bad)?;
    let kind = with.get("type").and_then(Value::as_str).ok_or_else(bad)?;
    match &*kind.to_uppercase() {
        "HARD" => Ok(true),
        "SOFT" => Ok(false),
        _ => Err(bad()),
    }
}

fn flavor_of(with: &Value) -> Result<&str, Fault> {
    let bad = || Fault::bad("resize takes a flavorRef");
    let with = with.as_object().ok_or_else(bad)?;
    let is_known = |word: &String| word == "flavorRef" || word == "OS-DCF:diskConfig";
    if !with.keys().all(is_known)
        || with
            .get("OS-DCF:diskConfig")
            .is_some_and(|word| word != "MANUAL")
    {
        return Err(Fault::bad(
            "resize takes a flavorRef, and no diskConfig but MANUAL",
        ));
    }
    let flavor = with
        .get("flavorRef")
        .and_then(Value::as_str)
        .ok_or_else(bad)?;
    Ok(flavor.rsplit('/').next().unwrap_or_default())
}
