//! `make demo`: the product's main job, before your eyes.
//!
//! In namespaces that vanish with this program: a host with a bridged and a routed network, nfdhcpd, and a real guest on
//! each, brought up in Ganeti's order: the TAP is made, snf-ifup wires it, QEMU starts on it. Ends well only if both
//! guests have their addresses and answer pings.

#![expect(clippy::print_stdout, reason = "it is there to be read")]

mod timeline;

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nfdhcpd_binding::MacAddr;
use system_tests::client::{CARD, Client};
use system_tests::frame::{Message, build, read};
use system_tests::ganeti::{self, BRIDGED, BRIDGED_MAC, ROUTED, ROUTED_MAC};
use system_tests::guest::{self, Accelerator, Guest};
use system_tests::host::{Host, Nfdhcpd};
use system_tests::progress::Progress;
use system_tests::tap::Tap;
use system_tests::world::{self, World};

/// How long a guest may take from power on to its addresses.
const BOOT: Duration = Duration::from_secs(50);

const CONFIGURATION: &str = "\
user = \"nobody\"
nameservers = [\"2001:db8:77::53\"]
";

/// The networks' own router, as the guests see it; within the bridged network's prefix of hardware addresses.
const ROUTER_MAC: MacAddr = MacAddr([0xaa, 0x00, 0x77, 0x00, 0x00, 0x01]);

/// One of the two scenes.
struct Scene {
    title: &'static str,
    tap: &'static str,
    nic: &'static [(&'static str, &'static str)],
    mac: MacAddr,
    address4: &'static str,
    address6: &'static str,
    router: Client,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\ndemo: failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    if !world::is_inside() {
        guest::prepare(|step| println!("  {step}"))?;
    }
    let Some(world) = world::enter_program()? else {
        return Ok(());
    };
    let start = Instant::now();
    let progress = Progress::new();

    progress.now("making a host with a bridged and a routed network");
    let host = Host::new(&world, "node1")?;
    host.install_ifup()?;
    let (lan, scenes) = networks(&world, &host)?;
    progress.done("host node1: bridge br0 with uplink up-br0, routing table rt79 with uplink up1");

    progress.now("starting nfdhcpd");
    let ready = Instant::now();
    let nfdhcpd = host.nfdhcpd(CONFIGURATION)?;
    progress.done(&format!(
        "nfdhcpd is ready, after {} ms",
        ready.elapsed().as_millis()
    ));

    progress.now("looking whether KVM boots a guest");
    let accelerator = Accelerator::probe(&host.namespace)?;
    progress.done(&format!("guests run by {}", accelerator.name()));

    let mut guests = Vec::new();
    for scene in &scenes {
        guests.push(power_on(&host, &nfdhcpd, scene, accelerator, &progress)?);
    }
    let power = Instant::now();
    for (scene, guest) in scenes.iter().zip(&guests) {
        progress.now(&format!("the {} guest boots and asks", scene.title));
        guest.tells("address4", BOOT, |told| told.starts_with(scene.address4))?;
        guest.tells("address6", BOOT, |told| told.contains(scene.address6))?;
        match scene.title {
            "bridged" => announce_router(&lan, guest)?,
            _ => guest
                .tells("router6", BOOT, |told| !told.is_empty())
                .map(|_| ())?,
        }
        let seconds = power.elapsed().as_secs_f32();
        progress.done(&format!(
            "the {} guest has its addresses, {seconds:.1} s after power on",
            scene.title
        ));
    }
    for (scene, guest) in scenes.iter().zip(&guests) {
        show(scene, guest, &nfdhcpd)?;
    }
    println!(
        "\nBoth guests have what their bindings say; {:.1} s in all.",
        start.elapsed().as_secs_f32()
    );
    Ok(())
}

/// Both networks with a router each, and the far side of the bridged one's uplink.
fn networks(world: &World, host: &Host) -> Result<(Tap, [Scene; 2])> {
    let lan = host.bridge("br0")?;
    let up = host.uplink("up1")?;
    host.routed_network("up1")?;
    let scene = |title, tap, nic, mac, address4, address6, far: &Tap, own: [&str; 2]| {
        let router = Client::new(world, title, ROUTER_MAC, far)?;
        for address in own {
            router
                .namespace
                .ip(&format!("addr add {address} dev {CARD} nodad"))?;
        }
        anyhow::Ok(Scene {
            title,
            tap,
            nic,
            mac,
            address4,
            address6,
            router,
        })
    };
    let scenes = [
        scene(
            "bridged",
            "tap0",
            BRIDGED,
            BRIDGED_MAC,
            "10.77.0.2",
            "2001:db8:77:0:a800:77ff:fe51:adbc",
            &lan,
            ["10.77.0.1/24", "2001:db8:77::1/64"],
        )?,
        scene(
            "routed",
            "tap1",
            ROUTED,
            ROUTED_MAC,
            "10.79.0.2",
            "2001:db8:79:0:a800:ff:fe63:bc42",
            &up,
            ["10.79.0.1/24", "2001:db8:79::1/64"],
        )?,
    ];
    Ok((lan, scenes))
}

/// In Ganeti's order: TAP, script, QEMU.
fn power_on(
    host: &Host,
    nfdhcpd: &Nfdhcpd,
    scene: &Scene,
    accelerator: Accelerator,
    progress: &Progress,
) -> Result<Guest> {
    progress.now(&format!("wiring {}", scene.tap));
    let tap = host.tap(scene.tap)?;
    let began = Instant::now();
    host.ifup(scene.nic, &[])
        .with_context(|| format!("{} for {}", ganeti::SCRIPT, scene.tap))?;
    let took = began.elapsed().as_millis();
    nfdhcpd.serves(scene.tap)?;
    let guest = Guest::boot(&host.namespace, scene.title, accelerator, tap, scene.mac)?;
    progress.done(&format!(
        "{}: {} in {took} ms, then QEMU",
        scene.tap,
        ganeti::SCRIPT
    ));
    Ok(guest)
}

/// The bridged network's own router tells that it is one, until the guest has heard it.
fn announce_router(lan: &Tap, guest: &Guest) -> Result<()> {
    let advertisement = build::router_advertisement(ROUTER_MAC, 1800)?;
    let pause = Duration::from_millis(500);
    let end = Instant::now() + BOOT;
    while Instant::now() < end {
        lan.send(&advertisement)?;
        if guest
            .tells("router6", pause, |told| !told.is_empty())
            .is_ok()
        {
            return Ok(());
        }
    }
    guest
        .tells("router6", pause, |told| !told.is_empty())
        .map(|_| ())
}

fn show(scene: &Scene, guest: &Guest, nfdhcpd: &Nfdhcpd) -> Result<()> {
    println!("\n== The {} guest on {} ==\n", scene.title, scene.tap);
    let record = guest.record()?;
    timeline::print(&record);
    let fact = |name| anyhow::Ok(guest.fact(name)?.unwrap_or_default());
    println!();
    for (title, name) in [
        ("address, IPv4", "address4"),
        ("address, IPv6", "address6"),
        ("host name", "hostname"),
        ("resolver", "resolver"),
        ("MTU", "mtu"),
    ] {
        println!("  {title:<14} {}", fact(name)?);
    }
    let routers: Vec<_> = record
        .iter()
        .filter_map(|frame| {
            let Message::RouterAdvertisement(told) = read(&frame.bytes)? else {
                return None;
            };
            (told.router_lifetime > 0).then_some(told.source)
        })
        .collect();
    let router6 = fact("router6")?;
    ensure!(
        routers.iter().any(|told| told.to_string() == router6),
        "{router6} was not advertised"
    );
    let whose = if scene.title == "routed" {
        "this host, at the TAP"
    } else {
        "the network's own"
    };
    println!("  {:<14} {} ({whose})", "router, IPv4", fact("router4")?);
    println!("  {:<14} {router6} ({whose})", "router, IPv6");
    for address in [scene.address4, scene.address6] {
        let address: IpAddr = address.parse()?;
        scene.router.pings(address, Duration::from_secs(10))?;
        println!("  ping {address}: answered");
    }
    println!("\n  $ nfdhcpd ctl show {}", scene.tap);
    for line in nfdhcpd.ctl(&["show", scene.tap])?.lines() {
        println!("  {line}");
    }
    Ok(())
}
