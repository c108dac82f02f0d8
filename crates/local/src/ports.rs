//! Ports on which some process of this machine listens: taken, though not by a task of ours.

use std::fs;
use std::time::{Duration, Instant};

/// How old the answer may be.
const FRESH: Duration = Duration::from_secs(1);
/// How old it may be where reading it is slow: the kernel walks its whole table of connections.
const FRESH_WHEN_SLOW: Duration = Duration::from_secs(30);
const SLOW: Duration = Duration::from_millis(2);

#[derive(Default)]
pub struct Listening {
    ports: Vec<u16>,
    /// When it was read, and for how long it is good.
    read: Option<(Instant, Duration)>,
}

impl Listening {
    pub fn now(&mut self) -> Vec<u16> {
        let begin = Instant::now();
        if self.read.is_none_or(|(at, fresh)| fresh <= begin - at) {
            self.ports.clear();
            for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
                if let Ok(table) = fs::read_to_string(path) {
                    self.ports.extend(table.lines().filter_map(listening_port));
                }
            }
            let fresh = if begin.elapsed() < SLOW { FRESH } else { FRESH_WHEN_SLOW };
            self.read = Some((begin, fresh));
        }
        self.ports.clone()
    }
}

/// Reads `  0: 0100007F:1F90 00000000:0000 0A …`: local address, remote address, state (`0A` listens).
fn listening_port(line: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
    if state != "0A" {
        return None;
    }
    u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(Listening::default().now().contains(&port));
    }

    #[test]
    fn lines_of_the_kernel() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1";
        assert_eq!(listening_port(line), Some(8080));
        assert_eq!(listening_port(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening_port("  sl  local_address rem_address   st tx_queue"), None);
        assert_eq!(listening_port("0: 00000000000000000000000001000000:0050 0:0 0A"), Some(80));
    }
}
