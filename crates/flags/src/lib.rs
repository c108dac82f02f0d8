//! One table of flags: parser, help, documentation.
