//! The JSON form of the messages: that of proto2 as Mesos reads and writes it, not the canon of proto3.
//!
//! Field names are those of the definition, 64-bit numbers are plain numbers, bytes are base64, enumerations are
//! names. What the master forgives is forgiven here too: unknown fields and names, `null`, a number as a string,
//! a single value where a list belongs.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde_json::{Map, Number, Value};

/// Mesos pads; other clients may not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a name stands for that this side does not know, where a field may not stay empty.
pub const UNRECOGNISED: i32 = -1;

/// Why a JSON value is not the message it should be, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", if at.is_empty() { String::new() } else { format!("{at}: ") })]
pub struct JsonError {
    /// The path to the field, like `accept.offer_ids[0].value`.
    pub at: String,
    pub what: String,
}

impl JsonError {
    pub fn new(what: impl Into<String>) -> JsonError {
        JsonError { at: String::new(), what: what.into() }
    }

    fn below(mut self, parent: &str) -> JsonError {
        let dot = if self.at.is_empty() || self.at.starts_with('[') { "" } else { "." };
        self.at = format!("{parent}{dot}{}", self.at);
        self
    }
}

/// Something with a JSON form.
pub trait Json: Sized {
    fn from_json(value: Value) -> Result<Self, JsonError>;
    fn to_json(&self) -> Value;
}

/// An enumeration as names and numbers.
pub trait Named {
    const VALUES: &'static [(&'static str, i32)];

    fn number_of(name: &str) -> Option<i32> {
        Self::VALUES.iter().find(|(it, _)| *it == name).map(|(_, number)| *number)
    }

    fn name_of(number: i32) -> Option<&'static str> {
        Self::VALUES.iter().find(|(_, it)| *it == number).map(|(name, _)| *name)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn expected<T>(what: &str, found: &Value) -> Result<T, JsonError> {
    Err(JsonError::new(format!("expected {what}, found {}", kind(found))))
}

pub fn object(value: Value) -> Result<Map<String, Value>, JsonError> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => expected("an object", &other),
    }
}

impl Json for String {
    fn from_json(value: Value) -> Result<String, JsonError> {
        match value {
            Value::String(text) => Ok(text),
            other => expected("a string", &other),
        }
    }

    fn to_json(&self) -> Value {
        Value::String(self.clone())
    }
}

impl Json for Vec<u8> {
    fn from_json(value: Value) -> Result<Vec<u8>, JsonError> {
        let Value::String(mut text) = value else { return expected("base64 text", &value) };
        text.retain(|it| !it.is_ascii_whitespace());
        LENIENT.decode(text).map_err(|cause| JsonError::new(format!("not base64: {cause}")))
    }

    fn to_json(&self) -> Value {
        Value::String(STANDARD.encode(self))
    }
}

impl Json for bool {
    fn from_json(value: Value) -> Result<bool, JsonError> {
        match value {
            Value::Bool(it) => Ok(it),
            Value::String(it) if it == "true" => Ok(true),
            Value::String(it) if it == "false" => Ok(false),
            other => expected("true or false", &other),
        }
    }

