//! `OPT<n>`: a DHCPv4 option given as it is.

/// Code and bytes of one DHCPv4 option, for those no key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawOption {
    /// 1 to 254, none that another key or the protocol itself sets.
    pub code: u8,
    /// At most 255 bytes.
    pub value: Vec<u8>,
}

/// Codes that another key or the protocol itself sets.
const TAKEN: &[u8] = &[
    1, 3, 6, 12, 15, 26, 28, 42, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 66, 67, 80, 81, 82,
    93, 97, 108, 114, 119, 121, 150, 175, 210, 249,
];

impl RawOption {
    /// The code in a key `OPT<n>`, written without leading zeros.
    pub(crate) fn code_of(key: &str) -> Option<u8> {
        let digits = key.strip_prefix("OPT")?;
        let code: u8 = digits.parse().ok()?;
        (code.to_string() == digits).then_some(code)
    }

    pub(crate) fn may_be_given(code: u8) -> Result<(), String> {
        if code == 0 || code == 255 {
            return Err("is no option: the code is 1 to 254".into());
        }
        if TAKEN.contains(&code) {
            return Err("is set by another key or by the protocol itself".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/binding.md lists them.
    #[test]
    fn the_page_lists_the_codes_that_are_taken() {
        let page = include_str!("../../docs/binding.md");
        let (_, list) = page.split_once("the protocol sets: ").unwrap();
        let (list, _) = list.split_once(" |").unwrap();
        let listed = list.split(' ').flat_map(|range| {
            let (first, last) = range.split_once('–').unwrap_or((range, range));
            first.parse::<u8>().unwrap()..=last.parse().unwrap()
        });
        assert_eq!(listed.collect::<Vec<_>>(), TAKEN);
    }
}
