//! A host for one test: its own network, `/run`, `/var/lib` and `/etc/iproute2`, with an uplink and a bridge.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The program under test.
pub(crate) const SNF_IFUP: &str = env!("CARGO_BIN_EXE_snf-ifup");
/// How long a fact may take to become true.
const BOUND: Duration = Duration::from_secs(20);

/// Runs the body on a thread in fresh namespaces. What cannot be had is printed, and the test is skipped; in CI it fails.
pub(crate) fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let missing = thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS) {
            return Some(format!("network and mount namespaces: {error}"));
        }
        let absent = |name: &str| Command::new(name).arg("-V").output().is_err();
        if let Some(name) = ["ip", "nft"].into_iter().find(|name| absent(name)) {
            return Some(format!("the program {name}"));
        }
        if !Path::new("/dev/net/tun").exists() {
            return Some("/dev/net/tun".to_owned());
        }
        private();
        host();
        body();
        None
    })
    .join()
    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if let Some(missing) = missing {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "missing: {missing}"
        );
        println!("skipped, missing: {missing}");
    }
}

fn private() {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    for place in ["/run", "/var/lib", "/etc/iproute2"] {
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    }
    fs::write("/etc/iproute2/rt_tables", "255 local\n254 main\n79 rt79\n").unwrap();
    assert!(
        !Path::new("/etc/snf-ifup.toml").exists(),
        "this host has a configuration of its own"
    );
}

/// A host that forwards: bridge `br0` with the port `up0`; uplink `eth1`, whose far side is `far1`, and table 79 out of it.
fn host() {
    for line in [
        "link set lo up",
        "link add br0 address 52:54:00:00:00:01 type bridge stp_state 0 forward_delay 0",
        "link add up0 type veth peer name far0",
        "link set up0 master br0 up",
        "link set far0 up",
        "link set br0 up",
        "link add eth1 address 52:54:00:00:00:02 type veth peer name far1 address 52:54:00:00:00:03",
    ] {
        ip(line);
    }
    sysctl("net/ipv6/conf/far0/disable_ipv6", "1");
    sysctl("net/ipv6/conf/far1/disable_ipv6", "1");
    sysctl("net/ipv6/conf/eth1/accept_dad", "0");
    sysctl("net/ipv4/ip_forward", "1");
    sysctl("net/ipv6/conf/all/forwarding", "1");
    for line in [
        "link set eth1 up",
        "link set far1 up",
        "route add 10.79.0.0/24 dev eth1 table 79",
        "route add default via 10.79.0.1 dev eth1 table 79 onlink",
        "-6 route add 2001:db8:79::/64 dev eth1 table 79",
        "-6 route add default via 2001:db8:79::1 dev eth1 table 79 onlink",
        "rule add iif eth1 lookup 79 priority 100",
        "-6 rule add iif eth1 lookup 79 priority 100",
        "neigh add 10.79.0.1 lladdr 52:54:00:00:00:03 dev eth1",
        "-6 neigh add 2001:db8:79::1 lladdr 52:54:00:00:00:03 dev eth1",
    ] {
        ip(line);
    }
    for device in ["br0", "eth1"] {
        until("the devices have a carrier", || {
            ip(&format!("link show {device}")).contains("state UP")
        });
    }
}

