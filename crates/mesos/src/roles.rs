//! For which roles the framework is there, and for which of them offers are wanted.
//!
//! A master may refuse roles (`--roles`, access lists), and with them the whole framework. One that it has never taken
//! is then left out, so that an app with such a role waits alone, rather than everybody; and it is asked for again later,
//! by itself, in case the master has changed its mind:
//!
//! ```text
//! new ─► taken for good
//!   └──► refused ─► (with others, nobody knows which: 5 s) ─► asked for alone ─► refused: 1, 2, 4 … 60 min
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::config::MesosConfig;

/// Of several roles that were refused together all but one may be innocent: each is soon asked for by itself.
const SOON: Duration = Duration::from_secs(5);
const PAUSE_FIRST: Duration = Duration::from_secs(60);
const PAUSE_CEILING: Duration = Duration::from_secs(3600);

/// The roles of this framework. A role that was once subscribed to stays until the process ends: tasks may run under
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// What the master is told.
    known: BTreeSet<String>,
    wanted: BTreeSet<String>,
    /// Those that a master has taken, and the first one of the configuration, without which nothing goes.
    proven: BTreeSet<String>,
    /// Of these the ones that are known are being asked for again.
    refused: BTreeMap<String, Refusal>,
    /// Whether roles without demand are kept from getting offers.
    suppress: bool,
    /// Whether the master takes roles without a new subscription.
    flexible: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    /// It is known to be the cause.
    alone: bool,
    again: Instant,
    /// How long it rests after the next refusal.
    pause: Duration,
}

/// When roles that were refused are due again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub at: Instant,
    /// Only a new subscription tells the master of them.
    pub subscribe: bool,
}

impl Roles {
    pub fn new(config: &MesosConfig) -> Roles {
        let known = config.roles.iter().map(|it| it.to_string());
        Roles::with(known.collect(), config.roles.first().map(|it| it.to_string()), config.suppress)
    }

    #[cfg(test)]
    pub fn of(known: &[&str]) -> Roles {
        let known: BTreeSet<String> = known.iter().map(|it| (*it).to_owned()).collect();
        let first = known.first().cloned();
        Roles::with(known, first, true)
    }

    fn with(known: BTreeSet<String>, first: Option<String>, suppress: bool) -> Roles {
        let proven = first.into_iter().collect();
        Roles { known, wanted: BTreeSet::new(), proven, refused: BTreeMap::new(), suppress, flexible: false }
    }

    /// Offers are wanted for these; whether the master has to be told of some of them.
    pub fn want<'a>(&mut self, roles: impl Iterator<Item = &'a str>) -> bool {
        let before = self.known.len();
        for role in roles {
            self.wanted.insert(role.to_owned());
            if !self.refused.contains_key(role) {
                self.known.insert(role.to_owned());
            }
        }
        before < self.known.len()
    }

    pub fn drop_demand<'a>(&mut self, roles: impl Iterator<Item = &'a str>) {
        for role in roles {
            self.wanted.remove(role);
        }
    }

    /// After a new subscription the core says anew what it wants.
    pub fn start_over(&mut self) {
        self.wanted.clear();
    }

    /// A subscription begins. `flexible`: the master takes roles without a new one.
    pub fn begin(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub fn suppressed(&self) -> Vec<String> {
        match self.suppress {
            true => self.known.difference(&self.wanted).cloned().collect(),
            false => Vec::new(),
        }
    }

    pub fn known(&self) -> Vec<String> {
        self.known.iter().cloned().collect()
    }

    pub fn is_known(&self, role: &str) -> bool {
        self.known.contains(role)
    }

    /// The master has taken these; returns what it had refused before.
    pub fn taken(&mut self, roles: &[String]) -> Vec<String> {
        self.proven.extend(roles.iter().cloned());
        roles.iter().filter(|it| self.refused.remove(*it).is_some()).cloned().collect()
    }

    /// The master has refused the framework with these words. Leaves out what it may mean: the roles that it names,
    /// or the one that is asked for again, or all that no master has taken yet. None: it is not about roles.
    pub fn refuse(&mut self, words: &str, now: Instant) -> Vec<String> {
        let doubtful: Vec<String> = self.known.difference(&self.proven).cloned().collect();
        let on_trial = |it: &&String| self.refused.contains_key(*it);
        let mut gone: Vec<String> = doubtful.iter().filter(|it| is_named(it, words)).cloned().collect();
        if gone.is_empty() {
            gone = doubtful.iter().filter(on_trial).cloned().collect();
        }
        if gone.is_empty() {
            gone = doubtful;
        }
        let alone = gone.len() == 1;
        for role in &gone {
            self.known.remove(role);
            let pause = self.refused.get(role).map_or(PAUSE_FIRST, |it| it.pause);
            let (rest, next) =
                if alone { (pause, (pause * 2).min(PAUSE_CEILING)) } else { (SOON, PAUSE_FIRST) };
            self.refused.insert(role.clone(), Refusal { alone, again: now + rest, pause: next });
        }
        gone
    }

    /// Whether a call that named these roles was refused for one that has been left out since.
    pub fn is_outdated(&self, named: &[String]) -> bool {
        named.iter().any(|it| self.refused.contains_key(it) && !self.known.contains(it))
    }

    /// Roles that offers are wanted for and that the master may be told of.
    pub fn open(&self) -> Vec<String> {
        self.known.intersection(&self.wanted).cloned().collect()
    }

    /// When to ask the master again for a role that it refused and of which offers are wanted.
    pub fn due(&self) -> Option<Due> {
        if self.is_on_trial() {
            return None;
        }
        let wanted = self.refused.iter().filter(|(role, _)| self.wanted.contains(*role));
        // For a role that is known to be the cause nobody else's offers are given up.
        let able = wanted.map(|(_, it)| it).filter(|it| self.flexible || !it.alone);
        let at = able.map(|it| it.again).min()?;
        Some(Due { at, subscribe: !self.flexible })
    }

    fn is_on_trial(&self) -> bool {
        self.refused.keys().any(|it| self.known.contains(it))
    }

    /// Gives one role that was refused long enough ago another try.
    pub fn try_again(&mut self, now: Instant) -> Option<String> {
        if self.is_on_trial() {
            return None;
        }
        let longest = self.refused.iter().filter(|(_, it)| it.again <= now).min_by_key(|(_, it)| it.again);
        let role = longest?.0.clone();
        self.known.insert(role.clone());
        Some(role)
    }
}

