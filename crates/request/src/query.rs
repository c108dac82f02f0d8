//! Query strings. Keys that are not known are ignored; a switch that would change more when it is off must say
//! clearly what it means.

/// The parameters of one request, decoded, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`. Broken escapes stay as they are.
    pub fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|it| !it.is_empty());
        Query(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// Every value of a key that may repeat.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The keys, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A switch: `true` in any case is true (Python clients send `True`), absent is `default`, and all else is
    /// false, as in the original. Where that would do harm, `unclear_switch` tells.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, |it| it.eq_ignore_ascii_case("true"))
    }
}

/// The switches that keep something from happening: taken for false, `dryRun=yes` would change the cluster, and
/// `partialUpdate=1` would replace an app. To leave out `force` or `wipe` is the careful side.
const SWITCHES: [&str; 2] = ["dryRun", "partialUpdate"];

impl Query {
    /// The first of those that is neither true nor false, with its value.
    pub fn unclear_switch(&self) -> Option<(&str, &str)> {
        let clear = |text: &str| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
        let all = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.into_iter().find(|(name, value)| SWITCHES.contains(name) && !clear(value))
    }
}

/// Decodes the escapes of one segment of a path, where `+` is a plus.
pub fn decode_path(text: &str) -> String {
    decode(text, false)
}

fn decode(text: &str, plus_is_blank: bool) -> String {
    let digit = |it: u8| char::from(it).to_digit(16);
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = match bytes.get(at + 1..at + 3) {
            Some(&[high, low]) if byte == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        match (byte, pair) {
            (_, Some((high, low))) => {
                decoded.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', None) if plus_is_blank => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
