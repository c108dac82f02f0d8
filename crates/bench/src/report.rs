//! What a bench found: a table for people, then one line of JSON for programs.

use serde_json::{Map, Value, json};

use crate::stats::round;

/// A condition the issue or the documentation sets.
#[derive(Debug, Clone)]
pub struct Target {
    pub what: &'static str,
    pub value: f64,
    pub bound: Bound,
}

#[derive(Debug, Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(least) => least <= self.value,
            Bound::AtMost(most) => self.value <= most,
        }
    }

    fn bound_text(&self) -> String {
        match self.bound {
            Bound::AtLeast(least) => format!(">= {least}"),
            Bound::AtMost(most) => format!("<= {most}"),
        }
    }
}

#[derive(Debug)]
pub struct Report {
    /// The first figure of the bench's target.
    pub value: f64,
    pub unit: &'static str,
    /// The limit or peer measured in the same run.
    pub against: String,
    pub ratio: f64,
    rows: Vec<(String, String)>,
    targets: Vec<Target>,
    more: Map<String, Value>,
}

impl Report {
    pub fn new(value: f64, unit: &'static str, against: impl Into<String>, ratio: f64) -> Report {
        Report {
            value,
            unit,
            against: against.into(),
            ratio,
            rows: Vec::new(),
            targets: Vec::new(),
            more: Map::new(),
        }
    }

    /// A line of the table.
    pub fn row(mut self, what: impl Into<String>, figure: impl Into<String>) -> Report {
        self.rows.push((what.into(), figure.into()));
        self
    }

    /// A key of the JSON line.
    pub fn key(mut self, name: &str, value: impl Into<Value>) -> Report {
        self.more.insert(name.to_owned(), tidy(value.into()));
        self
    }

    pub fn target(mut self, what: &'static str, value: f64, bound: Bound) -> Report {
        self.targets.push(Target { what, value, bound });
        self
    }

    pub fn print(&self, name: &str) {
        let verdicts = self.targets.iter().map(|it| {
            let verdict = if it.met() { "met" } else { "MISSED" };
            let text = format!("{} (wanted {}): {verdict}", number(it.value), it.bound_text());
            (format!("target: {}", it.what), text)
        });
        let rows: Vec<(String, String)> = self.rows.iter().cloned().chain(verdicts).collect();
        let width = rows.iter().map(|it| it.0.chars().count()).max().unwrap_or(0);
        println!("== {name}");
        for (what, figure) in &rows {
            println!("  {what:<width$}  {figure}");
        }
        println!("{}", self.json(name));
    }

    fn json(&self, name: &str) -> Value {
        let mut line = Map::new();
        line.insert("bench".into(), name.into());
        line.insert("value".into(), tidy(self.value.into()));
        line.insert("unit".into(), self.unit.into());
        line.insert("against".into(), self.against.clone().into());
        line.insert("ratio".into(), tidy(self.ratio.into()));
        line.insert("met".into(), self.targets.iter().all(Target::met).into());
        let targets = self.targets.iter().map(|it| {
            json!({"what": it.what, "value": tidy(it.value.into()), "wanted": it.bound_text(), "met": it.met()})
        });
        line.insert("targets".into(), targets.collect());
        line.extend(self.more.clone());
        Value::Object(line)
    }
}

/// Rounds every number in a value.
fn tidy(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_u64() && !number.is_i64() => {
                let short = round(float);
                if short.fract() == 0.0 && short.abs() < 1e15 { json!(short as i64) } else { json!(short) }
            }
            _ => Value::Number(number),
        },
        Value::Array(all) => all.into_iter().map(tidy).collect(),
        Value::Object(all) => Value::Object(all.into_iter().map(|(name, it)| (name, tidy(it))).collect()),
        other => other,
    }
}

/// A number for people.
pub fn number(value: f64) -> String {
    let value = round(value);
    if value.abs() < 1000.0 {
        return value.to_string();
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (value, want) in
            [(0.5, "0.5"), (999.4, "999"), (1234.0, "1,230"), (1_234_567.0, "1,230,000"), (-1500.0, "-1,500")]
        {
            assert_eq!(number(value), want);
        }
    }

    #[test]
    fn a_line() {
        let report = Report::new(0.617_283, "x", "posix_spawn", 0.617_283)
            .key("rate", 1234.56)
            .key("peers", json!({"pm2": 20.04}))
            .target("rate", 0.617_283, Bound::AtLeast(0.5))
            .target("p99", 12.3456, Bound::AtMost(10.0));
        let want = r#"{"bench":"b","value":0.617,"unit":"x","against":"posix_spawn","ratio":0.617,"met":false,"targets":[{"what":"rate","value":0.617,"wanted":">= 0.5","met":true},{"what":"p99","value":12.3,"wanted":"<= 10","met":false}],"rate":1230,"peers":{"pm2":20}}"#;
        assert_eq!(report.json("b").to_string(), want);
    }
}
