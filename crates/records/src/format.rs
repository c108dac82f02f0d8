//! The format number, and the way up from older formats.

use std::collections::BTreeMap;

use marathon_model::write::Write;

use crate::{Key, Record, RecordError, decode};

/// The format this release writes.
pub const FORMAT: u32 = 1;

/// A step from one format to the next: changes the raw records in place.
type Migration = fn(&mut BTreeMap<String, Vec<u8>>) -> Result<(), RecordError>;

/// `MIGRATIONS[n]` leads from format `n + 1` to `n + 2`.
const MIGRATIONS: [Migration; FORMAT as usize - 1] = [];

/// All that was stored, readable.
#[derive(Debug, PartialEq)]
pub struct Loaded {
    pub writes: Vec<Write>,
    /// To be committed before anything else: the format number of a new store, or what a migration
    /// changed. Mostly empty.
    pub changes: Vec<Record>,
}

/// Reads everything a store holds, in any order.
pub fn load(stored: Vec<(String, Vec<u8>)>) -> Result<Loaded, RecordError> {
    load_with(stored, &MIGRATIONS)
}

fn load_with(mut stored: Vec<(String, Vec<u8>)>, migrations: &[Migration]) -> Result<Loaded, RecordError> {
    let known = u32::try_from(migrations.len() + 1).unwrap_or(u32::MAX);
    let found = match stored.iter().position(|(key, _)| *key == Key::Format.to_string()) {
        Some(at) => {
            let (key, value) = stored.swap_remove(at);
            crate::parse::<u32>(&key, &value)?
        }
        None if stored.is_empty() => {
            return Ok(Loaded { writes: Vec::new(), changes: vec![format_record(known)] });
        }
        None => return Err(RecordError::NoFormat),
    };
    if found > known {
        return Err(RecordError::Newer { found, known });
    }
    let mut changes = Vec::new();
    if found < known {
        let before: BTreeMap<_, _> = stored.into_iter().collect();
        let after = migrate(&before, found, migrations)?;
        changes = difference(&before, &after);
        changes.push(format_record(known));
        stored = after.into_iter().collect();
    }
    let writes = stored.iter().map(|(key, value)| decode(key, value)).collect::<Result<_, _>>()?;
    Ok(Loaded { writes, changes })
}

pub(crate) fn format_record(format: u32) -> Record {
    Record { key: Key::Format.to_string(), value: Some(format.to_string().into_bytes()) }
}

fn migrate(
    before: &BTreeMap<String, Vec<u8>>,
    found: u32,
    migrations: &[Migration],
) -> Result<BTreeMap<String, Vec<u8>>, RecordError> {
    let mut records = before.clone();
    // There never was a format 0; treating it as the first one keeps the arithmetic total.
    let from = found.max(1);
    for (format, step) in (1u32..).zip(migrations).skip(from as usize - 1) {
        step(&mut records)
            .map_err(|cause| RecordError::Migration { from: format, cause: Box::new(cause) })?;
    }
    Ok(records)
}

fn difference(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Vec<Record> {
    let gone = before.keys().filter(|it| !after.contains_key(*it));
    let gone = gone.map(|key| Record { key: key.clone(), value: None });
    let new = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    gone.chain(new.map(|(key, value)| Record { key: key.clone(), value: Some(value.clone()) })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(records: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        records.iter().map(|(key, value)| (key.to_string(), value.as_bytes().to_vec())).collect()
    }

    fn text(record: &Record) -> String {
        let value = record.value.as_deref().map(|it| String::from_utf8_lossy(it).into_owned());
        format!("{}={}", record.key, value.as_deref().unwrap_or("(deleted)"))
    }

    #[test]
    fn a_new_store_gets_its_format_number() {
        let loaded = load(Vec::new()).unwrap();
        assert_eq!(
            (loaded.writes, loaded.changes.iter().map(text).collect()),
            (vec![], vec!["format=1".to_owned()])
        );
        assert_eq!(load(stored(&[("format", "1")])).unwrap(), Loaded { writes: vec![], changes: vec![] });
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for (records, want) in [
            (
                &[("format", "2")][..],
                "the stored records have format 2, and this release knows formats up to 1: start the newer release again, or restore a backup from before the upgrade",
            ),
            (&[("format", "x")], "the stored record `format` cannot be read"),
            (
                &[("root/1", "{}")],
                "the stored records have no format number (key `format`), so they are not Marathon's or not complete",
            ),
            (&[("format", "1"), ("root/1", "{")], "the stored record `root/1` cannot be read"),
            (&[("format", "1"), ("pod/1", "{}")], "the stored record `pod/1` is of no known kind"),
        ] {
            assert_eq!(load(stored(records)).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn older_formats_are_brought_up_step_by_step() {
        fn rename(records: &mut BTreeMap<String, Vec<u8>>) -> Result<(), RecordError> {
            let value = records.remove("tree/1").ok_or(RecordError::NoFormat)?;
            records.insert("root/1".to_owned(), value);
            Ok(())
        }
        fn second(records: &mut BTreeMap<String, Vec<u8>>) -> Result<(), RecordError> {
            records.insert("root/2".to_owned(), b"{}".to_vec());
            Ok(())
        }
        let steps: [Migration; 2] = [rename, second];
        let loaded =
            load_with(stored(&[("tree/1", "{}"), ("root/9", "{}"), ("format", "1")]), &steps).unwrap();
        let changes: Vec<_> = loaded.changes.iter().map(text).collect();
        assert_eq!(changes, ["tree/1=(deleted)", "root/1={}", "root/2={}", "format=3"]);
        assert_eq!(loaded.writes.len(), 3);

        let loaded = load_with(stored(&[("format", "2")]), &steps).unwrap();
        assert_eq!(loaded.changes.iter().map(text).collect::<Vec<_>>(), ["root/2={}", "format=3"]);

        let failed = load_with(stored(&[("format", "1")]), &steps).unwrap_err();
        assert_eq!(failed.to_string(), "the stored records could not be brought from format 1 to 2");
    }
}
