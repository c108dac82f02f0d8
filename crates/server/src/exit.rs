//! How the process ends, as the original documents it.

use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// `DELETE /v2/leader`: whoever supervises us starts us again.
    LeadershipEndedGracefully = 105,
    /// The embedded engine cannot run, or the Mesos master refuses us.
    EngineFailed = 106,
    /// The store cannot be read or written, or something happened that must not.
    Uncaught = 107,
    /// There are tasks in the state, but nobody to whom they belong.
    FrameworkIdMissing = 108,
    /// Mesos says that the framework has been removed.
    FrameworkHasBeenRemoved = 110,
    /// The port is taken, or the address is not ours.
    Bind = 111,
    InvalidFlag = 112,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// An error with all its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
