//! A writer of JSON bytes.
//!
//! Whether a comma is due is read off the last byte: nothing but an opening bracket or a colon can
//! stand right before a value that needs none. So there is no state besides the text, and rendered
//! fragments can be appended as they are.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use marathon_model::resources::Milli;
use marathon_model::time::Timestamp;

#[derive(Debug, Default)]
pub struct Json {
    out: Vec<u8>,
}

impl Json {
    pub fn new() -> Json {
        Json::default()
    }

    pub fn with_capacity(bytes: usize) -> Json {
        Json { out: Vec::with_capacity(bytes) }
    }

    /// Writes one value and hands back its text.
    pub fn text(write: impl FnOnce(&mut Json)) -> Vec<u8> {
        let mut json = Json::new();
        write(&mut json);
        json.into_bytes()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub fn len(&self) -> usize {
        self.out.len()
    }

    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    fn comma(&mut self) {
        if self.out.last().is_some_and(|last| !matches!(last, b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }

    /// Begins a field; the value follows. Keys are ours and need no escapes.
    pub fn key(&mut self, key: &'static str) -> &mut Json {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self
    }

    /// Begins a field whose name comes from a user.
    pub fn any_key(&mut self, key: &str) -> &mut Json {
        self.string(key);
        self.out.push(b':');
        self
    }

    pub fn open(&mut self, bracket: u8) {
        self.comma();
        self.out.push(bracket);
    }

    pub fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    pub fn object(&mut self, fields: impl FnOnce(&mut Json)) {
        self.open(b'{');
        fields(self);
        self.close(b'}');
    }

    pub fn array<T>(&mut self, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Json, T)) {
        self.open(b'[');
        for it in items {
            item(self, it);
        }
        self.close(b']');
    }

    pub fn string(&mut self, text: &str) {
        self.comma();
        self.out.push(b'"');
        escape(&mut self.out, text);
        self.out.push(b'"');
    }

    /// A string value from anything that can be printed.
    pub fn shown(&mut self, value: impl Display) {
        self.comma();
        self.out.push(b'"');
        // Writing to memory does not fail, and our Display impls do not either.
        let _ = write!(Escaped(&mut self.out), "{value}");
        self.out.push(b'"');
    }

    pub fn strings<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        self.array(texts, Json::string);
    }

    pub fn int(&mut self, value: impl itoa::Integer) {
        self.comma();
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A double, always with a fraction: `1.0`.
    pub fn double(&mut self, value: f64) {
        self.comma();
        if value.is_finite() {
            self.out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
        } else {
            self.out.extend_from_slice(b"null");
        }
    }

    /// An amount as a double: `0.1`, `128.0`.
    pub fn milli(&mut self, amount: Milli) {
        self.int(amount.0 / 1000);
        let rest = (amount.0 % 1000) as u16;
        let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|it| b'0' + it as u8);
        let shown = if digits[2] != b'0' { 3 } else { 1 + usize::from(digits[1] != b'0') };
        self.out.push(b'.');
        self.out.extend_from_slice(&digits[..shown]);
    }

    /// Seconds as an integer, or with a fraction where there is one.
    pub fn seconds(&mut self, time: Duration) {
        if time.subsec_nanos() == 0 { self.int(time.as_secs()) } else { self.double(time.as_secs_f64()) }
    }

    pub fn bool(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    pub fn null(&mut self) {
        self.raw(b"null");
    }

    pub fn time(&mut self, moment: Timestamp) {
        self.shown(moment);
    }

    /// A value that is JSON already.
    pub fn raw(&mut self, value: &[u8]) {
        self.comma();
        self.out.extend_from_slice(value);
    }

    /// `null` where there is no text; most places leave the field out instead.
    pub fn string_or_null(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.null(),
        }
    }
}

struct Escaped<'a>(&'a mut Vec<u8>);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

/// Appends the text with quotes, backslashes and control characters escaped.
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&c| c < 0x20 || c == b'"' || c == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let c = rest[at];
        let short = match c {
            b'"' | b'\\' => c,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => 0,
        };
        if short != 0 {
            out.extend_from_slice(&[b'\\', short]);
        } else {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let (high, low) = (HEX[usize::from(c >> 4)], HEX[usize::from(c & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Json)) -> String {
        String::from_utf8(Json::text(write)).unwrap()
    }

    #[test]
    fn numbers_have_the_form_their_readers_expect() {
        for (milli, want) in
            [(0, "0.0"), (100, "0.1"), (1_000, "1.0"), (128_000, "128.0"), (1_250, "1.25"), (7, "0.007")]
        {
            assert_eq!(written(|j| j.milli(Milli(milli))), want);
        }
        for (millis, want) in [(0, "0"), (1_000, "1"), (1_500, "1.5"), (300_000, "300")] {
            assert_eq!(written(|j| j.seconds(Duration::from_millis(millis))), want);
        }
        for (value, want) in [(1.0, "1.0"), (1.15, "1.15"), (0.0, "0.0"), (f64::NAN, "null")] {
            assert_eq!(written(|j| j.double(value)), want);
        }
    }

    #[test]
    fn commas_stand_between_values_only() {
        let text = written(|j| {
            j.object(|j| {
                j.key("a").array([1, 2], |j, it| j.int(it));
                j.key("b").object(|_| {});
                j.key("c").array([(); 2], |j, ()| j.object(|j| j.key("d").null()));
                j.any_key("{").string("[:");
                j.key("e").bool(true);
            });
        });
        assert_eq!(text, r#"{"a":[1,2],"b":{},"c":[{"d":null},{"d":null}],"{":"[:","e":true}"#);
    }

    proptest! {
        #[test]
        fn any_text_survives(text in any::<String>(), key in any::<String>()) {
            let json = written(|j| j.object(|j| j.any_key(&key).string(&text)));
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read.get(&key).and_then(|it| it.as_str()), Some(text.as_str()));
            prop_assert!(!json.bytes().any(|c| c < 0x20));
            let shown = written(|j| j.shown(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }

        #[test]
        fn amounts_read_back(milli in 0u64..1 << 50) {
            let json = written(|j| j.milli(Milli(milli)));
            prop_assert_eq!(Milli::from_f64(json.parse().unwrap()), Milli(milli));
        }
    }
}
