//! The syntax of URIs to fetch, as Java's `URI` class reads them, which the original asks.

/// Lenient where Java is: relative references and characters beyond ASCII are fine.
pub fn is_valid(text: &str) -> bool {
    let (text, fragment) = match text.split_once('#') {
        Some((text, fragment)) => (text, Some(fragment)),
        None => (text, None),
    };
    if fragment.is_some_and(|it| !legal(it, true)) {
        return false;
    }
    // A scheme is what stands before a colon that no slash or question mark precedes.
    let (scheme, rest) = match text.find([':', '/', '?']) {
        Some(at) if text.as_bytes()[at] == b':' => (Some(&text[..at]), &text[at + 1..]),
        _ => (None, text),
    };
    if let Some(scheme) = scheme {
        let begins = scheme.starts_with(|it: char| it.is_ascii_alphabetic());
        let goes_on = scheme.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it));
        if !begins || !goes_on || rest.is_empty() {
            return false;
        }
        if !rest.starts_with('/') {
            return legal(rest, true); // opaque, as in `mailto:`
        }
    }
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    if query.is_some_and(|it| !legal(it, true)) {
        return false;
    }
    match path.strip_prefix("//") {
        None => legal(path, false),
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            // `//` must name something, except for `file:///`.
            (!authority.is_empty() || path.len() > 1) && legal(authority, true) && legal(path, false)
        }
    }
}

/// Only legal characters, and every `%` begins two hexadecimal digits.
fn legal(text: &str, brackets: bool) -> bool {
    let bytes = text.as_bytes();
    let escaped =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit));
    text.char_indices().all(|(at, it)| match it {
        '%' => escaped(at),
        '[' | ']' => brackets,
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        _ if it.is_ascii() => "_-!.~'()*,;:$&+=?/@".contains(it),
        _ => !it.is_control() && !it.is_whitespace(),
    })
}
