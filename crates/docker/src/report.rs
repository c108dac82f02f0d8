//! The report pipe: what the server learns while the container runs.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use crate::spec::Said;

/// Of the text of one message, in bytes; daemons like to quote whole logs.
const MESSAGE_MAX: usize = 2000;

pub(crate) struct Reports(Option<File>);

impl Reports {
    /// Takes file descriptor 3 if it is a pipe. To be called before anything else opens files, since
    /// without a pipe the number goes to whoever opens one next.
    pub(crate) fn open() -> Reports {
        // Opened anew by its name in /proc, which unlike adopting the number needs no unsafe code.
        // It must not wait for a reader: there is none when the keeper has just died.
        let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
        let pipe = File::options().write(true).custom_flags(flags).open("/proc/self/fd/3").ok();
        Reports(pipe.filter(|it| it.metadata().is_ok_and(|it| it.file_type().is_fifo())))
    }

    /// Nobody listening is no reason to end a container.
    pub(crate) fn say(&self, said: &Said) {
        let Some(mut pipe) = self.0.as_ref() else { return };
        let said = match said {
            Said::Failed { message } => Said::Failed { message: cut(message) },
            other => other.clone(),
        };
        let Ok(mut line) = serde_json::to_string(&said) else { return };
        line.push('\n');
        let _ = pipe.write_all(line.as_bytes());
    }
}

fn cut(message: &str) -> String {
    if message.len() <= MESSAGE_MAX {
        return message.to_owned();
    }
    format!("{}…", &message[..message.floor_char_boundary(MESSAGE_MAX)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(1500)), format!("{}…", "é".repeat(1000)));
        assert_eq!(cut(&format!("x{}", "é".repeat(1500))), format!("x{}…", "é".repeat(999)));
    }
}
