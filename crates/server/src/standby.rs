//! What a follower has read ahead of the state: the records, decoded as they come.

use std::collections::{BTreeMap, BTreeSet};

use marathon_model::write::Write;
use marathon_records::{FORMAT, Key};
use marathon_store::Keep;

/// Every record of the state, ready to be taken over. A record that cannot be read is remembered too: who takes over
/// then reads everything anew, and says what is wrong with it.
#[derive(Debug, Default)]
pub struct Shelf {
    /// In order, so that what belongs together is restored together: the memory it touches is then at hand, which halves
    /// the time.
    writes: BTreeMap<String, Write>,
    format: Option<Vec<u8>>,
    unreadable: BTreeSet<String>,
}

impl Keep for Shelf {
    fn put(&mut self, key: &str, value: &[u8]) {
        if key == Key::Format.to_string() {
            self.format = Some(value.to_vec());
            return;
        }
        match marathon_records::decode(key, value) {
            Ok(write) => {
                self.unreadable.remove(key);
                match self.writes.get_mut(key) {
                    Some(before) => *before = write,
                    None => drop(self.writes.insert(key.to_owned(), write)),
                }
            }
            Err(_) => {
                self.writes.remove(key);
                self.unreadable.insert(key.to_owned());
            }
        }
    }

    fn remove(&mut self, key: &str) {
        if key == Key::Format.to_string() {
            self.format = None;
        }
        self.writes.remove(key);
        self.unreadable.remove(key);
    }

    fn clear(&mut self) {
        *self = Shelf::default();
    }
}

impl Shelf {
    /// What `marathon_records::load` would make of the same records, if it would need to change none of them.
    pub fn into_writes(self) -> Result<Vec<Write>, String> {
        if let Some(key) = self.unreadable.first() {
            return Err(format!("the record `{key}` cannot be read"));
        }
        match self.format {
            Some(format) if format == FORMAT.to_string().as_bytes() => {
                Ok(self.writes.into_values().collect())
            }
            // A new store, or one of another release.
            _ => Err("the records have another format".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shelf(records: &[(&str, &str)]) -> Shelf {
        let mut shelf = Shelf::default();
        for (key, value) in records {
            match *value {
                "" => shelf.remove(key),
                value => shelf.put(key, value.as_bytes()),
            }
        }
        shelf
    }

    fn check(records: &[(&str, &str)], want: Result<&[&str], &str>) {
        let found = shelf(records).into_writes();
        let mut keys: Vec<String> = match found {
            Ok(writes) => writes.iter().map(|it| marathon_records::encode(it).key).collect(),
            Err(why) => return assert_eq!(Err(why.as_str()), want.map(|_| ())),
        };
        keys.sort();
        assert_eq!(keys, want.unwrap());
    }

    #[test]
    fn records_come_and_go() {
        let unreadable = Err("the record `root/1` cannot be read");
        let format = Err("the records have another format");
        check(&[("format", "1")], Ok(&[]));
        check(&[("format", "1"), ("root/1", "{}"), ("root/2", "{}"), ("root/1", "")], Ok(&["root/2"]));
        check(
            &[("format", "1"), ("events", r#"{"begin":1}"#), ("events", r#"{"begin":2}"#)],
            Ok(&["events"]),
        );
        check(&[("format", "1"), ("root/1", "{")], unreadable);
        check(&[("format", "1"), ("root/1", "{}"), ("root/1", "{")], unreadable);
        check(&[("format", "1"), ("root/1", "{"), ("root/1", "{}")], Ok(&["root/1"]));
        check(&[("format", "1"), ("root/1", "{"), ("root/1", "")], Ok(&[]));
        check(&[], format);
        check(&[("format", "2")], format);
        check(&[("format", "1"), ("format", "")], format);
    }
}
