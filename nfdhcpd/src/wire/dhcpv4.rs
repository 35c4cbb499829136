//! BOOTP header and DHCPv4 options (RFC 2131, 2132, 3396), read and written.
