//! Our numbers ⇄ Ganeti's names: `snf-42`, `snf-net-12`, `snf-nic-7`. The only place that knows how they are built. Pure.

use snf_events::Prefix;

/// What a name of ours stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Named {
    /// An instance that was created under its number.
    Server(i64),
    /// A network.
    Network(i64),
    /// A NIC.
    Port(i64),
}

impl Named {
    /// The name in Ganeti.
    #[must_use]
    pub fn name(self, prefix: &Prefix) -> String {
        match self {
            Self::Server(id) => format!("{prefix}{id}"),
            Self::Network(id) => format!("{prefix}net-{id}"),
            Self::Port(id) => format!("{prefix}nic-{id}"),
        }
    }

    /// What a name stands for; `None`: it is not built as ours are.
    #[must_use]
    pub fn parse(name: &str, prefix: &Prefix) -> Option<Self> {
        let rest = name.strip_prefix(prefix.as_str())?;
        if let Some(digits) = rest.strip_prefix("net-") {
            return number(digits).map(Self::Network);
        }
        if let Some(digits) = rest.strip_prefix("nic-") {
            return number(digits).map(Self::Port);
        }
        number(rest).map(Self::Server)
    }
}

/// Decimal digits as we write them: no sign, no leading zero.
fn number(digits: &str) -> Option<i64> {
    let is_ours = digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_not_ours() {
        let prefix: Prefix = "snf-".parse().unwrap();
        for named in [Named::Server(42), Named::Network(12), Named::Port(7)] {
            assert_eq!(Named::parse(&named.name(&prefix), &prefix), Some(named));
        }
        let others = [
            "snf-",
            "snf-x",
            "snf-042",
            "snf--1",
            "snf-+1",
            "snf-net-",
            "snf-vol-1",
            "web",
            "snf-42.example.org",
            "snf-99999999999999999999",
        ];
        for other in others {
            assert_eq!(Named::parse(other, &prefix), None, "{other}");
        }
    }
}
