//! Walks JSON and remembers where it is, so that every complaint names its place.
//!
//! A read returns `None` where it complained; callers carry on, so that one answer names all faults.

use std::fmt::{Display, Write};
use std::time::Duration;

use marathon_model::command::Violation;
use serde_json::{Map, Value};

use crate::BadRequest;

/// A body of some megabytes can be wrong in a million places.
const VIOLATIONS_MAX: usize = 200;
/// How much of an object is repeated in a complaint about it.
const ECHO_BYTES_MAX: usize = 2048;

#[derive(Debug, Default)]
pub struct Reader {
    /// Such as `/healthChecks(0)/path`; empty at the top.
    path: String,
    shape: Vec<Violation>,
    rules: Vec<Violation>,
}

pub type Object = Map<String, Value>;

impl Reader {
    pub fn finish<T>(self, value: Option<T>) -> Result<T, BadRequest> {
        if !self.shape.is_empty() {
            return Err(BadRequest::Shape(self.shape));
        }
        if !self.rules.is_empty() {
            return Err(BadRequest::Invalid(self.rules));
        }
        // Whoever returns nothing has complained; a slip there must still not panic.
        value.ok_or_else(|| BadRequest::Shape(vec![Violation::new("/", "error.invalid")]))
    }

    /// Wrong JSON: type, pattern or bound. Returns `None` for the caller to pass on.
    pub fn misshapen<T>(&mut self, message: impl Into<String>) -> Option<T> {
        note(&mut self.shape, &self.path, message.into());
        None
    }

    /// A broken rule of what was read, at this place.
    pub fn broken(&mut self, message: impl Into<String>) {
        note(&mut self.rules, &self.path, message.into());
    }

    pub fn broken_at(&mut self, key: &str, message: impl Into<String>) {
        self.inside(format_args!("/{key}"), |reader| reader.broken(message));
    }

    fn inside<T>(&mut self, step: impl Display, read: impl FnOnce(&mut Reader) -> T) -> T {
        let length = self.path.len();
        // Writing to a string cannot fail.
        let _ = write!(self.path, "{step}");
        let result = read(self);
        self.path.truncate(length);
        result
    }

    // ---- objects and lists

