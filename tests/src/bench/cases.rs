//! The questions asked; each file one, or one and its neighbour.

pub(crate) mod advertise;
pub(crate) mod binding;
pub(crate) mod continuity;
pub(crate) mod hostile;
pub(crate) mod ifup;
pub(crate) mod loops;
pub(crate) mod open;
pub(crate) mod rounds;
pub(crate) mod start;
pub(crate) mod storm;
