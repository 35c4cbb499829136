//! nfdhcpd's command line.

fn main() {}
