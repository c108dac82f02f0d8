//! Turns `ui/dist` into a table of files. The folder is empty where nobody has built the interface, and the
//! table then is, too: `cargo build` needs no node.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Of the built interface, all forms together; more would be a mistake of its build.
const BYTES_MAX: u64 = 8 << 20;

fn main() -> io::Result<()> {
    let crate_folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let dist = crate_folder.join("../../ui/dist");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", dist.display());
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    let mut table = String::from("pub static FILES: &[File] = &[\n");
    let mut files = Vec::new();
    if dist.is_dir() {
        collect(&dist, &mut files)?;
    }
    files.sort();
    let mut sum = 0;
    for path in &files {
        let name = path.strip_prefix(&dist).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
        if name.starts_with('.') || name.ends_with(".gz") || name.ends_with(".br") {
            continue;
        }
        let bytes = fs::read(path)?;
        sum += bytes.len() as u64;
        // What the compiler reads is a copy: the interface may be built anew while it does.
        let copy = out.join("files").join(&name);
        fs::create_dir_all(copy.parent().unwrap_or(&out))?;
        fs::write(&copy, &bytes)?;
        let packed = |ending: &str| -> io::Result<String> {
            let packed = PathBuf::from(format!("{}.{ending}", path.display()));
            if !packed.exists() {
                return Ok("None".to_owned());
            }
            let copy = PathBuf::from(format!("{}.{ending}", copy.display()));
            fs::copy(packed, &copy)?;
            Ok(format!("Some(include_bytes!({:?}))", copy.display().to_string()))
        };
        let _ = writeln!(
            table,
            "    File {{ name: {name:?}, tag: \"\\\"{:016x}\\\"\", plain: include_bytes!({:?}), gzip: {}, brotli: {} }},",
            fingerprint(&bytes),
            copy.display().to_string(),
            packed("gz")?,
            packed("br")?,
        );
    }
    if sum > BYTES_MAX {
        return Err(io::Error::other(format!("ui/dist holds {sum} bytes, {BYTES_MAX} at most are expected")));
    }
    table.push_str("];\n");
    fs::write(out.join("files.rs"), table)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// FNV-1a: it tells one build from another, nothing more is asked of it.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
