//! Whole bodies against golden texts. `UPDATE_EXPECT=1 cargo test -p marathon-api` rewrites them.

#![allow(clippy::unwrap_used)]

mod bodies;
mod cache;
mod definition;
mod errors;
mod events;
mod groups;
mod hostile;
mod pods;
mod volumes;

use expect_test::Expect;
use serde_json::Value;

/// Compares a body with its golden text, which is broken into lines after commas. Reading and writing it
/// again must give the same bytes: nothing escaped in vain, no blanks, numbers in their usual form.
fn check(body: impl AsRef<[u8]>, want: Expect) {
    let text = String::from_utf8(body.as_ref().to_vec()).unwrap();
    let read: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    want.assert_eq(&folded(&text));
}

fn folded(text: &str) -> String {
    let (mut out, mut width, mut quoted, mut escaped) = (String::new(), 0, false, false);
    for c in text.chars() {
        out.push(c);
        width += 1;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        if c == ',' && !quoted && 80 < width {
            out.push('\n');
            width = 0;
        }
    }
    out
}
