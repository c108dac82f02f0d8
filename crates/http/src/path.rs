//! The path of a URL.

/// Undoes `%41`. `None`: not well-formed, or not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(c) = bytes.next() {
        if c != b'%' {
            out.push(c);
            continue;
        }
        let digit = |c: Option<u8>| char::from(c?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_decode() {
        for (text, want) in [
            ("/v2/apps", Some("/v2/apps")),
            ("/v2/apps/%2Fa%2fb", Some("/v2/apps//a/b")),
            ("/%C3%A4", Some("/ä")),
            ("/%", None),
            ("/%4", None),
            ("/%zz", None),
            ("/%+1", None),
            ("/%ff", None),
        ] {
            assert_eq!(decode(text).as_deref(), want, "{text}");
        }
    }
}
