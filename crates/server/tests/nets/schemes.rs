//! The real HAProxy, nginx and keepalived with the files of `deploy/`, in which nothing but addresses is changed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Host, Net};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
/// The address that follows the leader, by its last number.
pub const VIRTUAL: Host = 100;

pub fn is_installed(program: &str) -> bool {
    Path::new("/usr/sbin").join(program).exists()
}

/// A folder in which only root may write: keepalived refuses scripts that others may change.
pub fn folder(of: &str) -> PathBuf {
    let folder = PathBuf::from(format!("/run/marathon-{of}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A file of `deploy/`, every change of which is one that the file names.
pub fn adapted(file: &str, folder: &Path, changes: &[(&str, String)]) -> String {
    let mut text = std::fs::read_to_string(Path::new(DEPLOY).join(file)).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{file} has no {from}");
        text = text.replace(from, to);
    }
    let path = folder.join(Path::new(file).file_name().unwrap());
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn addresses(net: &Net) -> (&'static str, String) {
    let first = net.address(1).to_string();
    ("10.0.0.", first[..first.len() - 1].to_owned())
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|it| (*it).to_owned()).collect()
}

pub fn haproxy(net: &Net, folder: &Path) -> Vec<String> {
    haproxy_words(&adapted("haproxy/haproxy.cfg", folder, &[addresses(net)]))
}

pub fn haproxy_words(conf: &str) -> Vec<String> {
    words(&["haproxy", "-db", "-f", conf])
}

pub fn nginx(net: &Net, folder: &Path) -> Vec<String> {
    nginx_words(&adapted("nginx/marathon.conf", folder, &[addresses(net)]), folder)
}

/// `conf` goes into the `http` block, as the file says.
pub fn nginx_words(conf: &str, folder: &Path) -> Vec<String> {
    let at = folder.display();
    let whole = format!(
        "daemon off; pid {at}/nginx.pid; error_log stderr; events {{}} \
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; \
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; include {conf}; }}"
    );
    std::fs::write(folder.join("nginx.conf"), whole).unwrap();
    words(&["nginx", "-c", &format!("{at}/nginx.conf"), "-e", "stderr"])
}

/// For one of the instances' hosts.
pub fn keepalived(net: &Net, folder: &Path, host: Host) -> Vec<String> {
    let script = adapted("keepalived/marathon-leads", folder, &[]);
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let changes = [("/etc/keepalived/marathon-leads", script), addresses(net)];
    let conf = adapted("keepalived/keepalived.conf", folder, &changes);
    let at = folder.display();
    let (pid, vrrp) = (format!("{at}/k{host}.pid"), format!("{at}/v{host}.pid"));
    words(&["keepalived", "-n", "-l", "-P", "-f", &conf, "-p", &pid, "-r", &vrrp])
}
