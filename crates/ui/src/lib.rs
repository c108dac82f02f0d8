//! The web interface, embedded: what `ui/dist` held when this was compiled, plain and packed.
//!
//! ```text
//! ui/src ── npm run build ──► ui/dist ── build.rs ──► FILES ──► http serves /ui/
//! ```
//! A crate of its own, so that a new build of the interface compiles these few lines and nothing else anew.

/// One file of the interface.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Below `/ui/`.
    pub name: &'static str,
    /// Its entity tag, quotes included; another content has another one.
    pub tag: &'static str,
    pub plain: &'static [u8],
    pub gzip: Option<&'static [u8]>,
    pub brotli: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Whether this binary has the interface in it.
pub fn is_built() -> bool {
    find("index.html").is_some()
}

/// The file of this name; the empty name is the page itself.
pub fn find(name: &str) -> Option<&'static File> {
    let name = if name.is_empty() { "index.html" } else { name };
    FILES.iter().find(|it| it.name == name)
}

impl File {
    /// Files below `assets/` have their content's hash in the name: a name means the same bytes for ever.
    pub fn is_for_ever(&self) -> bool {
        self.name.starts_with("assets/")
    }

    pub fn kind(&self) -> &'static str {
        match self.name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("html") => "text/html;charset=UTF-8",
            Some("js") => "text/javascript;charset=UTF-8",
            Some("css") => "text/css;charset=UTF-8",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("json" | "webmanifest") => "application/json",
            Some("txt") => "text/plain;charset=UTF-8",
            _ => "application/octet-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &'static str) -> File {
        File { name, tag: "\"0\"", plain: b"", gzip: None, brotli: None }
    }

    #[test]
    fn kinds_by_ending() {
        for (name, want) in [
            ("index.html", "text/html;charset=UTF-8"),
            ("assets/main-ABC.js", "text/javascript;charset=UTF-8"),
            ("assets/main-ABC.css", "text/css;charset=UTF-8"),
            ("assets/icon.svg", "image/svg+xml"),
            ("noending", "application/octet-stream"),
        ] {
            assert_eq!(named(name).kind(), want, "{name}");
        }
        assert!(named("assets/x.js").is_for_ever() && !named("index.html").is_for_ever());
    }

    /// Holds with and without a built interface.
    #[test]
    fn the_table_is_whole() {
        assert_eq!(is_built(), !FILES.is_empty());
        for it in FILES {
            assert!(!it.plain.is_empty() && it.tag.len() == 18, "{}", it.name);
            for packed in [it.gzip, it.brotli].into_iter().flatten() {
                assert!(!packed.is_empty() && packed.len() < it.plain.len(), "{}", it.name);
            }
        }
    }
}
