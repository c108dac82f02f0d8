//! Holds the documents against the code: a sentence that lags behind fails here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything that is not as the documents say; the same rules for a person and for CI.
pub fn check(root: &Path) -> Result<(), Vec<String>> {
    let mut findings = Vec::new();
    findings.extend(edges(root));
    findings.extend(invariants(root));
    findings.extend(decisions(root));
    findings.extend(pure_crates(root));
    findings.extend(switches(root));
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The crates of this workspace and which of them each one uses.
fn manifest_edges(root: &Path) -> BTreeMap<String, Vec<String>> {
    let mut edges = BTreeMap::new();
    for folder in folders(&root.join("crates")) {
        let name = folder.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        let manifest = read(&folder.join("Cargo.toml"));
        let normal = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        let mut uses: Vec<String> = normal
            .lines()
            .filter_map(|line| line.strip_prefix("marathon-"))
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .map(str::to_owned)
            .collect();
        uses.sort();
        edges.insert(name, uses);
    }
    edges
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> =
        entries.map(|it| it.path()).filter(|it| it.join("Cargo.toml").exists()).collect();
    all.sort();
    all
}

/// ARCHITECTURE.md's table `| crate | uses | ... |` names exactly the edges of the manifests.
fn edges(root: &Path) -> Vec<String> {
    let text = read(&root.join("ARCHITECTURE.md"));
    let mut documented: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, name, uses, _, ..] = cells.as_slice() {
            let mut uses: Vec<String> = uses.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            uses.sort();
            documented.insert(name.trim_matches('`').to_owned(), uses);
        }
    }
    let actual = manifest_edges(root);
    let mut findings = Vec::new();
    for (name, uses) in &actual {
        match documented.get(name) {
            None => findings.push(format!("ARCHITECTURE.md: the crate `{name}` is not in the table")),
            Some(said) if said != uses => {
                findings.push(format!("ARCHITECTURE.md: `{name}` uses {uses:?}, not {said:?}"))
            }
            Some(_) => {}
        }
    }
    let stale = documented.keys().filter(|name| !actual.contains_key(*name));
    findings.extend(stale.map(|name| format!("ARCHITECTURE.md: there is no crate `{name}`")));
    findings
}

/// The invariants listed in ARCHITECTURE.md are those the simulator checks, by name.
fn invariants(root: &Path) -> Vec<String> {
    let text = read(&root.join("ARCHITECTURE.md"));
    let checks: String = sources(&root.join("crates/sim/src")).iter().map(|it| read(it)).collect();
    let listed: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("- **")?.strip_suffix("**")).collect();
    let mut findings: Vec<String> = listed
        .iter()
        .filter(|name| !checks.contains(**name))
        .map(|name| format!("ARCHITECTURE.md: the simulator has no check named \"{name}\""))
        .collect();
    let explained = read(&root.join("crates/sim/INVARIANTS.md"));
    for line in explained.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| name")) {
        let name = line.split('|').nth(1).map(str::trim).unwrap_or_default();
        if !listed.contains(&name) {
            findings.push(format!("ARCHITECTURE.md: the invariant \"{name}\" is not listed"));
        }
    }
    if listed.len() < 10 {
        findings.push("ARCHITECTURE.md: the list of invariants is missing".to_owned());
    }
    findings
}

/// Decisions are numbered without gaps and each says what else was weighed.
fn decisions(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("docs/decisions")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let mut findings = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if !name.starts_with(&format!("{:04}-", at + 1)) {
            findings.push(format!("docs/decisions/{name}: expected number {:04}", at + 1));
        }
        if !read(&root.join("docs/decisions").join(name)).to_lowercase().contains("weighed") {
            findings.push(format!("docs/decisions/{name}: does not say what else was weighed"));
        }
    }
    findings
}

/// Crates called pure list no runtime, no sockets and no files among their dependencies.
fn pure_crates(root: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    for name in ["model", "spec", "request", "core", "api", "records", "mesos-v1"] {
        let manifest = read(&root.join("crates").join(name).join("Cargo.toml"));
        let normal = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for banned in ["tokio", "hyper", "nix", "libc", "reqwest", "rand", "tracing"] {
            if normal.lines().any(|line| line.split(['.', ' ', '=']).next() == Some(banned)) {
                findings.push(format!("crates/{name} is pure and must not depend on {banned}"));
            }
        }
    }
    findings
}

/// The switches that bring back old bugs reach the simulator and nothing else.
fn switches(root: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, uses) in manifest_edges(root) {
        if uses.iter().any(|it| it == "core-faulty") != (name == "sim") {
            findings.push(format!("crates/{name}: `core-faulty` is for `sim`, and for nobody else"));
        }
    }
    let manifest = |name: &str| read(&root.join("crates").join(name).join("Cargo.toml"));
    let (core, faulty) = (manifest("core"), manifest("core-faulty"));
    if core.contains("[features]") {
        findings
            .push("crates/core: a feature would be united over the workspace, switches included".to_owned());
    }
    let dependencies = |text: &str| {
        let after = text.split("[dependencies]").nth(1).unwrap_or_default().to_owned();
        after
            .lines()
            .take_while(|it| !it.starts_with('['))
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (ours, theirs): (Vec<String>, Vec<String>) = (dependencies(&core), dependencies(&faulty));
    if ours != theirs {
        findings.push("crates/core-faulty: its dependencies are not those of `core`".to_owned());
    }
    findings
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.path()) {
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            all.push(path);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documents_are_true() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(super::check(&root), Ok(()));
    }
}
