//! The schedule as the clock goes on; each test is the clock and the dice.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::Advertiser;

const MAX_INTERVAL: Duration = Duration::from_secs(600);
const LOWEST: u32 = 0;
const HIGHEST: u32 = u32::MAX;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Any instant serves as the beginning of time.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's own clock starts somewhere"
)]
fn start() -> Instant {
    Instant::now()
}

fn due(advertiser: &mut Advertiser, now: Instant, random: u32) -> Vec<u32> {
    let mut taps = Vec::new();
    advertiser.due(now, usize::MAX, || random, &mut taps);
    taps
}

/// Lets the clock jump from deadline to deadline; when each advertisement of a lone TAP was sent.
fn times(random: u32, count: usize) -> Vec<Duration> {
    let start = start();
    let mut advertiser = Advertiser::new(MAX_INTERVAL, start - seconds(1));
    advertiser.insert(7, start, random);
    let mut times = Vec::new();
    while times.len() < count {
        let now = advertiser.next_deadline().unwrap();
        assert_eq!(due(&mut advertiser, now, random), [7]);
        times.push(now - start);
    }
    times
}

fn gaps(times: &[Duration]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn n2_the_first_three_are_at_most_16_seconds_apart() {
    for random in [LOWEST, HIGHEST] {
        let times = times(random, 4);
        assert!(times[0] <= Duration::from_millis(500), "prompt: {times:?}");
        assert_eq!(gaps(&times)[..2], [seconds(16), seconds(16)]);
        assert!(gaps(&times)[2] >= seconds(200), "{times:?}");
    }
}

#[test]
fn n2_later_ones_are_between_min_and_max_interval() {
    assert_eq!(gaps(&times(LOWEST, 8))[2..], [seconds(200); 5]);
    assert_eq!(gaps(&times(HIGHEST, 8))[2..], [seconds(600); 5]);
    let middle = gaps(&times(HIGHEST / 2, 4))[2];
    assert!(
        (seconds(399)..=seconds(401)).contains(&middle),
        "{middle:?}"
    );
}

#[test]
fn n2_the_least_interval_is_3_seconds() {
    let start = start();
    let mut advertiser = Advertiser::new(seconds(4), start - seconds(1));
    advertiser.insert(7, start, LOWEST);
    assert_eq!(due(&mut advertiser, start, LOWEST), [7]);
    assert_eq!(advertiser.next_deadline(), Some(start + seconds(3)));
    assert_eq!(due(&mut advertiser, start + seconds(3), HIGHEST), [7]);
    assert_eq!(advertiser.next_deadline(), Some(start + seconds(7)));
}

#[test]
fn n2_another_interval_holds_from_the_next_one_on() {
    let start = start();
    let mut advertiser = Advertiser::new(seconds(9), start - seconds(1));
    advertiser.insert(7, start, LOWEST);
    advertiser.set_max_interval(seconds(30));
    assert_eq!(due(&mut advertiser, start, LOWEST), [7]);
    assert_eq!(advertiser.next_deadline(), Some(start + seconds(10)));
}

#[test]
fn b15_intervals_are_not_all_alike() {
    let start = start();
    let mut advertiser = Advertiser::new(MAX_INTERVAL, start - seconds(1));
    for tap in 0..100 {
        advertiser.insert(tap, start, tap << 24);
    }
    let mut instants = Vec::new();
    while let Some(deadline) = advertiser.next_deadline()
        && deadline < start + seconds(1)
    {
        instants.push(deadline);
        due(&mut advertiser, deadline, HIGHEST);
    }
    assert_eq!(
        instants.len(),
        100,
        "the host's TAPs do not come at one instant"
    );
}

#[test]
fn n4_a_solicitation_is_answered_at_once() {
    let start = start();
    let mut advertiser = Advertiser::new(MAX_INTERVAL, start - seconds(1));
    advertiser.insert(7, start, HIGHEST);
    advertiser.solicited(7, start);
    assert_eq!(due(&mut advertiser, start, LOWEST), [7]);
}

#[test]
fn n4_multicast_advertisements_are_at_least_3_seconds_apart() {
    let start = start();
    let mut advertiser = Advertiser::new(MAX_INTERVAL, start - seconds(1));
    advertiser.insert(7, start, LOWEST);
    assert_eq!(due(&mut advertiser, start, HIGHEST), [7]);
    for after in [1, 1000, 2999] {
        advertiser.solicited(7, start + Duration::from_millis(after));
        assert_eq!(advertiser.next_deadline(), Some(start + seconds(3)));
    }
    assert_eq!(
        due(&mut advertiser, start + seconds(2), HIGHEST),
        [0_u32; 0]
    );
    assert_eq!(due(&mut advertiser, start + seconds(3), HIGHEST), [7]);
    advertiser.solicited(7, start + seconds(10));
    assert_eq!(due(&mut advertiser, start + seconds(10), HIGHEST), [7]);
}

#[test]
fn n4_a_solicitation_never_puts_off_what_is_due_sooner() {
    let start = start();
    let mut advertiser = Advertiser::new(seconds(9), start - seconds(1));
    advertiser.insert(7, start, LOWEST);
    due(&mut advertiser, start, LOWEST);
    assert_eq!(advertiser.next_deadline(), Some(start + seconds(3)));
    advertiser.solicited(7, start + seconds(5));
    assert_eq!(advertiser.next_deadline(), Some(start + seconds(3)));
}

#[test]
fn n4_a_changed_binding_waits_3_seconds_too() {
    let start = start();
    let mut advertiser = Advertiser::new(MAX_INTERVAL, start - seconds(1));
    advertiser.insert(7, start, LOWEST);
    assert_eq!(due(&mut advertiser, start, HIGHEST), [7]);
    advertiser.insert(7, start + seconds(1), LOWEST);
    assert_eq!(advertiser.len(), 1);
    assert_eq!(advertiser.next_deadline(), Some(start + seconds(3)));
    // And is advertised as a new one is.
    assert_eq!(due(&mut advertiser, start + seconds(3), HIGHEST), [7]);
    assert_eq!(advertiser.next_deadline(), Some(start + seconds(19)));
}

#[test]
fn n5_a_removed_tap_is_forgotten_and_never_handed_out() {
    let start = start();
    let mut advertiser = Advertiser::new(MAX_INTERVAL, start - seconds(1));
    advertiser.insert(7, start, LOWEST);
    advertiser.insert(8, start, LOWEST);
    advertiser.remove(7);
    advertiser.remove(99);
    advertiser.solicited(7, start);
    assert_eq!(due(&mut advertiser, start + seconds(9), LOWEST), [8]);
    advertiser.remove(8);
    assert!(advertiser.is_empty());
    assert_eq!(advertiser.next_deadline(), None);
}

/// Nothing the caller does or fails to do with one TAP is seen by the others.
#[test]
fn b3_one_dead_tap_never_stops_the_others() {
    let start = start();
    let mut advertiser = Advertiser::new(MAX_INTERVAL, start - seconds(1));
    for tap in 1..=5 {
        advertiser.insert(tap, start, LOWEST);
    }
    for round in 0..4 {
        let now = advertiser.next_deadline().unwrap();
        let taps = due(&mut advertiser, now, LOWEST);
        assert_eq!(taps, [1, 2, 3, 4, 5], "round {round}");
    }
}

#[test]
fn b3_work_per_call_is_bounded_and_nobody_is_passed_over() {
    let start = start();
    let mut advertiser = Advertiser::new(MAX_INTERVAL, start - seconds(1));
    for tap in 0..1000 {
        advertiser.insert(tap, start, LOWEST);
    }
    let mut seen = Vec::new();
    for _ in 0..8 {
        let mut batch = Vec::new();
        advertiser.due(start, 128, || HIGHEST, &mut batch);
        assert!(batch.len() <= 128);
        seen.extend(batch);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    assert_eq!(due(&mut advertiser, start, LOWEST), [0_u32; 0]);
}

#[test]
fn a_late_caller_gets_each_tap_once() {
    let start = start();
    let mut advertiser = Advertiser::new(seconds(9), start - seconds(1));
    advertiser.insert(7, start, LOWEST);
    let late = start + seconds(1000);
    assert_eq!(due(&mut advertiser, late, LOWEST), [7]);
    assert!(advertiser.next_deadline().unwrap() > late);
}

proptest! {
    /// Whatever happens, no TAP is handed out twice within 3 s, none waits longer than the maximum, none is lost.
    #[test]
    fn the_schedule_keeps_its_bounds(
        steps in proptest::collection::vec((0_u32..4, 0_u8..4, 0_u64..20_000, any::<u32>()), 1..200),
    ) {
        let mut now = start();
        let mut advertiser = Advertiser::new(MAX_INTERVAL, now - seconds(1));
        let mut inserted = std::collections::BTreeSet::new();
        let mut last = std::collections::BTreeMap::new();
        for (tap, what, wait, random) in steps {
            now += Duration::from_millis(wait);
            match what {
                0 => {
                    advertiser.insert(tap, now, random);
                    inserted.insert(tap);
                }
                1 => {
                    advertiser.remove(tap);
                    inserted.remove(&tap);
                    last.remove(&tap);
                }
                2 => advertiser.solicited(tap, now),
                _ => {
                    for tap in due(&mut advertiser, now, random) {
                        prop_assert!(inserted.contains(&tap));
                        if let Some(before) = last.insert(tap, now) {
                            prop_assert!(now - before >= seconds(3));
                        }
                    }
                    prop_assert!(advertiser.next_deadline().is_none_or(|next| next > now));
                }
            }
            prop_assert_eq!(advertiser.len(), inserted.len());
            prop_assert_eq!(advertiser.queue.len(), inserted.len());
            let latest = advertiser.moment(now + MAX_INTERVAL);
            prop_assert!(advertiser.queue.iter().all(|(next, _)| *next <= latest));
        }
    }
}
