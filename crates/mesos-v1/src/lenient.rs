//! Text that is none: protobuf messages in which a string holds bytes that are not UTF-8.
//!
//! Mesos is written in a language whose strings hold any bytes, and it copies what it was given: labels and attributes
//! from the command lines of agents, network names from plugins, what a custom executor wrote. One such byte would cost
//! the whole event, and an update that cannot be read is never acknowledged, so it would come for ever. A message that
//! is refused is therefore read once more, with U+FFFD in place of what is no text.
//!
//! ```text
//! bytes ─► decode ─► refused ─► repair (walks the fields by their numbers, rewrites text and lengths) ─► decode
//! ```

/// What the bytes of a field are.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Numbers, bytes, and what is not known: taken over as it is.
    Other,
    Text,
    /// A message, by the kinds of its fields.
    Message(fn(u32) -> Kind),
    /// An entry of a map from text to this.
    Entry(&'static Kind),
}

/// Something that can be a field.
pub trait Wire {
    const KIND: Kind;
}

/// A message, by the kinds of its fields.
pub trait Fields {
    fn kind_of(tag: u32) -> Kind;
}

macro_rules! plain {
    ($($kind:ty),*) => { $(impl Wire for $kind { const KIND: Kind = Kind::Other; })* };
}

plain!(bool, f64, u32, i32, u64, i64, Vec<u8>);

impl Wire for String {
    const KIND: Kind = Kind::Text;
}

impl<T: Wire> Wire for Box<T> {
    const KIND: Kind = T::KIND;
}

/// Messages within messages are read so deep, by `prost` too.
const DEPTH_MAX: u32 = 100;

/// The same message with text throughout; `None`: it is no message at all.
pub fn repair<M: Fields>(bytes: &[u8]) -> Option<Vec<u8>> {
    message(bytes, &M::kind_of, DEPTH_MAX)
}

fn message(mut rest: &[u8], kind_of: &dyn Fn(u32) -> Kind, depth: u32) -> Option<Vec<u8>> {
    let depth = depth.checked_sub(1)?;
    let mut out = Vec::with_capacity(rest.len() + 16);
    while !rest.is_empty() {
        let field = rest;
        let key = varint(&mut rest)?;
        let length = match key & 7 {
            0 => {
                varint(&mut rest)?;
                0
            }
            1 => 8,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let head = field.len() - rest.len();
                let body = split(&mut rest, length)?;
                let changed = match kind_of(u32::try_from(key >> 3).ok()?) {
                    Kind::Other => None,
                    Kind::Text => std::str::from_utf8(body)
                        .is_err()
                        .then(|| String::from_utf8_lossy(body).into_owned().into_bytes()),
                    Kind::Message(inner) => Some(message(body, &inner, depth)?),
                    Kind::Entry(of) => Some(message(
                        body,
                        &|tag| match tag {
                            1 => Kind::Text,
                            2 => *of,
                            _ => Kind::Other,
                        },
                        depth,
                    )?),
                };
                match changed {
                    Some(body) => {
                        put_varint(&mut out, key);
                        put_varint(&mut out, body.len() as u64);
                        out.extend_from_slice(&body);
                    }
                    None => out.extend_from_slice(&field[..head + length]),
                }
                continue;
            }
            5 => 4,
            // Groups, which Mesos has none of, and what is no kind.
            _ => return None,
        };
        split(&mut rest, length)?;
        out.extend_from_slice(&field[..field.len() - rest.len()]);
    }
    Some(out)
}

fn split<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (part, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
