//! JSON objects one after another in a stream of bytes, in chunks of any size: what stands between them, and what is no
//! object, is passed.

use serde_json::{Deserializer, Map, Value};
use snf_events::agent::PROGRESS_MAX;

/// The stream.
#[derive(Debug, Default)]
pub struct Objects {
    buffer: Vec<u8>,
    /// In an object that is too long: passed up to the end of a line.
    is_passing: bool,
    passed: u64,
}

impl Objects {
    /// Takes the next bytes, and gives the objects that are whole with them.
    pub fn take(&mut self, chunk: &[u8]) -> Vec<Map<String, Value>> {
        self.buffer.extend_from_slice(chunk);
        let mut found = Vec::new();
        loop {
            if self.is_passing {
                let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
                    self.pass(self.buffer.len());
                    return found;
                };
                self.pass(end);
                self.is_passing = false;
            }
            let begin = self.buffer.iter().position(|byte| *byte == b'{');
            let Some(begin) = begin else {
                self.pass(self.buffer.len());
                return found;
            };
            self.pass(begin);
            match first(&self.buffer) {
                First::Object(object, length) => {
                    self.buffer.drain(..length);
                    found.push(object);
                }
                First::Wrong(at) => self.pass(at.max(1)),
                First::Unfinished if self.buffer.len() <= PROGRESS_MAX => return found,
                First::Unfinished => self.is_passing = true,
            }
        }
    }

    /// Bytes, but white space, that belonged to no object, since this was asked last; at the stream's end, `whole` counts what
    /// never became one, too.
    pub fn passed(&mut self, whole: bool) -> u64 {
        if whole {
            self.pass(self.buffer.len());
        }
        std::mem::take(&mut self.passed)
    }

    fn pass(&mut self, length: usize) {
        let passed = self.buffer.drain(..length.min(self.buffer.len()));
        let counted = passed.filter(|byte| !byte.is_ascii_whitespace()).count();
        self.passed += counted as u64;
    }
}

enum First {
    /// And its length.
    Object(Map<String, Value>, usize),
    /// Up to here it is no object.
    Wrong(usize),
    Unfinished,
}

fn first(bytes: &[u8]) -> First {
    let mut values = Deserializer::from_slice(bytes).into_iter::<Map<String, Value>>();
    match values.next() {
        Some(Ok(object)) => First::Object(object, values.byte_offset()),
        Some(Err(error)) if !error.is_eof() => First::Wrong(offset(bytes, &error)),
        Some(Err(_)) | None => First::Unfinished,
    }
}

/// How far the reader came; the byte it did not like is read again.
fn offset(bytes: &[u8], error: &serde_json::Error) -> usize {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before + error.column().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(text: &[u8], chunk: usize) -> (Vec<Value>, u64) {
        let mut objects = Objects::default();
        let mut found = Vec::new();
        for part in text.chunks(chunk) {
            found.extend(objects.take(part).into_iter().map(Value::Object));
            assert!(objects.buffer.len() <= PROGRESS_MAX + chunk);
        }
        let passed = objects.passed(true);
        (found, passed)
    }

    #[test]
    fn objects_are_found_in_chunks_of_any_size() {
        let text = b" {\"a\": \"}{\\\"\"}{\"b\":\n{\"c\": [1, 2]}}\n\n{\"d\":\"\xc3\xa4\"}";
        let expected = [
            json!({"a": "}{\""}),
            json!({"b": {"c": [1, 2]}}),
            json!({"d": "\u{e4}"}),
        ];
        for chunk in 1..=text.len() {
            assert_eq!(taken(text, chunk), (expected.to_vec(), 0), "{chunk}");
        }
    }

    #[test]
    fn what_is_no_object_is_passed_and_what_follows_is_found() {
        for (junk, count) in [
            ("noise ", 5),
            ("{oops ", 5),
            ("{\"a\":1,} ", 8),
            ("}}]] [1,2] ", 9),
            ("{{{{ ", 4),
            ("{\"a\": 1e999} ", 11),
            ("\u{1}\u{ff} ", 3),
        ] {
            let text = format!("{junk}{{\"type\":\"x\"}}\n");
            for chunk in [1, 3, 512] {
                let (found, passed) = taken(text.as_bytes(), chunk);
                assert_eq!(found, [json!({"type": "x"})], "{junk:?} by {chunk}");
                assert_eq!(passed, count, "{junk:?} by {chunk}");
            }
        }
        let (found, _) = taken(b"\xff\xfe{\"a\":\"\xff\"}{\"b\":1}", 4);
        assert_eq!(found, [json!({"b": 1})]);
    }

    #[test]
    fn endless_and_deep_ones_are_given_up() {
        let endless = [
            b"{\"a\":\"".to_vec(),
            vec![b'x'; 3 * PROGRESS_MAX],
            b"\"}\n{\"b\":1}".to_vec(),
        ]
        .concat();
        assert_eq!(taken(&endless, 512).0, [json!({"b": 1})]);
        let deep = ["{\"a\":".repeat(10_000), "]\n{\"b\":1}".to_owned()].concat();
        assert_eq!(taken(deep.as_bytes(), 512).0.last(), Some(&json!({"b": 1})));
        let braces = [vec![b'{'; 1 << 20], b"\n{\"b\":1}".to_vec()].concat();
        assert_eq!(taken(&braces, 512).0, [json!({"b": 1})]);
    }
}
