//! snf-ifup's command line.

fn main() {}
