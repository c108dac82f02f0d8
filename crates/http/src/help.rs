//! The description of the API: as OpenAPI for programs, as a page for people. The page is made from the
//! document, so the two cannot tell different things.

use std::fmt::Write;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::system::escape;

/// OpenAPI 3.1, written by hand. `tests/openapi.rs` holds it against the router.
pub const DOCUMENT: &str = include_str!("../openapi.json");

static PAGE: LazyLock<String> = LazyLock::new(|| {
    // A file of ours: `tests/openapi.rs` reads it too.
    let document = serde_json::from_str(DOCUMENT).unwrap_or_default();
    render(&document)
});

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// How deep the type of a field is spelled out before it is just called an object.
const DEPTH_MAX: usize = 2;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;\
background:#fff}code{background:#8882;padding:.1em .3em;border-radius:3px}h2{margin-top:2.5rem}\
details{border-top:1px solid #8884;padding:.4rem 0}summary{cursor:pointer}summary b{display:inline-block;width:4.5em;\
font:bold 13px ui-monospace,monospace}summary span{opacity:.75;margin-left:1em}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;border-top:1px solid #8883}td:first-child{\
white-space:nowrap;font-family:ui-monospace,monospace;font-size:14px}pre{background:#8881;padding:.8rem;overflow-x:auto}\
.must{color:#b35900}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}a{color:#8bf}.must{color:#fa5}}";

/// The page; `root` is where this server can be called.
pub fn page(root: &str) -> String {
    PAGE.replace("{{root}}", &escape(root))
}

fn render(document: &Value) -> String {
    let mut html = String::new();
    let info = &document["info"];
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>The API of Marathon</title><style>{STYLE}</style></head><body>\
         <h1>The API of Marathon</h1><p>{}</p><p>For programs: <a href=\"/v2/openapi.json\">/v2/openapi.json</a> \
         (OpenAPI 3.1). Flags: <code>marathon --help</code>. <a href=\"/ui/\">User interface</a>.</p>",
        prose(text(&info["description"]))
    );
    html.push_str(&first_steps());
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        let _ =
            write!(html, "<h2 id=\"{0}\">{0}</h2><p>{1}</p>", escape(name), prose(text(&tag["description"])));
        for (path, item) in entries(&document["paths"]) {
            for method in METHODS {
                let operation = &item[method];
                let tagged = operation["tags"].as_array().is_some_and(|it| it.iter().any(|it| it == name));
                if tagged {
                    operation_block(&mut html, document, method, path, operation);
                }
            }
        }
    }
    html.push_str("<h2 id=\"types\">Types</h2>");
    for (name, schema) in entries(&document["components"]["schemas"]) {
        type_block(&mut html, name, schema);
    }
    html.push_str("</body></html>\n");
    html
}

fn first_steps() -> String {
    let calls = [
        "curl -X POST {{root}}/v2/apps -H 'Content-Type: application/json' \\\n  -d '{\"id\":\"/hello\",\"cmd\":\"sleep 600\",\"cpus\":0.1,\"mem\":32}'",
        "curl {{root}}/v2/apps/hello",
        "curl -X PUT {{root}}/v2/apps/hello -H 'Content-Type: application/json' -d '{\"instances\":3}'",
        "curl -X PUT '{{root}}/v2/apps/hello?dryRun=true' -H 'Content-Type: application/json' -d '{\"mem\":64}'",
        "curl {{root}}/v2/apps/hello/explain",
        "curl {{root}}/v2/events -H 'Accept: text/event-stream'",
        "curl -X DELETE {{root}}/v2/apps/hello",
    ];
    format!("<h2>First steps</h2><pre>{}</pre>", escape(&calls.join("\n")))
}

