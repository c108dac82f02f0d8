//! A Docker daemon of a test's own.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use marathon_docker::Docker;

pub const IMAGE: &str = "marathon-local-test:1";

/// Runs as long as its input is open, so that the daemon ends with the test however that ends.
const WRAPPER: &str = r#"
dir=$1; bridge=$2
ip link add "$bridge" type bridge && ip addr add "10.199.$3.1/24" dev "$bridge" && ip link set "$bridge" up || exit 1
echo '{}' > "$dir/daemon.json"
dockerd --host "unix://$dir/sock" --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" \
    --pidfile "$dir/pid" --bridge "$bridge" --iptables=false --ip-masq=false --ip-forward=false >"$dir/log" 2>&1 &
pid=$!
read -r _
kill "$pid"; wait "$pid"
ip link del "$bridge"
grep -F " $dir/" /proc/mounts | cut -d ' ' -f 2 | sort -r | while read -r mount; do umount -l "$mount"; done
rm -rf "$dir"
"#;

static COUNT: AtomicU32 = AtomicU32::new(0);

pub struct Daemon {
    wrapper: Child,
    dir: PathBuf,
}

impl Daemon {
    pub async fn start() -> Option<Daemon> {
        let installed = |it: &str| Command::new("which").arg(it).output().is_ok_and(|it| it.status.success());
        let programs = ["dockerd", "containerd", "runc", "docker-proxy", "docker", "busybox", "ip"];
        if !nix::unistd::geteuid().is_root() || !programs.into_iter().all(installed) {
            eprintln!("SKIPPED: a Docker daemon cannot be started");
            return None;
        }
        let dir = tempfile::tempdir().unwrap().keep();
        let pid = std::process::id();
        // Several tests of one program may have a daemon each.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut wrapper = Command::new("sh");
        wrapper.args(["-c", WRAPPER, "dockerd-for-tests"]).arg(&dir).arg(format!("mrl{pid}x{count}"));
        let wrapper =
            wrapper.arg(((pid + 97 * count) % 250).to_string()).stdin(Stdio::piped()).spawn().unwrap();
        let daemon = Daemon { wrapper, dir };
        let answers = async {
            while daemon.docker().version().await.is_err() {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(Duration::from_secs(60), answers).await.expect("dockerd does not come up");
        daemon.make_image();
        Some(daemon)
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    pub fn docker(&self) -> Docker {
        Docker::new(&self.socket())
    }

    fn make_image(&self) {
        let script = r#"
            set -e; mkdir -p root/bin root/tmp; cp "$(which busybox)" root/bin/busybox
            for it in sh sleep test touch httpd env tail head yes cat wget readlink id; do ln -s busybox root/bin/$it; done
            tar -C root -c . | docker -H "unix://$PWD/sock" import - "$0" >/dev/null"#;
        let done = Command::new("sh").args(["-c", script, IMAGE]).current_dir(&self.dir).status();
        assert!(done.unwrap().success());
    }
}

impl Daemon {
    pub fn make_container(&self, owner: &str, task: &str) {
        let mut docker = Command::new("docker");
        docker.args(["-H", &format!("unix://{}", self.socket().display()), "create", "--name", task]);
        docker.args(["--label", &format!("{}={owner}", marathon_docker::OWNER_LABEL)]);
        docker.args(["--label", &format!("{}={task}", marathon_docker::TASK_LABEL), IMAGE, "true"]);
        assert!(docker.stdout(Stdio::null()).status().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.wrapper.stdin.take());
        let _ = self.wrapper.wait();
    }
}
