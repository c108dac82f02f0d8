/// Why stored records cannot be used. Any of these ends the start of the server: going on without a
/// record would mean forgetting what it held.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("the stored record `{key}` is of no known kind")]
    Kind { key: String },
    #[error("the key of the stored record `{key}` has no legal {part}")]
    Key { key: String, part: &'static str },
    #[error("the stored record `{key}` cannot be read")]
    Value {
        key: String,
        #[source]
        cause: serde_json::Error,
    },
    #[error("the stored record `{key}` holds what belongs to `{found}`")]
    Misplaced { key: String, found: String },
    #[error(
        "the stored records have no format number (key `format`), so they are not Marathon's or not complete"
    )]
    NoFormat,
    #[error(
        "the stored records have format {found}, and this release knows formats up to {known}: \
         start the newer release again, or restore a backup from before the upgrade"
    )]
    Newer { found: u32, known: u32 },
    #[error("the stored records could not be brought from format {from} to {}", from + 1)]
    Migration {
        from: u32,
        #[source]
        cause: Box<RecordError>,
    },
}
