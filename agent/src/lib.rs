//! What runs for long on a Ganeti node.

pub mod command_line;
pub mod config;
pub mod eventd;
pub mod hook;
pub mod node;
pub mod progress;
pub mod transport;
