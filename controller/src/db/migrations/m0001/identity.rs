//! Who may do what.

use sea_orm::DbBackend;
use sea_orm_migration::schema::*;

use super::{Table, moment, moment_null, table};

/// The tables, those first that others name.
pub(super) fn tables(backend: DbBackend) -> Vec<Table> {
    vec![
        table("domains")
            .column(uuid("uuid"))
            .column(string_len("name", 255))
            .column(boolean("enabled"))
            .column(moment("created_at", backend))
            .unique(&["uuid"])
            .unique(&["name"]),
        table("projects")
            .column(uuid("uuid"))
            .column(big_integer("domain_id"))
            .column(string_len("name", 255))
            .column(text("description"))
            .column(boolean("enabled"))
            .column(moment("created_at", backend))
            .refers("domain_id", "domains")
            .unique(&["uuid"])
            .unique(&["domain_id", "name"]),
        table("users")
            .column(uuid("uuid"))
            .column(big_integer("domain_id"))
            .column(string_len("name", 255))
            .column(string_len_null("email", 255))
            .column(string_len_null("password_digest", 255))
            .column(big_integer_null("default_project_id"))
            .column(boolean("enabled"))
            .column(moment("created_at", backend))
            .refers("domain_id", "domains")
            .refers("default_project_id", "projects")
            .unique(&["uuid"])
            .unique(&["domain_id", "name"]),
        table("role_assignments")
            .column(big_integer("user_id"))
            .column(big_integer("project_id"))
            .column(string_len("role", 64))
            .refers("user_id", "users")
            .refers("project_id", "projects")
            .unique(&["user_id", "project_id", "role"]),
        table("application_credentials")
            .column(uuid("uuid"))
            .column(big_integer("user_id"))
            .column(big_integer("project_id"))
            .column(string_len("name", 255))
            .column(text("description"))
            .column(string_len("secret_digest", 64))
            .column(string_len("roles", 255))
            .column(boolean("unrestricted"))
            .column(moment_null("expires_at", backend))
            .column(moment("created_at", backend))
            .refers("user_id", "users")
            .refers("project_id", "projects")
            .unique(&["uuid"])
            .unique(&["user_id", "name"]),
        table("tokens")
            .column(string_len("digest", 64))
            .column(big_integer("user_id"))
            .column(big_integer_null("project_id"))
            .column(big_integer_null("application_credential_id"))
            .column(string_len("methods", 255))
            .column(string_len("audit_id", 32))
            .column(moment("issued_at", backend))
            .column(moment("expires_at", backend))
            .refers("user_id", "users")
            .refers("project_id", "projects")
            .refers("application_credential_id", "application_credentials")
            .unique(&["digest"])
            .index(&["expires_at"]),
        table("quotas")
            .column(big_integer("project_id"))
            .column(string_len("resource", 32))
            .column(big_integer("most"))
            .refers("project_id", "projects")
            .unique(&["project_id", "resource"]),
        table("key_pairs")
            .column(big_integer("user_id"))
            .column(string_len("name", 255))
            .column(string_len("kind", 16))
            .column(string_len("fingerprint", 128))
            .column(text("public_key"))
            .column(moment("created_at", backend))
            .refers("user_id", "users")
            .unique(&["user_id", "name"]),
    ]
}
