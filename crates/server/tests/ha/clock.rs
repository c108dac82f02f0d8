//! Wall clocks that can be set, one for each host: a library before libc's, compiled by the C compiler that links us.
//! Only what time of day it is changes; monotonic clocks, and so all timers, go on, as when a real clock is set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead; /* seconds */

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("HA_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *at = file < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
  if (at != MAP_FAILED) ahead = at;
  if (file >= 0) close(file);
}
int clock_gettime(clockid_t id, struct timespec *at) {
  int done = syscall(SYS_clock_gettime, id, at);
  if (!done && ahead && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += *ahead;
  return done;
}
int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *at) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
"#;

pub struct Clocks {
    folder: PathBuf,
}

impl Clocks {
    pub fn new(folder: &Path) -> Result<Clocks, String> {
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, SOURCE).map_err(|it| it.to_string())?;
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).output();
        let compiled = compiled.map_err(|it| format!("no C compiler: {it}"))?;
        if !compiled.status.success() {
            return Err(String::from_utf8_lossy(&compiled.stderr).into_owned());
        }
        let clocks = Clocks { folder: folder.to_owned() };
        // A static program ignores the library; then it must not be said that clocks were set.
        clocks.set(0, 86_400);
        let told = |set: bool| {
            let mut date = Command::new("date");
            date.arg("+%s");
            if set {
                date.envs(clocks.environment(0));
            }
            let told = date.output().ok()?;
            String::from_utf8_lossy(&told.stdout).trim().parse::<i64>().ok()
        };
        match (told(false), told(true)) {
            (Some(plain), Some(set)) if plain + 80_000 < set => Ok(clocks),
            other => Err(format!("the library changes no clock: {other:?}")),
        }
    }

    pub fn environment(&self, host: u8) -> Vec<(String, String)> {
        if !self.file(host).exists() {
            self.set(host, 0);
        }
        vec![
            ("LD_PRELOAD".to_owned(), self.folder.join("clock.so").display().to_string()),
            ("HA_CLOCK".to_owned(), self.file(host).display().to_string()),
        ]
    }

    /// The clock of a host is so many seconds ahead from now on. Written in place: the file is mapped.
    pub fn set(&self, host: u8, ahead: i64) {
        let file =
            fs::File::options().create(true).truncate(false).write(true).open(self.file(host)).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &ahead.to_ne_bytes(), 0).unwrap();
    }

    fn file(&self, host: u8) -> PathBuf {
        self.folder.join(format!("clock{host}"))
    }
}
