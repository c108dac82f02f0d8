//! The two encodings of a message and the media types that name them.

use crate::json::{Json, JsonError};
use crate::lenient::{self, Fields};

/// How messages travel. Protobuf is several times smaller and faster; JSON can be read by people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    #[default]
    Protobuf,
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("not a protobuf message of this kind")]
    Protobuf(#[from] prost::DecodeError),
    #[error("not JSON")]
    Syntax(#[from] serde_json::Error),
    #[error(transparent)]
    Json(#[from] JsonError),
}

impl Codec {
    pub const fn media_type(self) -> &'static str {
        match self {
            Codec::Protobuf => "application/x-protobuf",
            Codec::Json => "application/json",
        }
    }

    /// Compared as Mesos compares: to the letter, so a media type with parameters is none of the two.
    pub fn from_media_type(text: &str) -> Option<Codec> {
        [Codec::Protobuf, Codec::Json].into_iter().find(|it| it.media_type() == text)
    }

    pub fn encode<M: prost::Message + Json>(self, message: &M) -> Vec<u8> {
        match self {
            Codec::Protobuf => message.encode_to_vec(),
            Codec::Json => message.to_json().to_string().into_bytes(),
        }
    }

    /// Unknown fields and values are tolerated. Text that is not UTF-8 throughout is read with replacement
    /// characters: Mesos copies bytes into it unchecked.
    pub fn decode<M: prost::Message + Json + Fields + Default>(self, bytes: &[u8]) -> Result<M, DecodeError> {
        match self {
            Codec::Protobuf => M::decode(bytes).or_else(|strict| {
                let repaired = lenient::repair::<M>(bytes).and_then(|it| M::decode(&*it).ok());
                Ok(repaired.ok_or(strict)?)
            }),
            Codec::Json => {
                let text = String::from_utf8_lossy(bytes);
                Ok(M::from_json(serde_json::from_str(&text)?)?)
            }
        }
    }
}
