//! From arguments and variables to texts by row. What the texts mean is `config`'s business.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::FlagError;
use crate::table::{self, FLAGS, Flag, Kind, Preset, Status};

/// What was asked of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    Help,
    Version,
    Run(Flags),
}

/// The given flags, still as texts that passed the check of their row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// By index into the table.
    given: BTreeMap<usize, Given>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    /// Toggles and switches: `on` or `off`.
    text: String,
    from: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Arguments,
    Variable,
}

/// Variables of the original that are no flags but stand in for some.
const FALLBACKS: [(&str, &str); 3] = [
    ("MESOSPHERE_HTTP_CREDENTIALS", "http_credentials"),
    ("MESOSPHERE_KEYSTORE_PATH", "ssl_keystore_path"),
    ("MESOSPHERE_KEYSTORE_PASS", "ssl_keystore_password"),
];

/// Reads a command line (without the program's name) and an environment.
///
/// The command line wins; a variable it overrides is not even looked at.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Parsed, FlagError> {
    let mut flags = Flags::default();
    if let Some(other) = arguments(args, &mut flags)? {
        return Ok(other);
    }
    environment(variables, &mut flags)?;
    for (&row, given) in &flags.given {
        if let Some(warning) = no_effect(&FLAGS[row], given) {
            flags.warnings.push(warning);
        }
    }
    Ok(Parsed::Run(flags))
}

fn no_effect(flag: &Flag, given: &Given) -> Option<String> {
    let name = shown_name(flag, given.from);
    match flag.status {
        Status::Same | Status::Ours => None,
        Status::Ignored(why) => Some(format!("{name} has no effect: {why}")),
        Status::Gone { since, why } => {
            Some(format!("{name} was removed in {since} and has no effect: {why}"))
        }
    }
}

fn shown_name(flag: &Flag, from: Source) -> String {
    match (from, flag.variable()) {
        (Source::Variable, Some(variable)) => variable,
        _ => format!("--{}", flag.name),
    }
}

