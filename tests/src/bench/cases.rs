//! The questions asked; each file one, or one and its neighbour.

pub(crate) mod advertise;
pub(crate) mod binding;
pub(crate) mod continuity;
pub(crate) mod delay;
pub(crate) mod hostile;
pub(crate) mod ifup;
pub(crate) mod look;
pub(crate) mod loops;
pub(crate) mod open;
pub(crate) mod queue;
pub(crate) mod replay;
pub(crate) mod rounds;
pub(crate) mod start;
pub(crate) mod storm;
