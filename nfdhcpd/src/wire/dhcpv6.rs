//! DHCPv6 messages and options (RFC 8415), read and written.