/// Whether a role stands in a text as a word of its own.
fn is_named(role: &str, words: &str) -> bool {
    let is_end = |it: Option<char>| it.is_none_or(|it| it.is_whitespace() || "'\"`,;:{}[]()".contains(it));
    words.match_indices(role).any(|(at, _)| {
        is_end(words[..at].chars().next_back()) && is_end(words[at + role.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_is_refused_is_left_out() {
        for (words, gone, known) in [
            ("Roles { \"b\" } are not present in the master's --roles", &["b"][..], &["*", "a"][..]),
            ("Not authorized to register a framework with [a, b, *]", &["a", "b"], &["*"]),
            ("'FrameworkInfo.roles' contains an invalid role", &["a", "b"], &["*"]),
        ] {
            let now = Instant::now();
            let mut roles = Roles::of(&["*"]);
            assert!(roles.want(["a", "b"].into_iter()));
            assert_eq!(roles.refuse(words, now), gone, "{words}");
            assert_eq!(roles.known(), known, "{words}");
            assert!(!roles.want(gone.iter().copied()), "{words}: not at once again");
            assert_eq!(roles.known(), known, "{words}");
        }
    }

    #[test]
    fn what_a_master_has_taken_is_not_left_out() {
        let now = Instant::now();
        let mut roles = Roles::of(&["*"]);
        roles.want(["a"].into_iter());
        let known = roles.known();
        assert!(roles.taken(&known).is_empty());
        assert!(roles.refuse("User 'root' is not allowed", now).is_empty());
        assert!(Roles::of(&["prod"]).refuse("Roles { \"prod\" } are not present", now).is_empty());
    }

    /// Lets all that is due be tried until nothing is for a while: what was asked for when, in seconds.
    fn tries(roles: &mut Roles, start: Instant, bad: &[&str], most: usize) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(due) = roles.due().filter(|_| all.len() < most) {
            let role = roles.try_again(due.at).expect("it is due");
            let how = if due.subscribe { "by a subscription " } else { "" };
            all.push(format!("{how}{role} at {}", (due.at - start).as_secs()));
            assert_eq!(roles.due(), None, "one at a time");
            match bad.contains(&role.as_str()) {
                true => assert_eq!(roles.refuse("Not authorized", due.at), [role]),
                false => assert_eq!(roles.taken(std::slice::from_ref(&role)), [role]),
            }
        }
        all
    }

    #[test]
    fn refused_roles_are_asked_for_again_one_by_one() {
        for (flexible, words, want) in [
            (true, "Not authorized", &["a at 5", "b at 5", "c at 5", "b at 65", "b at 185", "b at 425"][..]),
            (true, "Roles { \"b\" } are not present", &["b at 60", "b at 180", "b at 420"]),
            // Every attempt there costs a subscription: once, to tell them apart.
            (
                false,
                "Not authorized",
                &["by a subscription a at 5", "by a subscription b at 5", "by a subscription c at 5"],
            ),
            (false, "Roles { \"b\" } are not present", &[]),
        ] {
            let start = Instant::now();
            let mut roles = Roles::of(&["*"]);
            roles.begin(flexible);
            roles.want(["a", "b", "c"].into_iter());
            roles.refuse(words, start);
            let others: Vec<String> = roles.known();
            roles.taken(&others);
            assert_eq!(tries(&mut roles, start, &["b"], want.len().max(1)), want, "{flexible} {words}");
            assert_eq!(roles.known(), ["*", "a", "c"]);
        }
    }

    #[test]
    fn a_role_that_nobody_wants_is_not_asked_for_but_by_a_new_subscription() {
        let start = Instant::now();
        let mut roles = Roles::of(&["*"]);
        roles.begin(true);
        roles.want(["a"].into_iter());
        roles.refuse("no", start);
        roles.drop_demand(["a"].into_iter());
        assert_eq!(roles.due(), None);
        assert_eq!(roles.try_again(start), None, "too early");
        let later = start + PAUSE_CEILING;
        assert_eq!(roles.try_again(later).as_deref(), Some("a"));
        assert_eq!(roles.suppressed(), ["*", "a"]);
        assert_eq!(roles.refuse("no", later), ["a"]);
        roles.want(["a"].into_iter());
        assert_eq!(roles.due().map(|it| it.at - later), Some(PAUSE_FIRST * 2));
    }
}
