//! The table as text for people.

use std::fmt::Write;

use crate::table::{FLAGS, Flag, Group, Kind, Preset, Status, Type};

/// What `--help` prints. Flags without effect are left to `docs/flags.md`.
pub fn help() -> String {
    let mut out = String::from(
        "Usage: marathon --master local [--flag value | --flag=value]…\n\n\
         Every flag can also be given as a variable: MARATHON_HTTP_PORT=9090. The command line wins.\n\
         Toggles are switched off by --disable_<name>.\n",
    );
    for group in Group::ALL {
        let rows: Vec<&Flag> = FLAGS
            .iter()
            .filter(|it| it.group == group && matches!(it.status, Status::Same | Status::Ours))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{}:", group.title());
        for flag in rows {
            let _ = writeln!(out, "  {}", usage(flag));
            for line in wrap(&format!("{}{}", flag.help, default_note(flag)), 90) {
                let _ = writeln!(out, "        {line}");
            }
        }
    }
    out.push_str("\nOther:\n  --help\n        Print this and exit.\n  --version\n        Print the version and exit.\n");
    out.push_str("\nFlags of the original that are accepted without effect are listed in docs/flags.md.\n");
    out
}

fn usage(flag: &Flag) -> String {
    match (flag.kind, flag.placeholder()) {
        (Kind::Toggle, _) => format!("--[disable_]{}", flag.name),
        (_, Some(word)) => format!("--{} {word}", flag.name),
        (_, None) => format!("--{}", flag.name),
    }
}

fn default_note(flag: &Flag) -> String {
    match flag.default {
        Preset::None => String::new(),
        Preset::Is(text) => {
            format!(" [{text}{}]", flag.unit().map(|it| format!(" {it}")).unwrap_or_default())
        }
        Preset::Found(how) => format!(" [{how}]"),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// `docs/flags.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Flags\n\n\
         Made from the table in `crates/flags/src/table.rs`; a test keeps this page equal to it \
         (`BLESS=1 cargo test -p marathon-flags` rewrites it).\n\n\
         - `--flag value` and `--flag=value` are the same. A flag given twice is an error.\n\
         - Toggles: `--checkpoint` and `--disable_checkpoint`. Switches have no counterpart.\n\
         - Each flag has a variable, e.g. `MARATHON_HTTP_PORT=9090`. Toggles and switches are set by an empty \
         value (`MARATHON_CHECKPOINT=`) or by `true`, `false`, `1`, `0`. The command line wins.\n\
         - `MARATHON_APP_*` is ignored, since a Marathon that runs as a task is given such variables. \
         Other unknown `MARATHON_*` names are ignored with a warning.\n\
         - `-D…` and `-J…` (options of the JVM) are ignored. `LIBPROCESS_*`, `MESOS_*`, `JAVA_OPTS` and \
         `JVM_OPTS` are not read.\n\
         - A bad command line ends with a message that names flag and value, and with exit code 112.\n\
         - *State*: **same** as in the original (1.11, or 0.13 where 1.11 dropped it); **ours**; *no effect*: \
         accepted, and why; *removed*: accepted with a warning, since older command lines have it.\n",
    );
    for group in Group::ALL {
        let _ = write!(
            out,
            "\n## {}\n\n| Flag | Value | Default | Meaning | State |\n|---|---|---|---|---|\n",
            group.title()
        );
        for flag in FLAGS.iter().filter(|it| it.group == group) {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} | {} |",
                match flag.kind {
                    Kind::Toggle => format!("--[disable_]{}", flag.name),
                    _ => format!("--{}", flag.name),
                },
                cell(&value(flag)),
                cell(&match flag.default {
                    Preset::None => "–".to_owned(),
                    Preset::Is(text) => format!("`{text}`"),
                    Preset::Found(how) => how.to_owned(),
                }),
                cell(flag.help),
                cell(&match flag.status {
                    Status::Same => "same".to_owned(),
                    Status::Ours => "ours".to_owned(),
                    Status::Ignored(why) => format!("*no effect*: {why}"),
                    Status::Gone { since, why } => format!("*removed* in {since}: {why}"),
                }),
            );
        }
    }
    out
}

fn value(flag: &Flag) -> String {
    match flag.kind {
        Kind::Toggle => "toggle".to_owned(),
        Kind::Switch => "switch".to_owned(),
        Kind::Value(Type::Text) => "text".to_owned(),
        Kind::Value(Type::Path) => "path".to_owned(),
        Kind::Value(Type::List) => "list, by commas".to_owned(),
        Kind::Value(Type::Number(range)) if range.most >= i64::from(i32::MAX) => {
            format!("number ≥ {}", range.least)
        }
        Kind::Value(Type::Number(range)) => format!("{}–{}", range.least, range.most),
        Kind::Value(Type::Millis) => "ms".to_owned(),
        Kind::Value(Type::Seconds) => "seconds".to_owned(),
        Kind::Value(Type::Bytes) => "bytes".to_owned(),
        Kind::Value(Type::Port) => "port".to_owned(),
        Kind::Value(Type::OneOf(words)) => {
            words.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
        }
        Kind::Value(Type::Form(name, _)) => name.to_owned(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
