//! A row of each table. Columns and indices are made by [`super::migrations`]; a test compares the two.

pub mod address;
pub mod application_credential;
pub mod audit_entry;
pub mod backend;
pub mod backend_network;
pub mod dead_letter;
pub mod domain;
pub mod flavor;
pub mod gap;
pub mod image;
pub mod inbox_entry;
pub mod intent;
pub mod job;
pub mod key_pair;
pub mod network;
pub mod port;
pub mod project;
pub mod quota;
pub mod role_assignment;
pub mod server;
pub mod server_metadata;
pub mod stream;
pub mod subnet;
pub mod token;
pub mod user;
