//! Users, projects, and what projects may have.

use std::path::PathBuf;

use clap::Args;
use sea_orm::{ActiveValue::Set, IntoActiveModel};
use serde_json::json;

use super::{ManageError, Shown, note, only, secret_of};
use crate::api::principal::Role;
use crate::bootstrap::DOMAIN;
use crate::cloud::{self, Cloud};
use crate::db::entity::{domain, quota};
use crate::db::quotas::Resource;
use crate::db::{Tx, accounts, lookup, rows as one};
use crate::secret;

/// `user-create`
#[derive(Debug, Clone, Args)]
pub struct NewUser {
    /// Its name.
    name: String,
    /// Project it is in: name, UUID or number.
    #[arg(long)]
    project: String,
    /// What it is there: `admin`, `member`, `reader`.
    #[arg(long, default_value = "member")]
    role: String,
    /// File with its password [default: one is drawn, and printed once].
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

async fn domain(tx: &Tx) -> Result<domain::Model, ManageError> {
    let found = accounts::domain_named(&**tx, DOMAIN).await?;
    found.ok_or_else(|| {
        let words = "there is no cloud yet: run `snf-controller bootstrap`";
        ManageError::Refused(words.to_owned())
    })
}

pub(super) async fn create_user(cloud: &Cloud, new: NewUser) -> Result<Shown, ManageError> {
    let role = Role::parse(&new.role);
    let role = role.ok_or_else(|| {
        let words = format!("--role {}: admin, member or reader", new.role);
        ManageError::Usage(words)
    })?;
    let given = new.password_file.as_deref().map(secret_of).transpose()?;
    let password = match &given {
        Some(password) => password.clone(),
        None => secret::random()?,
    };
    let digest = secret::digest_password(&password)?;
    let made = cloud.db.write(async |tx: Tx| -> Result<_, ManageError> {
        let domain = domain(&tx).await?;
        let found = lookup::projects(&*tx, &new.project).await?;
        let project = only(found, "project", &new.project)?;
        let known = accounts::user_named(&*tx, domain.id, &new.name).await?;
        let is_new = known.is_none();
        if given.is_some() && !is_new {
            let words = format!("the user {:?} is there, and keeps its password", new.name);
            return Err(ManageError::Refused(words));
        }
        let user = match known {
            Some(user) => user,
            None => {
                let (now, home) = (cloud::now(), Some(project.id));
                accounts::add_user(&*tx, domain.id, &new.name, Some(&digest), home, now).await?
            }
        };
        accounts::grant(&*tx, user.id, project.id, role).await?;
        let detail = json!({"name": user.name, "project": project.name, "role": role.as_str()});
        note(&tx, ("user", "create"), user.uuid.to_string(), detail).await?;
        Ok((user, project, is_new))
    });
    let (user, project, is_new) = made.await?;
    let mut shown = vec![
        ("id", json!(user.id)),
        ("uuid", json!(user.uuid)),
        ("name", json!(user.name)),
        ("project", json!(project.name)),
        ("role", json!(role.as_str())),
    ];
    if is_new && given.is_none() {
        shown.push(("password", json!(password)));
    }
    Ok(Shown::Fields(shown))
}

pub(super) async fn create_project(
    cloud: &Cloud,
    name: &str,
    description: &str,
) -> Result<Shown, ManageError> {
    let made = cloud.db.write(async |tx: Tx| -> Result<_, ManageError> {
        let domain = domain(&tx).await?;
        if accounts::project_named(&*tx, domain.id, name)
            .await?
            .is_some()
        {
            let words = format!("there is a project {name:?} already");
            return Err(ManageError::Refused(words));
        }
        let now = cloud::now();
        let made = accounts::add_project(&*tx, domain.id, name, description, now).await?;
        let detail = json!({"name": made.name});
        note(&tx, ("project", "create"), made.uuid.to_string(), detail).await?;
        Ok(made)
    });
    let made = made.await?;
    Ok(Shown::Fields(vec![
        ("id", json!(made.id)),
        ("uuid", json!(made.uuid)),
        ("name", json!(made.name)),
    ]))
}

pub(super) async fn list_projects(cloud: &Cloud) -> Result<Shown, ManageError> {
    let all = lookup::all_projects(cloud.db.reader()).await?;
    let rows = all.into_iter().map(|row| {
        vec![
            json!(row.id),
            json!(row.uuid),
            json!(row.name),
            json!(row.enabled),
            json!(row.description),
        ]
    });
    Ok(Shown::Table {
        columns: &["id", "uuid", "name", "enabled", "description"],
        rows: rows.collect(),
    })
}

/// `instances=20` or `ram=default`.
fn bound(text: &str) -> Result<(Resource, Option<i64>), ManageError> {
    let wrong = || {
        let known = Resource::ALL.map(Resource::as_str).join(", ");
        ManageError::Usage(format!(
            "{text:?}: RESOURCE=MOST, a number from -1 on or `default`, of {known}"
        ))
    };
    let (name, most) = text.split_once('=').ok_or_else(wrong)?;
    let mut all = Resource::ALL.into_iter();
    let resource = all
        .find(|resource| resource.as_str() == name)
        .ok_or_else(wrong)?;
    if most == "default" {
        return Ok((resource, None));
    }
    let most: i64 = most.parse().map_err(|_| wrong())?;
    if most < -1 {
        return Err(wrong());
    }
    Ok((resource, Some(most)))
}

pub(super) async fn set_quota(
    cloud: &Cloud,
    key: &str,
    given: &[String],
) -> Result<Shown, ManageError> {
    let bounds: Vec<_> = given
        .iter()
        .map(|text| bound(text))
        .collect::<Result<_, _>>()?;
    let project = only(
        lookup::projects(cloud.db.reader(), key).await?,
        "project",
        key,
    )?;
    let limits = cloud.db.write(async |tx: Tx| -> Result<_, ManageError> {
        for (resource, most) in &bounds {
            let known = lookup::quota(&*tx, project.id, resource.as_str()).await?;
            match (known, most) {
                (Some(known), None) => {
                    sea_orm::ModelTrait::delete(known, &*tx)
                        .await
                        .map_err(crate::db::DbError::from)?;
                }
                (Some(known), Some(most)) => {
                    let mut row = known.into_active_model();
                    row.most = Set(*most);
                    one::update(&tx, row).await?;
                }
                (None, Some(most)) => {
                    let row = quota::ActiveModel {
                        project_id: Set(project.id),
                        resource: Set(resource.as_str().to_owned()),
                        most: Set(*most),
                        ..Default::default()
                    };
                    one::insert(&tx, row).await?;
                }
                (None, None) => {}
            }
        }
        let detail = json!({ "set": given });
        note(&tx, ("quota", "set"), project.uuid.to_string(), detail).await?;
        Ok(crate::db::quotas::limits(&*tx, project.id).await?)
    });
    let limits = limits.await?;
    let defaults = &cloud.config.quota;
    let rows = Resource::ALL.into_iter().map(|resource| {
        let own = limits.iter().find(|(known, _)| *known == resource);
        let most = own.map_or(
            match resource {
                Resource::Instances => defaults.instances,
                Resource::Cores => defaults.cores,
                Resource::Ram => defaults.ram,
                Resource::Disk => defaults.disk,
                Resource::FloatingIps => defaults.floating_ips,
                Resource::Networks => defaults.networks,
            },
            |(_, most)| *most,
        );
        vec![json!(resource.as_str()), json!(most), json!(own.is_none())]
    });
    Ok(Shown::Table {
        columns: &["resource", "most", "default"],
        rows: rows.collect(),
    })
}
