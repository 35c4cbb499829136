//! Ethernet, IPv4, IPv6 and UDP headers, the Internet checksum, read and written.
