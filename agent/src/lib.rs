//! What runs for long on a Ganeti node.

pub mod eventd;
