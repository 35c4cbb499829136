//! Router and neighbour discovery messages (RFC 4861), read and written.
