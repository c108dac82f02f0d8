//! `Range` and the name of what is downloaded.

use std::fmt::Write;
use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    All,
    Part(Range<u64>),
    /// There is nothing there.
    None,
}

/// One range of bytes. Several, or what is none, are answered with everything, as the standard allows.
pub fn parse(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|it| it.split_once('-')) else {
        return Wanted::All;
    };
    let number = |it: &str| -> Option<Option<u64>> {
        let it = it.trim();
        if it.is_empty() { Some(None) } else { it.parse().ok().map(Some) }
    };
    match (number(first), number(last)) {
        (Some(Some(first)), Some(last)) => {
            if last.is_some_and(|it| it < first) {
                return Wanted::All;
            }
            let end = last.map_or(size, |it| it.saturating_add(1).min(size));
            if first < end { Wanted::Part(first..end) } else { Wanted::None }
        }
        (Some(None), Some(Some(count))) => match count.min(size) {
            0 => Wanted::None,
            count => Wanted::Part(size - count..size),
        },
        _ => Wanted::All,
    }
}

/// Saves as a file of this name, with a plain form for old clients.
pub fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|it| if it.is_ascii_graphic() && !"\"\\%".contains(it) { it } else { '_' })
        .collect();
    let mut text = format!("attachment; filename=\"{plain}\"");
    if plain != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => text.push(char::from(byte)),
                // Into a text nothing fails.
                _ => drop(write!(text, "%{byte:02X}")),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, size, want) in [
            ("bytes=0-4", 10, Wanted::Part(0..5)),
            ("bytes=0-99", 10, Wanted::Part(0..10)),
            ("bytes=9-9", 10, Wanted::Part(9..10)),
            ("bytes=4-", 10, Wanted::Part(4..10)),
            ("bytes=-3", 10, Wanted::Part(7..10)),
            ("bytes=-30", 10, Wanted::Part(0..10)),
            ("bytes=10-", 10, Wanted::None),
            ("bytes=0-", 0, Wanted::None),
            ("bytes=-0", 10, Wanted::None),
            ("bytes=-1", 0, Wanted::None),
            ("bytes=5-4", 10, Wanted::All),
            ("bytes=0-1,3-4", 10, Wanted::All),
            ("bytes=-", 10, Wanted::All),
            ("bytes=a-b", 10, Wanted::All),
            ("lines=0-1", 10, Wanted::All),
            ("bytes=0-18446744073709551615", 10, Wanted::Part(0..10)),
            ("bytes=99999999999999999999-", 10, Wanted::All),
        ] {
            assert_eq!(parse(text, size), want, "{text} of {size}");
        }
    }

    #[test]
    fn names() {
        for (name, want) in [
            ("stdout", r#"attachment; filename="stdout""#),
            ("a\"b\r\n", r#"attachment; filename="a_b__"; filename*=UTF-8''a%22b%0D%0A"#),
            ("ä b", r#"attachment; filename="__b"; filename*=UTF-8''%C3%A4%20b"#),
        ] {
            assert_eq!(disposition(name), want);
        }
    }
}
