//! What runs for long on a Ganeti node.

pub mod eventd;
pub mod hook;
pub mod node;
