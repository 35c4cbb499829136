//! The tables: made once, whoever tries, and the same as the rows we read.

use controller::db::{Db, DbError, entity};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Iterable, QuerySelect, Statement};

use crate::databases::{ALL, Fresh};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_migrate_at_once_and_one_does_it() {
    for kind in ALL {
        let Some(fresh) = Fresh::make(kind).await else {
            continue;
        };
        let db = Db::connect(&fresh.url, 2).await.unwrap();
        let before = db.check().await;
        assert!(
            matches!(before, Err(DbError::Behind(_))),
            "{kind:?}: {before:?}"
        );
        let tries = (0..3).map(|_| {
            let url = fresh.url.clone();
            tokio::spawn(async move { Db::migrate(&url).await })
        });
        let tries: Vec<_> = tries.collect();
        for each in tries {
            each.await.unwrap().unwrap();
        }
        db.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_newer_programs_tables_are_left_alone() {
    for kind in ALL {
        let Some((fresh, db)) = Fresh::migrated(kind).await else {
            continue;
        };
        let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)";
        db.reader().execute_unprepared(newer).await.unwrap();
        for refused in [db.check().await, Db::migrate(&fresh.url).await] {
            assert!(
                matches!(&refused, Err(DbError::Ahead(name)) if name == "m9999_later"),
                "{kind:?}: {refused:?}"
            );
        }
    }
}

/// Reads a row with all the columns we know, and counts those that the table has.
async fn is_as_we_read_it<E: EntityTrait>(db: &Db, table: &str)
where
    E::Column: Iterable,
{
    let read = E::find().limit(1).all(db.reader()).await;
    read.unwrap_or_else(|error| panic!("{table}: {error}"));
    let count = if db.kind() == DbBackend::Sqlite {
        format!("SELECT count(*) AS found FROM pragma_table_info('{table}')")
    } else {
        let schema = match db.kind() == DbBackend::MySql {
            true => "database()",
            false => "current_schema()",
        };
        format!(
            "SELECT count(*) AS found FROM information_schema.columns
             WHERE table_schema = {schema} AND table_name = '{table}'"
        )
    };
    let statement = Statement::from_string(db.kind(), count);
    let row = db.reader().query_one_raw(statement).await.unwrap().unwrap();
    let found: i64 = row.try_get("", "found").unwrap();
    let known = i64::try_from(E::Column::iter().count()).unwrap();
    assert_eq!(found, known, "columns of {table} on {:?}", db.kind());
}

#[tokio::test]
async fn every_table_is_as_we_read_it() {
    for kind in ALL {
        let Some((_fresh, db)) = Fresh::migrated(kind).await else {
            continue;
        };
        macro_rules! each {
            ($($module:ident = $table:literal),* $(,)?) => {
                $(is_as_we_read_it::<entity::$module::Entity>(&db, $table).await;)*
            };
        }
        each! {
            domain = "domains", project = "projects", user = "users", role_assignment = "role_assignments",
            token = "tokens", application_credential = "application_credentials", quota = "quotas",
            key_pair = "key_pairs", backend = "backends", flavor = "flavors", image = "images",
            server = "servers", server_metadata = "server_metadata", network = "networks", subnet = "subnets",
            backend_network = "backend_networks", port = "ports", address = "addresses", intent = "intents",
            job = "jobs", inbox_entry = "inbox", stream = "streams", gap = "gaps",
            dead_letter = "dead_letters", audit_entry = "audit",
        }
    }
}
