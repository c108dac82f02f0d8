//! Two tables: messages and enumerations, written like the protocol's own definition.
//!
//! A line `optional message TaskId task_id = 2;` becomes a field with its protobuf number and its JSON name. Two
//! deliberate differences from a generator's output: members of a `oneof` are plain optional fields (the wire
//! knows no difference), and an enumeration is kept as its number, so that a value of a newer master survives.

/// One message: the struct, its protobuf form (by `prost`) and its JSON form.
macro_rules! message {
    ($(#[$about:meta])* $name:ident { $($fields:tt)* }) => {
        message!(@next [$(#[$about])* $name] [] [] $($fields)*);
    };

    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        required enumeration $kind:ident $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(enumeration($kind), required, tag = $tag)] pub $field: i32,]
            [$($json)* (required_name [$kind] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        optional enumeration $kind:ident $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(enumeration($kind), optional, tag = $tag)] pub $field: Option<i32>,]
            [$($json)* (optional_name [$kind] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        repeated enumeration $kind:ident $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(enumeration($kind), repeated, packed = "false", tag = $tag)] pub $field: Vec<i32>,]
            [$($json)* (repeated_name [$kind] $field $tag)] $($rest)*);
    };

    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        required message $kind:ident $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(message, required, tag = $tag)] pub $field: $kind,]
            [$($json)* (required [$kind] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        optional message $kind:ident $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(message, optional, tag = $tag)] pub $field: Option<$kind>,]
            [$($json)* (optional [$kind] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        optional boxed $kind:ident $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(message, optional, boxed, tag = $tag)] pub $field: Option<Box<$kind>>,]
            [$($json)* (optional [Box<$kind>] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        repeated message $kind:ident $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(message, repeated, tag = $tag)] pub $field: Vec<$kind>,]
            [$($json)* (repeated [$kind] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        map message $kind:ident $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(btree_map = "string, message", tag = $tag)]
                pub $field: std::collections::BTreeMap<String, $kind>,]
            [$($json)* (map [$kind] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        map string $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(btree_map = "string, string", tag = $tag)]
                pub $field: std::collections::BTreeMap<String, String>,]
            [$($json)* (map [String] $field $tag)] $($rest)*);
    };

    // Text in which Mesos may put any bytes (the tail of a program's output): strict decoding would lose the
    // whole event.
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        required text $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(bytes = "vec", required, tag = $tag)] pub $field: Vec<u8>,]
            [$($json)* (required_text [] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        optional text $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(bytes = "vec", optional, tag = $tag)] pub $field: Option<Vec<u8>>,]
            [$($json)* (optional_text [] $field $tag)] $($rest)*);
    };

    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        repeated uint32 $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(uint32, repeated, packed = "false", tag = $tag)] pub $field: Vec<u32>,]
            [$($json)* (repeated [u32] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        repeated string $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost(string, repeated, tag = $tag)] pub $field: Vec<String>,]
            [$($json)* (repeated [String] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        required $kind:ident $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost($kind, required, tag = $tag)] pub $field: scalar!($kind),]
            [$($json)* (required [scalar!($kind)] $field $tag)] $($rest)*);
    };
    (@next $head:tt [$($rust:tt)*] [$($json:tt)*]
        optional $kind:ident $field:ident = $tag:tt; $($rest:tt)*) => {
        message!(@next $head
            [$($rust)* #[prost($kind, optional, tag = $tag)] pub $field: Option<scalar!($kind)>,]
            [$($json)* (optional [scalar!($kind)] $field $tag)] $($rest)*);
    };

    (@next [$(#[$about:meta])* $name:ident] [$($rust:tt)*] [$(($how:ident [$($kind:tt)*] $field:ident $tag:tt))*]) => {
        $(#[$about])*
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct $name { $($rust)* }

        impl $crate::json::Json for $name {
            #[allow(unused_mut, unused_variables)]
            fn from_json(value: serde_json::Value) -> Result<Self, $crate::json::JsonError> {
                let mut fields = $crate::json::object(value)?;
                Ok($name {
                    $($field: field!(read $how [$($kind)*] fields $field),)*
                })
            }

            #[allow(unused_mut)]
            fn to_json(&self) -> serde_json::Value {
                let mut fields = serde_json::Map::new();
                $(field!(write $how [$($kind)*] fields self $field);)*
                serde_json::Value::Object(fields)
            }
        }

        impl $crate::lenient::Fields for $name {
            #[allow(clippy::match_single_binding)]
            fn kind_of(tag: u32) -> $crate::lenient::Kind {
                match tag {
                    $($tag => field!(wire $how [$($kind)*]),)*
                    _ => $crate::lenient::Kind::Other,
                }
            }
        }

        impl $crate::lenient::Wire for $name {
            const KIND: $crate::lenient::Kind =
                $crate::lenient::Kind::Message(<$name as $crate::lenient::Fields>::kind_of);
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&$crate::json::Json::to_json(self), to)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let value = <serde_json::Value as serde::Deserialize>::deserialize(from)?;
                $crate::json::Json::from_json(value).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The Rust type of a protobuf scalar.
macro_rules! scalar {
    (string) => { String };
    (bytes) => { Vec<u8> };
    (bool) => { bool };
    (double) => { f64 };
    (uint32) => { u32 };
    (int32) => { i32 };
    (uint64) => { u64 };
    (int64) => { i64 };
}

/// How one field is read from and written to a JSON object, and what its bytes are in protobuf.
macro_rules! field {
    (read required [$($kind:tt)*] $from:ident $name:ident) => {
        $crate::json::required::<$($kind)*>(&mut $from, stringify!($name))?
    };
    (read optional [$($kind:tt)*] $from:ident $name:ident) => {
        $crate::json::optional::<$($kind)*>(&mut $from, stringify!($name))?
    };
    (read repeated [$($kind:tt)*] $from:ident $name:ident) => {
        $crate::json::repeated::<$($kind)*>(&mut $from, stringify!($name))?
    };
    (read map [$($kind:tt)*] $from:ident $name:ident) => {
        $crate::json::map::<$($kind)*>(&mut $from, stringify!($name))?
    };
    (read required_name [$($kind:tt)*] $from:ident $name:ident) => {
        $crate::json::required_name::<$($kind)*>(&mut $from, stringify!($name))?
    };
    (read optional_name [$($kind:tt)*] $from:ident $name:ident) => {
        $crate::json::optional_name::<$($kind)*>(&mut $from, stringify!($name))?
    };
    (read repeated_name [$($kind:tt)*] $from:ident $name:ident) => {
        $crate::json::repeated_name::<$($kind)*>(&mut $from, stringify!($name))?
    };
    (read required_text [] $from:ident $name:ident) => {
        $crate::json::required::<String>(&mut $from, stringify!($name))?.into_bytes()
    };
    (read optional_text [] $from:ident $name:ident) => {
        $crate::json::optional::<String>(&mut $from, stringify!($name))?.map(String::into_bytes)
    };

    (wire required [$($kind:tt)*]) => { <$($kind)* as $crate::lenient::Wire>::KIND };
    (wire optional [$($kind:tt)*]) => { <$($kind)* as $crate::lenient::Wire>::KIND };
    (wire repeated [$($kind:tt)*]) => { <$($kind)* as $crate::lenient::Wire>::KIND };
    (wire map [$($kind:tt)*]) => {
        $crate::lenient::Kind::Entry(&<$($kind)* as $crate::lenient::Wire>::KIND)
    };
    // Names are numbers there, and text that may hold any bytes is not held to be text.
    (wire $how:ident [$($kind:tt)*]) => { $crate::lenient::Kind::Other };

    (write required [$($kind:tt)*] $to:ident $this:ident $name:ident) => {
        $crate::json::put(&mut $to, stringify!($name), &$this.$name)
    };
    (write optional [$($kind:tt)*] $to:ident $this:ident $name:ident) => {
        if let Some(value) = &$this.$name { $crate::json::put(&mut $to, stringify!($name), value) }
    };
    (write repeated [$($kind:tt)*] $to:ident $this:ident $name:ident) => {
        $crate::json::put_all(&mut $to, stringify!($name), &$this.$name)
    };
    (write map [$($kind:tt)*] $to:ident $this:ident $name:ident) => {
        $crate::json::put_map(&mut $to, stringify!($name), &$this.$name)
    };
    (write required_name [$($kind:tt)*] $to:ident $this:ident $name:ident) => {
        $crate::json::put_name::<$($kind)*>(&mut $to, stringify!($name), $this.$name)
    };
    (write optional_name [$($kind:tt)*] $to:ident $this:ident $name:ident) => {
        if let Some(number) = $this.$name {
            $crate::json::put_name::<$($kind)*>(&mut $to, stringify!($name), number)
        }
    };
    (write repeated_name [$($kind:tt)*] $to:ident $this:ident $name:ident) => {
        $crate::json::put_names::<$($kind)*>(&mut $to, stringify!($name), &$this.$name)
    };
    (write required_text [] $to:ident $this:ident $name:ident) => {
        $crate::json::put(&mut $to, stringify!($name), &String::from_utf8_lossy(&$this.$name).into_owned())
    };
    (write optional_text [] $to:ident $this:ident $name:ident) => {
        if let Some(value) = &$this.$name {
            $crate::json::put(&mut $to, stringify!($name), &String::from_utf8_lossy(value).into_owned())
        }
    };
}

/// One enumeration, its values spelled as Mesos spells them, which is also their form in JSON.
macro_rules! enumeration {
    ($(#[$about:meta])* $name:ident { $($value:ident = $number:literal,)* }) => {
        $(#[$about])*
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
        #[repr(i32)]
        pub enum $name { $($value = $number,)* }

        impl $name {
            /// The name that Mesos uses.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$value => stringify!($value),)* }
            }
        }

        impl $crate::json::Named for $name {
            const VALUES: &'static [(&'static str, i32)] = &[$((stringify!($value), $number),)*];
        }
    };
}
