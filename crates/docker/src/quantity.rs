//! Amounts as the `docker` command line writes them.

/// `512m`, `1.5g`, `64kb`, `1024`; powers of 1024.
pub(crate) fn bytes(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let shift = match lower[number.len()..].trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let amount: f64 = number.parse().ok()?;
    let amount = amount * (1_i64 << shift) as f64;
    (0.0..9e18).contains(&amount).then_some(amount as i64)
}

/// `1m30s`, `500ms`: nanoseconds.
pub(crate) fn duration_nanos(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let nanos = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * nanos;
        rest = tail;
    }
    (0.0..9e18).contains(&total).then_some(total as i64)
}

/// `1.5` cpus: billionths.
pub(crate) fn nano_cpus(text: &str) -> Option<i64> {
    let amount = text.trim().parse::<f64>().ok()? * 1e9;
    (0.0..9e18).contains(&amount).then_some(amount as i64)
}

/// An option without a value is set.
pub(crate) fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "1" | "t" | "true" => Some(true),
        "0" | "f" | "false" => Some(false),
        _ => None,
    }
}

/// `8080` or `8080-8090`.
pub(crate) fn ports(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let rows = [("64", Some(64)), ("64k", Some(65536)), ("1.5G", Some(3 << 29)), ("2 mb", Some(2 << 20))];
        for (text, wanted) in rows {
            assert_eq!(bytes(text), wanted, "{text}");
        }
        for text in ["", "m", "-1", "1x", "1e30g", "nan", "1mm"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        let rows = [("1m30s", 90_000_000_000), ("500ms", 500_000_000), ("1.5h", 5_400_000_000_000), ("0", 0)];
        for (text, wanted) in rows {
            assert_eq!(duration_nanos(text), Some(wanted), "{text}");
        }
        for text in ["", "5", "s", "1d", "1s1", "-1s"] {
            assert_eq!(duration_nanos(text), None, "{text}");
        }
    }

    #[test]
    fn flags_and_ports() {
        assert_eq!(
            [flag(""), flag("TRUE"), flag("0"), flag("yes")],
            [Some(true), Some(true), Some(false), None]
        );
        assert_eq!(ports("80-82").map(|it| it.count()), Some(3));
        for text in ["", "0x50", "82-80", "70000", "-"] {
            assert_eq!(ports(text), None, "{text}");
        }
    }
}
