//! What to make of a master that refuses something.

use std::time::Instant;

use crate::Engine;
use crate::address::Address;
use crate::calls::{Written, revive};
use crate::session::{End, Fatal};
use crate::wire::Head;

impl Engine {
    /// A master that refuses the framework for roles which are not its own may take it without them.
    pub(crate) fn unless_for_roles(&self, end: End) -> End {
        let End::Fatal(Fatal::Refused(words)) = &end else { return end };
        let gone = self.desk().roles.refuse(words, Instant::now());
        if gone.is_empty() {
            return end;
        }
        tracing::error!(
            roles = ?gone,
            "the master refuses the framework, which goes on without these roles and asks for them again later: {words}"
        );
        End::Again(format!("apps of the roles {gone:?} get no offers: {words}"))
    }

    /// The master has taken these roles.
    pub(crate) fn took(&self, roles: &[String]) {
        let before = self.desk().roles.taken(roles);
        if !before.is_empty() {
            tracing::info!(roles = ?before, "the master takes roles that it had refused");
        }
    }

    /// What to say after the master has refused an update of the framework, if that was because of roles: the
    /// subscription stands. Nothing: it was for another reason.
    pub(crate) fn without_roles(&self, named: &[String], status: u16, words: &str) -> Vec<Written> {
        let about_roles = match status {
            400 => {
                let other = words.contains("is unsupported") || words.contains("offer_constraints");
                let roles =
                    words.contains("FrameworkInfo is not valid") || words.contains("Authorization failure");
                roles && !other
            }
            403 => words.contains("Not authorized"),
            _ => false,
        };
        if !about_roles {
            return Vec::new();
        }
        let open = {
            let roles = &mut self.desk().roles;
            if !roles.is_outdated(named) {
                let gone = roles.refuse(words, Instant::now());
                if gone.is_empty() {
                    return Vec::new();
                }
                tracing::error!(
                    roles = ?gone,
                    "the master refuses these roles: their apps get no offers, and it is asked again later: {words}"
                );
            }
            roles.open()
        };
        // A call that wanted offers for one of them was dropped as a whole.
        let mut all = vec![self.update_framework()];
        all.extend((!open.is_empty()).then(|| revive(open)));
        all
    }
}

/// What an answer to SUBSCRIBE other than the stream means.
pub(crate) fn turned_away(address: &Address, head: &Head, text: &str) -> End {
    match head.status {
        307 | 302 | 308 => End::Elsewhere(head.get("location").and_then(|it| address.redirected(it))),
        400 | 401 | 403 | 405 | 406 | 415 => End::Fatal(Fatal::Refused(said(head, text))),
        _ => End::Lost(said(head, text)),
    }
}

/// The status and the master's words, which now and then begin with it.
pub(crate) fn said(head: &Head, text: &str) -> String {
    let status = head.status.to_string();
    if text.starts_with(&status) { text.to_owned() } else { format!("{status} {text}").trim_end().to_owned() }
}
