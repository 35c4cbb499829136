//! snf-ifup: wires one TAP of a Ganeti VM. The modules in the order a NIC's trip meets them.