/// What a name on the command line stands for.
enum Named {
    Value,
    Turned(&'static str),
}

/// Finds the row of a name, `disable_` included.
fn lookup(name: &str) -> Option<(usize, &'static Flag, Named)> {
    if let Some((row, flag)) = table::find(name) {
        let named = match flag.kind {
            Kind::Value(_) => Named::Value,
            Kind::Toggle | Kind::Switch => Named::Turned("on"),
        };
        return Some((row, flag, named));
    }
    let (row, flag) = table::find(name.strip_prefix("disable_")?)?;
    matches!(flag.kind, Kind::Toggle).then_some((row, flag, Named::Turned("off")))
}

fn arguments(
    args: impl IntoIterator<Item = OsString>,
    flags: &mut Flags,
) -> Result<Option<Parsed>, FlagError> {
    let mut args = args.into_iter().peekable();
    let text =
        |arg: OsString| arg.into_string().map_err(|it| FlagError::Stray(it.to_string_lossy().into_owned()));
    while let Some(arg) = args.next() {
        let arg = text(arg)?;
        match arg.as_str() {
            "--help" | "-h" | "-help" => return Ok(Some(Parsed::Help)),
            "--version" => return Ok(Some(Parsed::Version)),
            // The start scripts of the original took options of the JVM.
            "-jvm-debug" | "--jvm-debug" => {
                args.next();
                continue;
            }
            "--no-logger" => continue,
            "--" => match args.next() {
                None => return Ok(None),
                Some(rest) => return Err(FlagError::Stray(text(rest)?)),
            },
            _ if arg.starts_with("-D") || arg.starts_with("-J") => continue,
            _ => {}
        }
        let Some(option) = arg.strip_prefix("--") else { return Err(FlagError::Stray(arg)) };
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        let Some((row, flag, named)) = lookup(name) else {
            return Err(FlagError::Unknown { given: format!("--{name}"), hint: hint(name) });
        };
        let value = match (named, inline) {
            (Named::Turned(_), Some(value)) => {
                return Err(FlagError::Valued { flag: name.to_owned(), value: shown(flag, &value) });
            }
            (Named::Turned(how), None) => how.to_owned(),
            (Named::Value, Some(value)) => value,
            (Named::Value, None) => {
                let next = args.next_if(|it| it.to_str().is_some_and(is_value));
                text(next.ok_or_else(|| FlagError::NoValue { flag: name.to_owned() })?)?
            }
        };
        match flags.given.get(&row) {
            Some(before) if before.text != value && !matches!(flag.kind, Kind::Value(_)) => {
                return Err(FlagError::OnAndOff { flag: flag.name.to_owned() });
            }
            Some(_) => return Err(FlagError::Repeated { flag: name.to_owned() }),
            None => put(flags, row, flag, value, Source::Arguments)?,
        }
    }
    Ok(None)
}

/// Whether an argument is a value rather than the next option: numbers may be negative.
fn is_value(arg: &str) -> bool {
    !arg.starts_with('-') || arg == "-" || arg.parse::<f64>().is_ok()
}

fn put(flags: &mut Flags, row: usize, flag: &Flag, text: String, from: Source) -> Result<(), FlagError> {
    flag.check(&text).map_err(|why| FlagError::Bad {
        flag: shown_name(flag, from).trim_start_matches('-').to_owned(),
        value: shown(flag, &text),
        why,
    })?;
    flags.given.insert(row, Given { text, from });
    Ok(())
}

/// The nearest name, so that a slip of the finger is found at once.
fn hint(name: &str) -> String {
    let plain = name.replace('-', "_").to_ascii_lowercase();
    let near = FLAGS
        .iter()
        .flat_map(|it| [it.name.to_owned(), format!("disable_{}", it.name)])
        .filter(|it| lookup(it).is_some())
        .map(|it| (distance(&plain, &it), it))
        .filter(|(far, it)| *far <= 2 && *far < it.len() / 2)
        .min();
    match near {
        Some((_, near)) => format!(", did you mean '--{near}'? See --help"),
        None => ". See --help".to_owned(),
    }
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &mut Flags,
) -> Result<(), FlagError> {
    // Sorted, so that messages do not depend on the order of the environment.
    let mut all: BTreeMap<String, OsString> = BTreeMap::new();
    for (name, value) in variables {
        if let Ok(name) = name.into_string()
            && (name.starts_with("MARATHON_") || FALLBACKS.iter().any(|(it, _)| *it == name))
        {
            all.insert(name, value);
        }
    }
    for (name, value) in &all {
        // A Marathon that runs as a task of another one is given these.
        let Some(rest) = name.strip_prefix("MARATHON_").filter(|it| !it.starts_with("APP_")) else {
            continue;
        };
        let known = if rest.bytes().any(|c| c.is_ascii_lowercase()) {
            None
        } else {
            lookup(&rest.to_ascii_lowercase()).filter(|(_, flag, _)| flag.variable().is_some())
        };
        let Some((row, flag, named)) = known else {
            flags.warnings.push(format!("{name} is no variable of Marathon and is ignored"));
            continue;
        };
        let before = flags.given.get(&row).map(|it| (it.from, it.text.clone()));
        if matches!(before, Some((Source::Arguments, _))) {
            continue;
        }
        let bad = |why: &str, value: &str| FlagError::Bad {
            flag: name.clone(),
            value: shown(flag, value),
            why: why.to_owned(),
        };
        let value = value.to_str().ok_or_else(|| bad("is not UTF-8", &value.to_string_lossy()))?;
        let value = match named {
            Named::Value => value.to_owned(),
            Named::Turned(how) => {
                let opposite = if how == "on" { "off" } else { "on" };
                match value.to_ascii_lowercase().as_str() {
                    "" | "true" | "1" | "on" => how.to_owned(),
                    "false" | "0" | "off" => opposite.to_owned(),
                    _ => return Err(bad("must be empty (which means yes), true or false", value)),
                }
            }
        };
        match before {
            Some((_, text)) if text == value => {}
            Some(_) => return Err(FlagError::OnAndOff { flag: flag.name.to_owned() }),
            None => put(flags, row, flag, value, Source::Variable)?,
        }
    }
    for (variable, flag) in FALLBACKS {
        let (row, flag) = table::find(flag).expect("fallbacks name rows of the table");
        if let (Some(value), false) = (all.get(variable), flags.given.contains_key(&row)) {
            let value = value.to_str().ok_or_else(|| FlagError::Bad {
                flag: variable.to_owned(),
                value: "…".to_owned(),
                why: "is not UTF-8".to_owned(),
            })?;
            put(flags, row, flag, value.to_owned(), Source::Variable)?;
        }
    }
    Ok(())
}

impl Flags {
    /// The text of a flag, if it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        let (row, _) = table::find(name)?;
        self.given.get(&row).map(|it| it.text.as_str())
    }

    /// Every flag that has or may have an effect, with its value as it may be shown.
    pub fn all(&self) -> Vec<(String, Option<String>)> {
        let shown_value = |(row, flag): (usize, &Flag)| {
            let text = self.given.get(&row).map(|it| it.text.as_str()).or(match flag.default {
                Preset::Is(text) => Some(text),
                Preset::None | Preset::Found(_) => None,
            });
            (flag.name.to_owned(), text.map(|it| shown(flag, it)))
        };
        let live = |(_, flag): &(usize, &Flag)| !matches!(flag.status, Status::Gone { .. });
        FLAGS.iter().enumerate().filter(live).map(shown_value).collect()
    }

    /// All given flags as they may be shown: secrets are not.
    pub fn shown(&self) -> Vec<String> {
        let one = |(&row, given): (&usize, &Given)| {
            let flag = &FLAGS[row];
            match flag.kind {
                Kind::Value(_) => format!("--{} {}", flag.name, shown(flag, &given.text)),
                _ if given.text == "on" => format!("--{}", flag.name),
                _ => format!("--disable_{}", flag.name),
            }
        };
        self.given.iter().map(one).collect()
    }
}

/// A value as it may be shown.
fn shown(flag: &Flag, text: &str) -> String {
    if flag.secret { "********".to_owned() } else { redact(text) }
}

/// Hides the credentials of a URL.
pub fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}://xxxxxxxx:xxxxxxxx@{rest}"),
        None => text.to_owned(),
    }
}
