//! Which cluster, which address, which pools.

use proptest::prelude::*;

use super::*;

fn candidate(backend: i64) -> Candidate {
    Candidate {
        backend,
        is_open: true,
        disk_templates: vec!["plain".into(), "ext".into(), "drbd".into()],
        memory_total: 64 << 10,
        memory_free: 32 << 10,
        disk_total: 1 << 20,
        disk_free: 1 << 19,
        cpu_total: 32,
        instances: 4,
    }
}

const NEED: Need<'_> = Need {
    ram: 1024,
    disk: 20,
    disk_template: "plain",
};

#[test]
fn the_least_full_cluster_that_can_takes_it() {
    let closed = Candidate {
        is_open: false,
        instances: 0,
        ..candidate(1)
    };
    let other_disks = Candidate {
        disk_templates: vec!["drbd".into()],
        instances: 0,
        ..candidate(2)
    };
    let fuller = Candidate {
        instances: 9,
        ..candidate(3)
    };
    let no_memory = Candidate {
        memory_free: 1000,
        instances: 0,
        ..candidate(5)
    };
    let all = [
        closed.clone(),
        other_disks,
        fuller,
        candidate(4),
        no_memory.clone(),
    ];
    assert_eq!(choose_backend(&all, NEED), Some(4));
    // None has room: Ganeti says no, if it must.
    assert_eq!(
        choose_backend(std::slice::from_ref(&no_memory), NEED),
        Some(5)
    );
    assert_eq!(choose_backend(&[closed], NEED), None);
    let provider = Need {
        disk_template: "ext_archipelago",
        ..NEED
    };
    assert_eq!(choose_backend(&[candidate(6)], provider), Some(6));
}

#[test]
fn a_mirrored_disk_counts_twice() {
    let tight = Candidate {
        disk_free: 30 << 10,
        ..candidate(1)
    };
    let roomy = Candidate {
        instances: 20,
        ..candidate(2)
    };
    let mirrored = Need {
        disk_template: "drbd",
        ..NEED
    };
    let both = [tight, roomy];
    assert_eq!(choose_backend(&both, NEED), Some(1));
    assert_eq!(choose_backend(&both, mirrored), Some(2));
}

fn shown(pools: &[Pool]) -> Vec<String> {
    let each = pools.iter();
    each.map(|pool| format!("{}-{}", pool.start, pool.end))
        .collect()
}

#[test]
fn pools_are_all_but_network_broadcast_and_router() {
    let cidr: Ipv4Net = "192.0.2.0/29".parse().unwrap();
    let of = |gateway: Option<&str>| {
        shown(&default_pools(
            cidr,
            gateway.map(|gateway| gateway.parse().unwrap()),
        ))
    };
    assert_eq!(of(None), ["192.0.2.1-192.0.2.6"]);
    assert_eq!(of(Some("192.0.2.1")), ["192.0.2.2-192.0.2.6"]);
    assert_eq!(of(Some("192.0.2.6")), ["192.0.2.1-192.0.2.5"]);
    assert_eq!(
        of(Some("192.0.2.3")),
        ["192.0.2.1-192.0.2.2", "192.0.2.4-192.0.2.6"]
    );
    let pair: Ipv4Net = "192.0.2.0/31".parse().unwrap();
    assert_eq!(shown(&default_pools(pair, None)), ["192.0.2.0-192.0.2.1"]);
    assert_eq!(
        shown(&default_pools("0.0.0.0/0".parse().unwrap(), None)),
        ["0.0.0.1-255.255.255.254"]
    );
}

fn pool(start: &str, end: &str) -> Pool {
    Pool {
        start: start.parse().unwrap(),
        end: end.parse().unwrap(),
    }
}

#[test]
fn pools_that_cannot_be_are_refused() {
    let cidr: IpNet = "192.0.2.0/24".parse().unwrap();
    let gateway = Some("192.0.2.1".parse().unwrap());
    let check = |pools: &[Pool]| check_pools(pools, cidr, gateway);
    check(&[
        pool("192.0.2.10", "192.0.2.20"),
        pool("192.0.2.21", "192.0.2.21"),
    ])
    .unwrap();
    for outside in [
        pool("192.0.2.20", "192.0.2.10"),
        pool("192.0.1.1", "192.0.2.10"),
        pool("192.0.2.10", "192.0.3.1"),
        pool("2001:db8::1", "2001:db8::2"),
    ] {
        assert!(matches!(check(&[outside]), Err(PoolError::Outside { .. })));
    }
    let overlap = check(&[
        pool("192.0.2.15", "192.0.2.30"),
        pool("192.0.2.10", "192.0.2.20"),
    ]);
    assert_eq!(
        overlap,
        Err(PoolError::Overlap("192.0.2.15".parse().unwrap()))
    );
    let router = check(&[pool("192.0.2.1", "192.0.2.30")]);
    assert_eq!(
        router,
        Err(PoolError::Gateway("192.0.2.1".parse().unwrap()))
    );
}

#[test]
fn a_hardware_address_begins_with_its_networks_octets() {
    let mac = mac([0xaa, 0, 0], 0xff01_0203);
    assert_eq!(mac.to_string(), "aa:00:00:01:02:03");
}

proptest! {
    #[test]
    fn a_free_address_is_in_a_pool_and_not_taken_and_there_is_one_if_there_is(
        taken in prop::collection::btree_set(0..40_u8, 0..40),
        (first, second) in ((0..10_u8, 0..10_u8), (20..30_u8, 0..10_u8)),
    ) {
        let address = |last: u8| Ipv4Addr::new(192, 0, 2, last);
        let ranges = [(first.0, first.0 + first.1), (second.0, second.0 + second.1)];
        let pools = ranges.map(|(start, end)| Pool {
            start: address(start).into(),
            end: address(end).into(),
        });
        let taken: BTreeSet<Ipv4Addr> = taken.into_iter().map(address).collect();
        let expected = ranges.iter().flat_map(|(start, end)| *start..=*end).map(address)
            .find(|address| !taken.contains(address));
        prop_assert_eq!(free_address(&pools, &taken), expected);
    }
}
