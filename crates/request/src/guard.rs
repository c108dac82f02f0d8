//! `?deadlineSeconds=300&maxFailures=5&onFailure=rollback`: when a deployment gives up by itself.
//!
//! Elsewhere what is unknown in a query string is ignored. Not here: who mistypes one of these believes to be
//! guarded and is not. So names that are meant but misspelt are refused, too.

use std::time::Duration;

use marathon_model::command::Violation;
use marathon_model::deployment::{GuardUpdate, OnFailure};

use crate::BadRequest;
use crate::query::Query;

const DEADLINE: &str = "deadlineSeconds";
const FAILURES: &str = "maxFailures";
const ON_FAILURE: &str = "onFailure";
/// A year; whoever waits longer waits for ever.
const DEADLINE_MAX: u64 = 31_536_000;
const FAILURES_MAX: u64 = i32::MAX as u64;

/// `None`: nothing is said about it.
pub fn guard(query: &Query) -> Result<Option<GuardUpdate>, BadRequest> {
    let mut violations = Vec::new();
    for key in query.keys() {
        let right = [DEADLINE, FAILURES, ON_FAILURE].into_iter().find(|it| key != *it && means(key, it));
        if let Some(right) = right {
            violations
                .push(Violation::new(format!("/{key}"), format!("is not known; it is spelt '{right}'")));
        }
    }
    let mut number = |name: &str, least: u64, most: u64| {
        let text = query.get(name)?;
        // `parse` takes a sign, which is no part of a whole number here.
        let digits = text.bytes().all(|it| it.is_ascii_digit());
        let number = text.parse().ok().filter(|it| digits && (least..=most).contains(it));
        if number.is_none() {
            let text = format!("must be a whole number from {least} to {most}, but is '{text}'");
            violations.push(Violation::new(format!("/{name}"), text));
        }
        number
    };
    let deadline = number(DEADLINE, 1, DEADLINE_MAX).map(Duration::from_secs);
    let max_failures = number(FAILURES, 0, FAILURES_MAX).and_then(|it| u32::try_from(it).ok());
    let on_failure = query.get(ON_FAILURE).and_then(|text| {
        let known = OnFailure::parse(text);
        if known.is_none() {
            let text = format!("must be 'rollback' or 'stop', but is '{text}'");
            violations.push(Violation::new(format!("/{ON_FAILURE}"), text));
        }
        known
    });
    if !violations.is_empty() {
        return Err(BadRequest::Invalid(violations));
    }
    let guard = GuardUpdate { deadline, max_failures, on_failure };
    Ok((guard != GuardUpdate::default()).then_some(guard))
}

/// The same word in other letters: `maxfailures`, `max_failures`, `on-failure`; and the deadline without its unit.
fn means(key: &str, name: &str) -> bool {
    let plain = |text: &str| {
        let letters = text.chars().filter(|it| !matches!(it, '_' | '-'));
        letters.collect::<String>().to_ascii_lowercase()
    };
    plain(key) == plain(name) || name == DEADLINE && plain(key) == "deadline"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, want: &str) {
        let got = match guard(&Query::parse(query)) {
            Ok(None) => "none".to_owned(),
            Ok(Some(GuardUpdate { deadline, max_failures, on_failure })) => {
                let on_failure = on_failure.map(OnFailure::name);
                format!("{:?} {max_failures:?} {on_failure:?}", deadline.map(|it| it.as_secs()))
            }
            Err(BadRequest::Invalid(all)) => {
                all.iter().map(|it| format!("{} {}", it.path, it.message)).collect::<Vec<_>>().join("; ")
            }
            Err(other) => format!("{other:?}"),
        };
        assert_eq!(got, want, "{query}");
    }

    #[test]
    fn table() {
        check("", "none");
        check("force=true&x=1", "none");
        check("deadlineSeconds=300&maxFailures=5&onFailure=stop", "Some(300) Some(5) Some(\"stop\")");
        check("maxFailures=0", "None Some(0) None");
        check("onFailure=rollback", "None None Some(\"rollback\")");
        let range = "must be a whole number from 1 to 31536000, but is";
        for bad in ["0", "-1", "1.5", "%2B3", "", "5m", "99999999999999999999"] {
            let shown = bad.replace("%2B", "+");
            check(&format!("deadlineSeconds={bad}"), &format!("/deadlineSeconds {range} '{shown}'"));
        }
        check(
            "maxFailures=many&onFailure=Stop",
            "/maxFailures must be a whole number from 0 to 2147483647, but is 'many'; \
             /onFailure must be 'rollback' or 'stop', but is 'Stop'",
        );
        check("maxfailures=1", "/maxfailures is not known; it is spelt 'maxFailures'");
        check("deadline=1", "/deadline is not known; it is spelt 'deadlineSeconds'");
        check("on_failure=stop", "/on_failure is not known; it is spelt 'onFailure'");
    }
}
