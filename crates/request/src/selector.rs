//! Label selectors, as in `?label=tier==web,region in (eu, us)`.
//!
//! ```text
//! selectors := selector { "," selector } | ""
//! selector  := term ("in" | "notin") "(" [term {"," term}] ")"  |  term ("==" | "!=") term  |  term
//! term      := one or more of [-A-Za-z0-9_.], or "\" and any one character
//! ```
//! Blanks between tokens mean nothing. All selectors must hold, and each wants its key to exist.

use marathon_model::app::Labels;

use crate::BadRequest;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector(Vec<One>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct One {
    key: String,
    /// `None`: the key only has to exist.
    wants: Option<(Verb, Vec<String>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    In,
    NotIn,
}

impl Selector {
    pub fn parse(text: &str) -> Result<Selector, BadRequest> {
        let mut parser = Parser { text, at: 0 };
        parser.selectors().map(Selector).map_err(|reason| {
            BadRequest::Illegal(format!("Can not parse label selector {text}. Reason: {reason}"))
        })
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|it| match (labels.get(&it.key), &it.wants) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some((Verb::In, set))) => set.contains(value),
            (Some(value), Some((Verb::NotIn, set))) => !set.contains(value),
        })
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn selectors(&mut self) -> Result<Vec<One>, String> {
        let mut all = Vec::new();
        if self.at_end() {
            return Ok(all);
        }
        loop {
            all.push(self.selector()?);
            if self.at_end() {
                return Ok(all);
            }
            if !self.take(",") {
                return Err(self.expected("',' or the end"));
            }
        }
    }

    fn selector(&mut self) -> Result<One, String> {
        let key = self.term()?;
        for (sign, verb) in [("==", Verb::In), ("!=", Verb::NotIn)] {
            if self.take(sign) {
                let value = self.term()?;
                return Ok(One { key, wants: Some((verb, vec![value])) });
            }
        }
        for (word, verb) in [("notin", Verb::NotIn), ("in", Verb::In)] {
            if self.take(word) {
                let set = self.set()?;
                return Ok(One { key, wants: Some((verb, set)) });
            }
        }
        Ok(One { key, wants: None })
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        if !self.take("(") {
            return Err(self.expected("'('"));
        }
        let mut set = Vec::new();
        if self.take(")") {
            return Ok(set);
        }
        loop {
            set.push(self.term()?);
            if self.take(")") {
                return Ok(set);
            }
            if !self.take(",") {
                return Err(self.expected("',' or ')'"));
            }
        }
    }

    fn term(&mut self) -> Result<String, String> {
        self.skip_blanks();
        let mut term = String::new();
        let mut rest = self.text[self.at..].chars();
        loop {
            let before = rest.as_str().len();
            match rest.next() {
                Some('\\') => match rest.next() {
                    Some(escaped) => term.push(escaped),
                    None => return Err(self.expected("a character after '\\'")),
                },
                Some(plain) if plain.is_ascii_alphanumeric() || "-_.".contains(plain) => term.push(plain),
                _ => {
                    self.at = self.text.len() - before;
                    break;
                }
            }
        }
        if term.is_empty() { Err(self.expected("a label")) } else { Ok(term) }
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.at == self.text.len()
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn expected(&self, what: &str) -> String {
        match self.text[self.at..].chars().next() {
            Some(found) => format!("{what} expected but '{found}' found at position {}", self.at + 1),
            None => format!("{what} expected but the end found"),
        }
    }
}
