//! Version 1: all tables.

mod cloud;
mod identity;
mod work;

use sea_orm::sea_query::{
    ColumnDef, ForeignKey, Index, IndexCreateStatement, TableCreateStatement,
};
use sea_orm::{DbBackend, DbErr};
use sea_orm_migration::schema::{
    big_pk_auto, custom, custom_null, timestamp_with_time_zone, timestamp_with_time_zone_null,
};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0001_all_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let parts = [identity::tables, cloud::tables, work::tables];
        for table in parts.into_iter().flat_map(|part| part(backend)) {
            table.make(manager, backend).await?;
        }
        Ok(())
    }
}

/// A table in the making: `id`, and what is added.
struct Table {
    name: &'static str,
    statement: TableCreateStatement,
    indices: Vec<IndexCreateStatement>,
}

fn table(name: &'static str) -> Table {
    let mut statement = TableCreateStatement::new();
    statement.table(name).col(big_pk_auto("id"));
    Table {
        name,
        statement,
        indices: Vec::new(),
    }
}

impl Table {
    fn column(mut self, column: ColumnDef) -> Self {
        self.statement.col(column);
        self
    }

    /// A column holds numbers of rows of another table, which stay as long as they are named.
    fn refers(mut self, column: &'static str, other: &'static str) -> Self {
        let mut key = ForeignKey::create();
        key.name(format!("fk_{}_{column}", self.name))
            .from(self.name, column)
            .to(other, "id");
        self.statement.foreign_key(&mut key);
        self
    }

    fn unique(self, columns: &[&'static str]) -> Self {
        self.indexed("uq", columns, true)
    }

    fn index(self, columns: &[&'static str]) -> Self {
        self.indexed("ix", columns, false)
    }

    fn indexed(mut self, kind: &str, columns: &[&'static str], unique: bool) -> Self {
        let mut index = Index::create();
        index
            .name(format!("{kind}_{}_{}", self.name, columns.join("_")))
            .table(self.name);
        if unique {
            index.unique();
        }
        for column in columns {
            index.col(*column);
        }
        self.indices.push(index);
        self
    }

    async fn make(mut self, manager: &SchemaManager<'_>, backend: DbBackend) -> Result<(), DbErr> {
        if backend == DbBackend::MySql {
            // Names that differ in case, or in an accent, are two names, as on the others.
            self.statement
                .engine("InnoDB")
                .character_set("utf8mb4")
                .collate("utf8mb4_bin");
        }
        manager.create_table(self.statement).await?;
        for index in self.indices {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

/// A moment, in UTC, to the microsecond.
fn moment(name: &'static str, backend: DbBackend) -> ColumnDef {
    if backend == DbBackend::MySql {
        custom(name, "DATETIME(6)")
    } else {
        timestamp_with_time_zone(name)
    }
}

/// A moment that may be missing.
fn moment_null(name: &'static str, backend: DbBackend) -> ColumnDef {
    if backend == DbBackend::MySql {
        custom_null(name, "DATETIME(6)")
    } else {
        timestamp_with_time_zone_null(name)
    }
}
