//! Basic authentication: one user, one password, every path.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};

/// Padding is often forgotten.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Clone)]
pub struct Auth {
    /// `user:password`
    expected: Vec<u8>,
    pub challenge: HeaderValue,
}

impl Auth {
    pub fn new(user: &str, password: &str, realm: &str) -> Auth {
        let plain: String =
            realm.chars().filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\')).collect();
        Auth {
            expected: format!("{user}:{password}").into_bytes(),
            challenge: HeaderValue::from_str(&format!("Basic realm=\"{plain}\""))
                .expect("printable ASCII makes a header value"),
        }
    }

    pub fn allows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()).and_then(decode);
        same(&given.unwrap_or_default(), &self.expected)
    }
}

fn decode(header: &str) -> Option<Vec<u8>> {
    let (scheme, rest) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(rest.trim()).ok())?
}

/// Takes the same time wherever the first difference lies, so that nobody can guess letter by letter.
fn same(given: &[u8], expected: &[u8]) -> bool {
    let mut difference = given.len() ^ expected.len();
    for (at, &wanted) in expected.iter().enumerate() {
        let byte = given.get(at).copied().unwrap_or_default();
        difference |= usize::from(byte ^ wanted);
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_come_in() {
        let auth = Auth::new("ann", "a:b", "R\"x");
        assert_eq!(auth.challenge, "Basic realm=\"Rx\"");
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        for (header, want) in [
            (format!("Basic {}", encode("ann:a:b")), true),
            (format!("basic {}", encode("ann:a:b").trim_end_matches('=')), true),
            (format!("Basic {}", encode("ann:a:c")), false),
            (format!("Basic {}", encode("ann:a:bb")), false),
            (format!("Basic {}", encode("ann:a:b\0")), false),
            (format!("Basic {}", encode("")), false),
            (format!("Bearer {}", encode("ann:a:b")), false),
            ("Basic".to_owned(), false),
            ("Basic ???".to_owned(), false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&header).unwrap());
            assert_eq!(auth.allows(&headers), want, "{header}");
        }
        assert!(!auth.allows(&HeaderMap::new()));
    }
}
