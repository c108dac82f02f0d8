//! Runs one Docker container in the foreground, for the keeper.
