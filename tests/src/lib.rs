//! The harness: namespaces that leave nothing behind, TAPs as Ganeti opens them, real clients.
