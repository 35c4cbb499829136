//! The harness: worlds that leave nothing behind, TAPs as Ganeti opens them, real clients and real guests.
//!
//! A test calls [`world::in_world`]: it is run again in a child with network, mount and pid namespaces of its own, and
//! whatever happens to it, the kernel takes everything down with the child. Inside, a [`host::Host`] stands for a
//! Ganeti node, a [`client::Client`] for a VM's operating system; a [`wire::Wire`] carries frames between a host's
//! [`tap::Tap`] and the client, as QEMU would, and keeps a record of them. A [`lab::Lab`] is a real Ganeti cluster.

pub mod bench;
pub mod broker;
pub mod client;
pub mod eventd;
pub mod frame;
pub mod ganeti;
pub mod guest;
pub mod host;
pub mod job_queue;
pub mod lab;
pub mod luxi;
pub mod namespace;
pub mod netboot;
pub mod node;
pub mod notifications;
pub mod pcap;
pub mod program;
pub mod progress;
pub mod relay;
pub mod served;
pub mod systemd;
pub mod tap;
pub mod thread;
pub mod untouched;
pub mod wait;
pub mod wire;
pub mod world;
