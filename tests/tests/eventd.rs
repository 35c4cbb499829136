//! A job's trip: from a file in Ganeti's queue to a real broker, and what must not stop it.
//!
//! Each test has one broker, which takes seconds to start, for several scenes.

mod eventd {
    pub(crate) mod arrivals;
    mod faults;
    mod kills;
    mod trip;
}
