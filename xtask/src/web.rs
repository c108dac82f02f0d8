//! The web interface: built and tested where there is node, left out with a word where there is not.

use std::path::Path;
use std::process::Command;

/// Types, tests of the pure parts, and the files that the binary embeds. `false`: there is no node.
pub fn build() -> Result<bool, String> {
    let has = |name: &str| Command::new(name).arg("--version").output().is_ok_and(|it| it.status.success());
    if !has("node") || !has("npm") {
        eprintln!("== web interface: left out, as node 20 and npm are missing");
        return Ok(false);
    }
    // npm writes this file at the end of an installation.
    if is_older("ui/node_modules/.package-lock.json", "ui/package-lock.json") {
        npm(&["ci", "--silent"])?;
    }
    for script in ["check", "unit", "build"] {
        npm(&["run", "--silent", script])?;
    }
    Ok(true)
}

/// A real browser against the server that was just built.
pub fn browse() -> Result<(), String> {
    let known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    if std::env::var_os("CHROMIUM").is_none() && !known.iter().any(|it| Path::new(it).exists()) {
        eprintln!(
            "== web interface: not tested in a browser, as chromium is missing (apt-get install chromium)"
        );
        return Ok(());
    }
    npm(&["run", "--silent", "browser"])
}

fn is_older(made: &str, from: &str) -> bool {
    let time = |path: &str| std::fs::metadata(path).and_then(|it| it.modified()).ok();
    match (time(made), time(from)) {
        (Some(made), Some(from)) => made < from,
        _ => true,
    }
}

fn npm(arguments: &[&str]) -> Result<(), String> {
    eprintln!("== web interface: npm {}", arguments.join(" "));
    let status = Command::new("npm")
        .args(arguments)
        .current_dir("ui")
        .status()
        .map_err(|error| format!("npm cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("web interface: npm {} failed", arguments.join(" "))) }
}