fn operation_block(html: &mut String, document: &Value, method: &str, path: &str, operation: &Value) {
    let _ = write!(
        html,
        "<details id=\"{}\"><summary><b>{}</b> <code>{}</code><span>{}</span></summary>",
        escape(text(&operation["operationId"])),
        method.to_uppercase(),
        escape(path),
        prose(text(&operation["summary"]))
    );
    if let Some(more) = operation["description"].as_str() {
        let _ = write!(html, "<p>{}</p>", prose(more));
    }
    let parameters: Vec<&Value> =
        operation["parameters"].as_array().into_iter().flatten().map(|it| resolve(document, it)).collect();
    if !parameters.is_empty() {
        html.push_str("<table><tr><th>parameter</th><th>type</th><th></th></tr>");
        for it in parameters {
            let place = text(&it["in"]);
            let _ = write!(
                html,
                "<tr><td>{}</td><td>{}, {place}</td><td>{}</td></tr>",
                escape(text(&it["name"])),
                type_text(&it["schema"], 0),
                prose(text(&it["description"]))
            );
        }
        html.push_str("</table>");
    }
    let content = &operation["requestBody"]["content"]["application/json"];
    if !content.is_null() {
        let _ = write!(html, "<p>Body: {}</p>", type_text(&content["schema"], 0));
        for (_, example) in entries(&content["examples"]) {
            let pretty = serde_json::to_string_pretty(&example["value"]).unwrap_or_default();
            let _ = write!(html, "<pre>{}</pre>", escape(&pretty));
        }
    }
    html.push_str("<table><tr><th>answer</th><th>type</th><th></th></tr>");
    for (status, answer) in entries(&operation["responses"]) {
        let answer = resolve(document, answer);
        let body = entries(&answer["content"]).next().map(|(_, it)| type_text(&it["schema"], 0));
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(status),
            body.unwrap_or_default(),
            prose(text(&answer["description"]))
        );
    }
    html.push_str("</table></details>");
}

fn type_block(html: &mut String, name: &str, schema: &Value) {
    let _ = write!(
        html,
        "<details id=\"type-{0}\"><summary><code>{0}</code><span>{1}</span></summary>",
        escape(name),
        prose(text(&schema["description"]))
    );
    if schema["properties"].is_object() {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        html.push_str("<table><tr><th>field</th><th>type</th><th></th></tr>");
        for (field, property) in entries(&schema["properties"]) {
            let must = match required.iter().any(|it| it == field) {
                true => " <span class=\"must\">required</span>",
                false => "",
            };
            let _ = write!(
                html,
                "<tr><td>{}{must}</td><td>{}</td><td>{}</td></tr>",
                escape(field),
                type_text(property, 0),
                prose(text(&property["description"]))
            );
        }
        html.push_str("</table>");
    } else {
        let _ = write!(html, "<p>{}</p>", type_text(schema, 0));
    }
    html.push_str("</details>");
}

/// A type in a few words, with links to the named ones.
fn type_text(schema: &Value, depth: usize) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next()) {
        return format!("<a href=\"#type-{0}\">{0}</a>", escape(name));
    }
    let inner = |it: &Value| type_text(it, depth + 1);
    for (key, glue) in [("anyOf", " or "), ("allOf", ", ")] {
        if let Some(all) = schema[key].as_array() {
            return all.iter().map(inner).collect::<Vec<_>>().join(glue);
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().map(|it| format!("<code>{}</code>", escape(text(it))));
        return values.collect::<Vec<_>>().join(" ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
        kind => text(kind).to_owned(),
    };
    match kind.as_str() {
        "array" => format!("list of {}", inner(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map to {}", inner(&schema["additionalProperties"]))
        }
        "object" if schema["properties"].is_object() && depth < DEPTH_MAX => {
            let fields =
                entries(&schema["properties"]).map(|(name, it)| format!("{}: {}", escape(name), inner(it)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        _ => format!("{}{}", escape(&kind), bounds(schema)),
    }
}

fn bounds(schema: &Value) -> String {
    let bound = |key: &str, word: &str| match &schema[key] {
        Value::Null => String::new(),
        value => format!(", {word} {}", escape(&value.to_string())),
    };
    format!("{}{}{}", bound("minimum", "at least"), bound("maximum", "at most"), bound("default", "default"))
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    document.pointer(reference.trim_start_matches('#')).unwrap_or(value)
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Text with `code` in backticks, as HTML.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        match at % 2 {
            1 => drop(write!(html, "<code>{}</code>", escape(part))),
            _ => html.push_str(&escape(part)),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_operation_and_type() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let page = page("http://h:1");
        for (path, item) in entries(&document["paths"]) {
            for (_, operation) in entries(item) {
                let id = text(&operation["operationId"]);
                assert!(page.contains(&format!("<details id=\"{id}\">")), "{path} {id}");
            }
        }
        for (name, _) in entries(&document["components"]["schemas"]) {
            assert!(page.contains(&format!("<details id=\"type-{name}\">")), "{name}");
        }
        assert!(page.contains("http://h:1/v2/apps/hello/explain") && !page.contains("{{"));
    }

    #[test]
    fn prose_is_escaped() {
        assert_eq!(prose("a <b> `c<d>` e"), "a &lt;b&gt; <code>c&lt;d&gt;</code> e");
    }
}