/// Runs `ip` with these words; gives its output.
pub(crate) fn ip(words: &str) -> String {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `nft` with these words; gives its output.
pub(crate) fn nft(words: &str) -> String {
    let output = Command::new("nft")
        .args(words.split_whitespace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {words}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Sets a value under `/proc/sys`.
pub(crate) fn sysctl(key: &str, value: &str) {
    fs::write(Path::new("/proc/sys").join(key), value).unwrap();
}

/// All that snf-ifup may change: devices but `but`, rules, routes, proxies, tables and their elements, files.
pub(crate) fn snapshot(but: &str) -> String {
    let mut text = ip("-o link");
    for words in [
        "-j rule",
        "-j -6 rule",
        "-j route show table all",
        "-j -6 route show table all",
        "-j neigh show proxy",
    ] {
        text.push_str(&ip(words).replace('{', "\n{"));
    }
    let (device, dev) = (format!(" {but}:"), format!("\"dev\":\"{but}\""));
    // The kernel's own routes come and go with its addresses; the link-local ones some time after their devices.
    let others = [device.as_str(), &dev, "\"protocol\":\"kernel\""];
    let lines = text
        .lines()
        .filter(|line| !others.iter().any(|other| line.contains(other)));
    // A device gets its queueing discipline when it is up for the first time, and keeps it.
    let lines = lines.map(|line| line.replace("qdisc noop", "qdisc pfifo_fast"));
    let mut text: String = lines.map(|line| format!("{line}\n")).collect();
    text.push_str(&nft("-j -s list ruleset").replace("}}, ", "}},\n"));
    for directory in ["/var/lib/nfdhcpd", "/run/snf-ifup/taps"] {
        let entries = fs::read_dir(directory).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        text.push_str(&format!("\n{directory}: {names:?}"));
    }
    text
}

/// Nothing is different; if something is, says what.
pub(crate) fn assert_same(before: &str, after: &str, when: &str) {
    let only = |left: &str, right: &str| -> Vec<String> {
        left.lines()
            .filter(|line| !right.lines().any(|other| other == *line))
            .map(str::to_owned)
            .collect()
    };
    let (gone, new) = (only(before, after), only(after, before));
    assert!(before == after, "{when}: gone: {gone:#?}, new: {new:#?}");
}

/// Waits until the fact is true.
pub(crate) fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !fact() {
        assert!(Instant::now() < end, "not within {BOUND:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A NIC's variables, as Ganeti sets them.
#[derive(Clone)]
pub(crate) struct Nic(Vec<(String, String)>);

impl Nic {
    /// The bridged NIC number `n` of the network `netbr`, on bridge `br0`.
    pub(crate) fn bridged(tap: &str, n: u8) -> Self {
        Self::new(&[
            ("INTERFACE", tap),
            ("MAC", &format!("aa:00:77:00:00:{n:02x}")),
            ("MODE", "bridged"),
            ("LINK", "br0"),
            ("BRIDGE", "br0"),
            ("IP", &format!("10.77.0.{n}")),
            ("NETWORK_NAME", "netbr"),
            ("NETWORK_SUBNET", "10.77.0.0/24"),
            ("NETWORK_GATEWAY", "10.77.0.1"),
            ("NETWORK_MAC_PREFIX", "aa:00:77"),
            ("NETWORK_TAGS", "private-filtered nfdhcpd"),
        ])
    }

    /// The routed NIC number `n` of the network `netrt`, in table `rt79`.
    pub(crate) fn routed(tap: &str, n: u8) -> Self {
        Self::new(&[
            ("INTERFACE", tap),
            ("MAC", &format!("aa:00:00:00:00:{n:02x}")),
            ("MODE", "routed"),
            ("LINK", "rt79"),
            ("IP", &format!("10.79.0.{n}")),
            ("NETWORK_NAME", "netrt"),
            ("NETWORK_SUBNET", "10.79.0.0/24"),
            ("NETWORK_GATEWAY", "10.79.0.1"),
            ("NETWORK_SUBNET6", "2001:db8:79::/64"),
            ("NETWORK_GATEWAY6", "2001:db8:79::1"),
            ("NETWORK_TAGS", "ip-less-routed nfdhcpd"),
        ])
    }

    fn new(variables: &[(&str, &str)]) -> Self {
        let nic = Self(Vec::new());
        let nic = nic
            .with("INSTANCE", "vm.example.org")
            .with("VLAN", "")
            .with("TAGS", "");
        variables
            .iter()
            .fold(nic, |nic, (name, value)| nic.with(name, value))
    }

    /// The same with one variable set.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(found, _)| found != name);
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The variables.
    pub(crate) fn variables(&self) -> ifup::request::Variables {
        self.0.iter().cloned().collect()
    }

    /// A call of the program `path` with these variables and Ganeti's umask.
    pub(crate) fn command(&self, path: &str, words: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("umask 077; exec {path} {words}")]);
        command
            .env_clear()
            .envs(self.0.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the program to its end.
    pub(crate) fn call(&self, words: &str) -> Output {
        self.command(SNF_IFUP, words).output().unwrap()
    }

    /// Runs the program; it must succeed. Gives what it prints.
    pub(crate) fn run(&self, words: &str) -> String {
        let output = self.call(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "snf-ifup {words}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A TAP as Ganeti makes it, whose far side is in our hands: as with QEMU it is gone when this is dropped.
pub(crate) struct Tap {
    /// Frames in and out.
    pub(crate) file: File,
}

nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);

impl Tap {
    /// Makes the TAP in the thread's namespace; it is down.
    #[expect(unsafe_code, reason = "TUNSETIFF has no safe form")]
    pub(crate) fn open(name: &str) -> Self {
        let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open("/dev/net/tun")
            .unwrap();
        let ifru_flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI).unwrap();
        let mut request = libc::ifreq {
            ifr_name: [0; libc::IFNAMSIZ],
            ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags },
        };
        for (to, from) in request
            .ifr_name
            .iter_mut()
            .zip(name.bytes().take(libc::IFNAMSIZ - 1))
        {
            *to = from.cast_signed();
        }
        // A child that another test is just starting may still hold the TAP that had the name.
        until("the name is free", || {
            // SAFETY: the request is a whole `struct ifreq` with a terminated name and outlives the call.
            unsafe { set_interface(file.as_raw_fd(), &raw const request) }.is_ok()
        });
        Self { file }
    }

    /// Sends a frame as the VM.
    pub(crate) fn send(&self, frame: &[u8]) {
        (&self.file).write_all(frame).unwrap();
    }

    /// Reads frames the VM gets until one is what is looked for, and gives all of them, that one last.
    pub(crate) fn receive_until(&self, what: &str, is_it: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        until(what, || {
            let mut frame = vec![0; 2048];
            while let Ok(length) = (&self.file).read(&mut frame) {
                frames.push(frame[..length].to_vec());
                if is_it(&frame[..length]) {
                    return true;
                }
            }
            false
        });
        frames
    }
}

/// Everything that comes out of a device, from now on.
pub(crate) struct Capture(std::os::fd::OwnedFd);

impl Capture {
    /// Listens on a device of the thread's namespace.
    #[expect(
        unsafe_code,
        reason = "nix has no link address made from an interface index"
    )]
    pub(crate) fn on(device: &str) -> Self {
        use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
        let all = SockProtocol::EthAll;
        let raw = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK,
            all,
        )
        .unwrap();
        // SAFETY: all fields are integers; zero is valid for each.
        let mut at: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        at.sll_family = libc::AF_PACKET as u16;
        at.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        at.sll_ifindex = nix::net::if_::if_nametoindex(device).unwrap().cast_signed();
        let length = libc::socklen_t::try_from(size_of_val(&at)).unwrap();
        // SAFETY: the address outlives the call and its length is its own.
        let bound = unsafe { libc::bind(raw.as_raw_fd(), (&raw const at).cast(), length) };
        assert_eq!(bound, 0);
        Self(raw)
    }

    /// Sends a frame out of the device, below all hooks, as nfdhcpd does.
    pub(crate) fn send(&self, frame: &[u8]) {
        let flags = nix::sys::socket::MsgFlags::empty();
        nix::sys::socket::send(self.0.as_raw_fd(), frame, flags).unwrap();
    }

    /// Reads frames until one is what is looked for, and gives all of them, that one last.
    pub(crate) fn receive_until(
        &self,
        what: &str,
        mut is_it: impl FnMut(&[u8]) -> bool,
    ) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        until(what, || {
            let mut frame = vec![0; 2048];
            while let Ok(length) = nix::unistd::read(&self.0, &mut frame) {
                frames.push(frame[..length].to_vec());
                if is_it(&frame[..length]) {
                    return true;
                }
            }
            false
        });
        frames
    }
}