    pub fn object<'v>(&mut self, value: &'v Value) -> Option<&'v Object> {
        value.as_object().or_else(|| self.misshapen("error.expected.jsobject"))
    }

    /// The value of a key; null is the same as absent.
    pub fn optional<T>(
        &mut self,
        object: &Object,
        key: &str,
        read: impl FnOnce(&mut Reader, &Value) -> Option<T>,
    ) -> Option<T> {
        let value = present(object, key)?;
        self.inside(format_args!("/{key}"), |reader| read(reader, value))
    }

    pub fn required<T>(
        &mut self,
        object: &Object,
        key: &str,
        read: impl FnOnce(&mut Reader, &Value) -> Option<T>,
    ) -> Option<T> {
        if present(object, key).is_none() {
            return self.inside(format_args!("/{key}"), |reader| reader.misshapen("error.path.missing"));
        }
        self.optional(object, key, read)
    }

    /// Complains that an app lacks a key, in the words the original has for its largest types.
    pub fn undefined<T>(&mut self, object: &Object, key: &str) -> Option<T> {
        let mut echo = Value::Object(object.clone()).to_string();
        if echo.len() > ECHO_BYTES_MAX {
            echo.truncate((0..=ECHO_BYTES_MAX).rev().find(|&at| echo.is_char_boundary(at)).unwrap_or(0));
            echo.push('…');
        }
        let message = format!("'{key}' is undefined on object: {echo}");
        self.inside(format_args!("/{key}"), |reader| reader.misshapen(message))
    }

    pub fn list<T>(
        &mut self,
        value: &Value,
        read: impl Fn(&mut Reader, &Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(items) = value.as_array() else { return self.misshapen("error.expected.jsarray") };
        // All are read before one failure makes the whole a failure.
        let items = items.iter().enumerate();
        let read: Vec<Option<T>> =
            items.map(|(at, it)| self.inside(format_args!("({at})"), |reader| read(reader, it))).collect();
        read.into_iter().collect()
    }

    pub fn map<M, T>(&mut self, value: &Value, read: impl Fn(&mut Reader, &Value) -> Option<T>) -> Option<M>
    where
        M: FromIterator<(String, T)>,
    {
        let object = self.object(value)?;
        let read: Vec<Option<(String, T)>> = object
            .iter()
            .map(|(key, it)| {
                self.inside(format_args!("/{key}"), |reader| read(reader, it)).map(|it| (key.clone(), it))
            })
            .collect();
        read.into_iter().collect()
    }

    pub fn texts<M: FromIterator<(String, String)>>(&mut self, value: &Value) -> Option<M> {
        self.map(value, Reader::text)
    }

    // ---- texts

    pub fn text(&mut self, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            _ => self.misshapen("error.expected.jsstring"),
        }
    }

    pub fn some_text(&mut self, value: &Value) -> Option<String> {
        self.text_of(value, 1, usize::MAX)
    }

    /// A URI or a file path.
    pub fn locator(&mut self, value: &Value) -> Option<String> {
        self.text_of(value, 1, 1024)
    }

    fn text_of(&mut self, value: &Value, min: usize, max: usize) -> Option<String> {
        let text = self.text(value)?;
        match text.chars().take(max.saturating_add(1)).count() {
            count if count < min => self.misshapen("error.minLength"),
            count if count > max => self.misshapen("error.maxLength"),
            _ => Some(text),
        }
    }

    pub fn matching(&mut self, value: &Value, is_match: impl Fn(&str) -> bool) -> Option<String> {
        let text = self.text(value)?;
        if is_match(&text) { Some(text) } else { self.misshapen("error.pattern") }
    }

    /// One of a few words, in any case.
    pub fn word<T: Copy>(&mut self, value: &Value, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(value)?;
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        found.map(|(_, meaning)| *meaning).or_else(|| self.misshapen("error.unknown.enum.literal"))
    }

    // ---- numbers

    pub fn boolean(&mut self, value: &Value) -> Option<bool> {
        value.as_bool().or_else(|| self.misshapen("error.expected.jsboolean"))
    }

    pub fn number(&mut self, value: &Value, min: f64) -> Option<f64> {
        match value.as_f64() {
            None => self.misshapen("error.expected.jsnumber"),
            Some(number) if number < min => self.misshapen("error.min"),
            number => number,
        }
    }

    /// An integer of 32 bits. `2.0` is one, `2.5` is none.
    pub fn int(&mut self, value: &Value, min: i32, max: i32) -> Option<i32> {
        if !value.is_number() {
            return self.misshapen("error.expected.jsnumber");
        }
        let Some(number) = whole(value).and_then(|it| i32::try_from(it).ok()) else {
            return self.misshapen("error.expected.int");
        };
        match number {
            _ if number < min => self.misshapen("error.min"),
            _ if number > max => self.misshapen("error.max"),
            _ => Some(number),
        }
    }

    pub fn count(&mut self, value: &Value) -> Option<u32> {
        self.int(value, 0, i32::MAX).and_then(|it| u32::try_from(it).ok())
    }

    pub fn long(&mut self, value: &Value) -> Option<u64> {
        if !value.is_number() {
            return self.misshapen("error.expected.jsnumber");
        }
        match whole(value) {
            None => self.misshapen("error.expected.long"),
            Some(number) => u64::try_from(number).ok().or_else(|| self.misshapen("error.min")),
        }
    }

    pub fn port(&mut self, value: &Value) -> Option<u16> {
        self.int(value, 0, i32::from(u16::MAX)).and_then(|it| u16::try_from(it).ok())
    }

    pub fn seconds(&mut self, value: &Value) -> Option<Duration> {
        self.count(value).map(|it| Duration::from_secs(u64::from(it)))
    }
}

/// Old and new forms of a field are read one after the other and complain about the same fault.
fn note(list: &mut Vec<Violation>, path: &str, message: String) {
    let violation = Violation::new(if path.is_empty() { "/" } else { path }, message);
    if list.len() < VIOLATIONS_MAX && !list.contains(&violation) {
        list.push(violation);
    }
}

pub fn present<'v>(object: &'v Object, key: &str) -> Option<&'v Value> {
    object.get(key).filter(|it| !it.is_null())
}

fn whole(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    // Beyond 2^53 a float is no exact integer, so nothing is lost by the limit.
    let number = value.as_f64().filter(|it| it.fract() == 0.0 && it.abs() < 9.0e15)?;
    Some(number as i64)
}