    fn to_json(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Json for f64 {
    fn from_json(value: Value) -> Result<f64, JsonError> {
        let number = match &value {
            Value::Number(it) => it.as_f64(),
            Value::String(it) if it == "Infinity" => Some(f64::INFINITY),
            Value::String(it) if it == "-Infinity" => Some(f64::NEG_INFINITY),
            Value::String(it) => it.parse().ok(),
            _ => None,
        };
        number.map_or_else(|| expected("a number", &value), Ok)
    }

    fn to_json(&self) -> Value {
        match Number::from_f64(*self) {
            Some(it) => Value::Number(it),
            None if self.is_nan() => Value::String("NaN".to_owned()),
            None if *self < 0.0 => Value::String("-Infinity".to_owned()),
            None => Value::String("Infinity".to_owned()),
        }
    }
}

/// Whole numbers: a fraction is cut off, as the master does; what does not fit is an error.
fn whole(value: &Value) -> Option<i128> {
    let of_float = |it: f64| (it.is_finite() && it.abs() < 2e19).then_some(it.trunc() as i128);
    match value {
        Value::Number(it) => it
            .as_i64()
            .map(i128::from)
            .or_else(|| it.as_u64().map(i128::from))
            .or_else(|| it.as_f64().and_then(of_float)),
        Value::String(it) => it.parse::<i128>().ok().or_else(|| it.parse::<f64>().ok().and_then(of_float)),
        _ => None,
    }
}

macro_rules! whole_number {
    ($($kind:ident),*) => { $(
        impl Json for $kind {
            fn from_json(value: Value) -> Result<$kind, JsonError> {
                let Some(number) = whole(&value) else { return expected("a whole number", &value) };
                $kind::try_from(number).map_err(|_| JsonError::new(format!("{number} is out of range")))
            }

            fn to_json(&self) -> Value {
                Value::Number(Number::from(*self))
            }
        }
    )* };
}

whole_number!(u32, i32, u64, i64);

impl<T: Json> Json for Box<T> {
    fn from_json(value: Value) -> Result<Box<T>, JsonError> {
        T::from_json(value).map(Box::new)
    }

    fn to_json(&self) -> Value {
        T::to_json(self)
    }
}

/// `type` is a word of Rust's own, so the field is called `r#type` there.
fn plain(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// The value of a field; `null` is none.
fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    match fields.get_mut(name).map(Value::take) {
        None | Some(Value::Null) => None,
        Some(value) => Some(value),
    }
}

fn missing<T>(name: &str) -> Result<T, JsonError> {
    Err(JsonError::new("Missing required fields").below(name))
}

pub fn required<T: Json>(fields: &mut Map<String, Value>, name: &str) -> Result<T, JsonError> {
    match optional(fields, name)? {
        Some(it) => Ok(it),
        None => missing(plain(name)),
    }
}

pub fn optional<T: Json>(fields: &mut Map<String, Value>, name: &str) -> Result<Option<T>, JsonError> {
    let name = plain(name);
    take(fields, name).map(|it| T::from_json(it).map_err(|cause| cause.below(name))).transpose()
}

/// A list, or one value that stands for a list of one.
fn elements(fields: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match take(fields, name) {
        None => Vec::new(),
        Some(Value::Array(all)) => all,
        Some(one) => vec![one],
    }
}

pub fn repeated<T: Json>(fields: &mut Map<String, Value>, name: &str) -> Result<Vec<T>, JsonError> {
    let name = plain(name);
    let all = elements(fields, name).into_iter().enumerate();
    all.map(|(at, it)| T::from_json(it).map_err(|cause| cause.below(&format!("{name}[{at}]")))).collect()
}

pub fn map<T: Json>(fields: &mut Map<String, Value>, name: &str) -> Result<BTreeMap<String, T>, JsonError> {
    let name = plain(name);
    let Some(value) = take(fields, name) else { return Ok(BTreeMap::new()) };
    let entries = object(value).map_err(|cause| cause.below(name))?;
    let read = |(key, value)| {
        let value = T::from_json(value).map_err(|cause| cause.below(&format!("{name}.{key}")))?;
        Ok((key, value))
    };
    entries.into_iter().map(read).collect()
}

fn number<E: Named>(value: Value) -> Result<Option<i32>, JsonError> {
    match value {
        Value::String(name) => Ok(E::number_of(&name)),
        other => expected("a name", &other),
    }
}

pub fn required_name<E: Named>(fields: &mut Map<String, Value>, name: &str) -> Result<i32, JsonError> {
    let name = plain(name);
    let Some(value) = take(fields, name) else { return missing(name) };
    Ok(number::<E>(value).map_err(|cause| cause.below(name))?.unwrap_or(UNRECOGNISED))
}

/// A name that is not known counts as none.
pub fn optional_name<E: Named>(
    fields: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<i32>, JsonError> {
    let name = plain(name);
    let Some(value) = take(fields, name) else { return Ok(None) };
    number::<E>(value).map_err(|cause| cause.below(name))
}

pub fn repeated_name<E: Named>(fields: &mut Map<String, Value>, name: &str) -> Result<Vec<i32>, JsonError> {
    let name = plain(name);
    let mut numbers = Vec::new();
    for (at, value) in elements(fields, name).into_iter().enumerate() {
        numbers.extend(number::<E>(value).map_err(|cause| cause.below(&format!("{name}[{at}]")))?);
    }
    Ok(numbers)
}

pub fn put<T: Json>(fields: &mut Map<String, Value>, name: &str, value: &T) {
    fields.insert(plain(name).to_owned(), value.to_json());
}

pub fn put_all<T: Json>(fields: &mut Map<String, Value>, name: &str, all: &[T]) {
    if !all.is_empty() {
        fields.insert(plain(name).to_owned(), all.iter().map(T::to_json).collect());
    }
}

pub fn put_map<T: Json>(fields: &mut Map<String, Value>, name: &str, all: &BTreeMap<String, T>) {
    if !all.is_empty() {
        let entries = all.iter().map(|(key, value)| (key.clone(), value.to_json())).collect();
        fields.insert(plain(name).to_owned(), Value::Object(entries));
    }
}

/// A number without a name is left out, as a master would that does not know it either.
pub fn put_name<E: Named>(fields: &mut Map<String, Value>, name: &str, number: i32) {
    if let Some(it) = E::name_of(number) {
        fields.insert(plain(name).to_owned(), Value::String(it.to_owned()));
    }
}

pub fn put_names<E: Named>(fields: &mut Map<String, Value>, name: &str, numbers: &[i32]) {
    let names: Vec<Value> =
        numbers.iter().filter_map(|it| E::name_of(*it)).map(|it| Value::String(it.to_owned())).collect();
    if !names.is_empty() {
        fields.insert(plain(name).to_owned(), Value::Array(names));
    }
}
