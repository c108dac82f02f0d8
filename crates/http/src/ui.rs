//! `/ui/`: the web interface that is embedded in this binary, or a page that says how to get it there.

use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use hyper::{HeaderMap, StatusCode};
use marathon_ui::File;

use crate::accept;
use crate::answer::Ask;
use crate::reply::{HTML, Out};
use crate::{Http, system};

/// Scripts, styles and requests of this server only, and no page may put it into a frame. What an app, a log or a
/// label says can then never run as a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

pub fn ui(http: &Http, ask: &Ask, name: &str) -> Out {
    match marathon_ui::find(name) {
        Some(file) => serve(file, &ask.parts.headers, http.settings.compression),
        None if !marathon_ui::is_built() && matches!(name, "" | "index.html") => without(http),
        None => Out::message(StatusCode::NOT_FOUND, format_args!("URI not found: /ui/{name}")),
    }
}

fn serve(file: &'static File, asked: &HeaderMap, compression: bool) -> Out {
    let keep = if file.is_for_ever() { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .map(|it| it.trim().trim_start_matches("W/"))
        .any(|it| it == file.tag || it == "*");
    let (body, coding) = match (file.brotli, file.gzip) {
        _ if !compression => (file.plain, None),
        (Some(packed), _) if accept::coding(asked, "br") => (packed, Some("br")),
        (_, Some(packed)) if accept::coding(asked, "gzip") => (packed, Some("gzip")),
        _ => (file.plain, None),
    };
    let mut out = if known {
        Out::empty(StatusCode::NOT_MODIFIED)
    } else {
        Out::new(StatusCode::OK, HeaderValue::from_str(file.kind()).ok(), body)
    };
    if let Some(coding) = coding.filter(|_| !known) {
        out = out.with(CONTENT_ENCODING, coding);
    }
    out.with(CACHE_CONTROL, keep)
        .with(ETAG, file.tag)
        .with(VARY, "Accept-Encoding")
        .with(hyper::header::CONTENT_SECURITY_POLICY, POLICY)
        .with(hyper::header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with(hyper::header::REFERRER_POLICY, "no-referrer")
}

/// Links are relative: a proxy may show this server below a path of its own.
fn without(http: &Http) -> Out {
    let page = system::page(
        "Marathon",
        &format!(
            "<p>Marathon {} is running. This binary was built without the web interface. To have it, build it with \
             node 20 or newer, then build the binary again:</p>\
             <pre><code>cd ui &amp;&amp; npm ci &amp;&amp; npm run build &amp;&amp; cd .. &amp;&amp; cargo build</code></pre>\
             <p>(<code>bin/start</code> does both.) Until then everything can be done through the API:</p>\
             <ul><li><a href=\"../v2/apps\">/v2/apps</a>: the applications</li>\
             <li><a href=\"../v2/tasks\">/v2/tasks</a>: what runs</li>\
             <li><a href=\"../v2/deployments\">/v2/deployments</a>: what is changing</li>\
             <li><a href=\"../v2/queue\">/v2/queue</a>: what waits, and why</li>\
             <li><a href=\"../v2/groups\">/v2/groups</a>, <a href=\"../v2/info\">/v2/info</a>, \
             <a href=\"../metrics\">/metrics</a></li></ul>\
             <p>More at <a href=\"../help\">/help</a>.</p>",
            system::escape(&http.settings.info.version)
        ),
    );
    Out::new(StatusCode::OK, Some(HTML), page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::ACCEPT_ENCODING;

    static FILE: File = File {
        name: "assets/main-X.js",
        tag: "\"0123456789abcdef\"",
        plain: b"plain",
        gzip: Some(b"gz"),
        brotli: Some(b"br"),
    };
    static PAGE: File =
        File { name: "index.html", tag: "\"0123456789abcdef\"", plain: b"page", gzip: None, brotli: None };

    fn told(out: &Out, name: &str) -> String {
        let value = out.headers.iter().find(|(it, _)| it == name).map(|(_, it)| it);
        value.and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned()
    }

    #[test]
    fn the_best_form_that_the_client_reads() {
        for (accepts, compression, want) in [
            ("gzip, deflate, br, zstd", true, "br"),
            ("gzip", true, "gzip"),
            ("br;q=0, gzip", true, "gzip"),
            ("identity", true, ""),
            ("br, gzip", false, ""),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepts));
            let out = serve(&FILE, &asked, compression);
            assert_eq!(told(&out, "content-encoding"), want, "{accepts}");
            assert_eq!(told(&out, "cache-control"), "public, max-age=31536000, immutable");
        }
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        for (tags, status) in [
            ("\"0123456789abcdef\"", 304),
            ("W/\"0123456789abcdef\"", 304),
            ("\"1\", \"0123456789abcdef\"", 304),
            ("\"other\"", 200),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(IF_NONE_MATCH, HeaderValue::from_static(tags));
            let out = serve(&PAGE, &asked, true);
            assert_eq!(out.status.as_u16(), status, "{tags}");
            assert_eq!(told(&out, "cache-control"), "no-cache");
            assert!(told(&out, "content-security-policy").contains("default-src 'none'"));
        }
    }
}
