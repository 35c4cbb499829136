//! The exchange between a guest and the host, as QEMU saw it pass the guest's card.

#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::time::{Duration, SystemTime};

use system_tests::frame::{Direction, Frame, Message, read};

/// What nfdhcpd passes on to a bridge comes back to the guest within this time: a solicitation it has just sent.
const COPY: Duration = Duration::from_millis(100);

/// Prints a line per message from the guest's first on: when, who, what, and for an answer how long it took.
pub(crate) fn print(record: &[Frame]) {
    let messages = record
        .iter()
        .filter_map(|frame| Some((frame.at, frame.direction, read(&frame.bytes)?)))
        .skip_while(|(_, direction, _)| *direction == Direction::Answered);
    let mut first = None;
    let mut open: Vec<(SystemTime, Message)> = Vec::new();
    let mut solicited: Option<SystemTime> = None;
    for (at, direction, message) in messages {
        let since = at
            .duration_since(*first.get_or_insert(at))
            .unwrap_or_default();
        let seconds = since.as_secs_f64();
        if direction == Direction::Asked {
            if matches!(message, Message::RouterSolicitation) {
                let before = solicited.replace(at);
                if before.is_some_and(|before| at.duration_since(before).is_ok_and(|s| s < COPY)) {
                    continue;
                }
            }
            println!("  {seconds:>10.6} s  guest > {message}");
            open.push((at, message));
            continue;
        }
        let question = open
            .iter()
            .position(|(_, question)| answers(&message, question));
        let took = question
            .and_then(|place| at.duration_since(open.remove(place).0).ok())
            .map(|took| format!("   after {} µs", took.as_micros()));
        println!(
            "  {seconds:>10.6} s        < {message}{}",
            took.unwrap_or_default()
        );
    }
}

/// Whether `answer` is one to `question`.
fn answers(answer: &Message, question: &Message) -> bool {
    match (answer, question) {
        (Message::Dhcpv4(answer), Message::Dhcpv4(question)) => answer.xid() == question.xid(),
        (Message::Dhcpv6(answer), Message::Dhcpv6(question)) => answer.xid() == question.xid(),
        (Message::RouterAdvertisement(_), Message::RouterSolicitation) => true,
        (
            Message::NeighborAdvertisement { target: told },
            Message::NeighborSolicitation { target: asked, .. },
        ) => told == asked,
        _ => false,
    }
}
