//! What a client can read, by its `Accept` and `Accept-Encoding` headers.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};

/// The forms in which answers exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Text,
    /// The bytes as they are.
    Octets,
}

impl Form {
    fn name(self) -> (&'static str, &'static str) {
        match self {
            Form::Json => ("application", "json"),
            Form::Text => ("text", "plain"),
            Form::Octets => ("application", "octet-stream"),
        }
    }
}

/// The form a client likes best among `offered`, which come in our own order of preference.
/// `None`: it reads none of them.
pub fn choose(headers: &HeaderMap, offered: &[Form]) -> Option<Form> {
    let mut lines = headers.get_all(ACCEPT).iter().peekable();
    if lines.peek().is_none() {
        return offered.first().copied();
    }
    let mut best: Option<(u32, Form)> = None;
    let ranges: Vec<&str> = lines.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(',')).collect();
    for &form in offered {
        let weight = weight_of(form, &ranges);
        if 0 < weight && best.is_none_or(|(most, _)| most < weight) {
            best = Some((weight, form));
        }
    }
    best.map(|(_, form)| form)
}

/// The weight of the most specific range that covers the form, in thousandths.
fn weight_of(form: Form, ranges: &[&str]) -> u32 {
    let (kind, sub) = form.name();
    let mut found = (0, 0);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let (its_kind, its_sub) = media.split_once('/').unwrap_or((media, ""));
        let precision = match (its_kind, its_sub) {
            ("*", "*" | "") => 1,
            (it, "*") if it.eq_ignore_ascii_case(kind) => 2,
            (it, its) if it.eq_ignore_ascii_case(kind) && its.eq_ignore_ascii_case(sub) => 3,
            _ => continue,
        };
        if precision > found.0 {
            found = (precision, parts.find_map(quality).unwrap_or(1000));
        }
    }
    found.1
}

fn quality(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let weight: f32 = value.trim().parse().ok()?;
    Some((weight.clamp(0.0, 1.0) * 1000.0) as u32)
}

pub fn gzip(headers: &HeaderMap) -> bool {
    coding(headers, "gzip")
}

/// Whether the client reads this coding (`gzip`, `br`).
pub fn coding(headers: &HeaderMap, wanted: &str) -> bool {
    let codings = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','));
    let mut any = false;
    for coding in codings {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let taken = parts.find_map(quality).unwrap_or(1000) > 0;
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        if name.eq_ignore_ascii_case(wanted) {
            return taken;
        }
        any |= name == "*" && taken;
    }
    any
}

/// The original asks for exactly this value, without a list or parameters; a list that names it is
/// fine with us, a client that does not name it would not understand the answer.
pub fn event_stream(headers: &HeaderMap) -> bool {
    let named = |range: &str| {
        range.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("text/event-stream"))
    };
    headers.get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(',')).any(named)
}

/// Whether the body says it is JSON; one that says nothing is believed to be.
pub fn sends_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media.split_once('/') {
        Some((kind, sub)) => {
            let sub = sub.to_ascii_lowercase();
            kind.eq_ignore_ascii_case("application") && (sub == "json" || sub.ends_with("+json"))
        }
        None => media.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        if value != "-" {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn forms() {
        use Form::{Json, Text};
        for (accept, offered, want) in [
            ("-", &[Json, Text][..], Some(Json)),
            ("*/*", &[Json, Text], Some(Json)),
            ("application/json", &[Json, Text], Some(Json)),
            ("text/plain", &[Json, Text], Some(Text)),
            ("text/plain, */*;q=0.1", &[Json, Text], Some(Text)),
            ("text/plain;q=0.5, application/json", &[Json, Text], Some(Json)),
            ("TEXT/*", &[Json, Text], Some(Text)),
            ("application/*;q=0", &[Json], None),
            ("application/json;q=0, */*", &[Json], None),
            ("text/html", &[Json], None),
            ("text/html,application/xhtml+xml,*/*;q=0.8", &[Json], Some(Json)),
            ("*", &[Json], Some(Json)),
            ("", &[Json], None),
            ("/;;q=,", &[Json], None),
            ("application/json; charset=utf-8", &[Json], Some(Json)),
        ] {
            assert_eq!(choose(&headers("accept", accept), offered), want, "{accept}");
        }
    }

    #[test]
    fn encodings() {
        for (value, want) in [
            ("-", false),
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("*", true),
            ("br", false),
            ("identity", false),
        ] {
            assert_eq!(gzip(&headers("accept-encoding", value)), want, "{value}");
        }
    }

    #[test]
    fn bodies() {
        for (value, want) in [
            ("-", true),
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("application/x-www-form-urlencoded", false),
            ("text/plain", false),
            ("json", false),
        ] {
            assert_eq!(sends_json(&headers("content-type", value)), want, "{value}");
        }
    }
}
