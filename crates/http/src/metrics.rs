//! `/metrics` and `/metrics/prometheus`: the same figures in two forms.
//!
//! Names are those of 1.7 and later, as far as they mean something here; in place of the JVM's there are
//! those of the process.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use marathon_api::json::Json;
use marathon_model::offer::TaskState;

use crate::Http;
use crate::callback::Totals;
use crate::stats::{METHODS, QUANTILES, Rates, Summary};

enum Figure {
    Counter(u64),
    Gauge(f64),
    Meter(u64, Rates),
    Timer(Summary),
}

/// All figures at this moment, by their full names, in their order.
fn collect(http: &Http) -> Vec<(String, Figure)> {
    let prefix = &http.settings.metrics_prefix;
    let mut all: Vec<(String, Figure)> = Vec::new();
    let mut add = |name: &str, unit: &str, figure: Figure| {
        let kind = match figure {
            Figure::Counter(_) => "counter",
            Figure::Gauge(_) => "gauge",
            Figure::Meter(..) => "meter",
            Figure::Timer(_) => "timer",
        };
        let dot = if unit.is_empty() { "" } else { "." };
        all.push((format!("{prefix}.{name}.{kind}{dot}{unit}"), figure));
    };
    let uptime = http.began.elapsed();
    add("uptime", "seconds", Figure::Gauge(uptime.as_secs_f64()));
    let led = http.leadership.led();
    add("leadership.duration", "seconds", Figure::Gauge(led.as_secs_f64()));

    let view = http.views.load();
    let (mut running, mut staged) = (0u64, 0u64);
    for app in view.apps.values() {
        let sum = app.tally.sum();
        running += u64::from(sum.running);
        staged += u64::from(sum.staged);
    }
    let pods = view.live_apps().filter(|(_, spec)| spec.is_pod()).count();
    let counters = &view.counters;
    let posted =
        |of: fn(&Totals) -> &AtomicU64| http.callbacks.get().map_or(0, |it| of(&it.totals).load(Relaxed));
    for (name, value) in [
        ("apps.active", (view.live_apps().count() - pods) as u64),
        ("pods.active", pods as u64),
        ("groups.active", view.groups.len() as u64),
        ("deployments.active", view.deployments.len() as u64),
        ("instances.running", running),
        ("instances.staged", staged),
        ("instances.launch-overdue", counters.launches_overdue),
        ("instances.inflight-kills", counters.kills_in_flight),
        ("http.event-streams.active", http.hub.readers_now() as u64),
        ("http.event-callbacks.active", http.callbacks.get().map_or(0, |it| it.active() as u64)),
        ("http.requests.active", u64::try_from(http.stats.active.load(Relaxed)).unwrap_or(0)),
    ] {
        add(name, "", Figure::Gauge(value as f64));
    }
    for (name, value) in [
        ("deployments", counters.deployments),
        ("deployments.dismissed", counters.deployments_dismissed),
        ("tasks.launched", counters.tasks_launched),
        ("http.event-streams.cut-off", http.hub.cut_off.load(Relaxed)),
        ("http.event-callbacks.delivered", posted(|it| &it.delivered)),
        ("http.event-callbacks.failed", posted(|it| &it.failed)),
        ("http.event-callbacks.dropped", posted(|it| &it.dropped)),
        ("mesos.offers.incoming", counters.offers_incoming),
        ("mesos.offers.used", counters.offers_used),
        ("mesos.offers.declined", counters.offers_declined),
        ("mesos.calls.revive", counters.revives),
        ("mesos.calls.suppress", counters.suppresses),
        ("mesos.offer-operations.launch", counters.tasks_launched),
        // Not told apart from the launches of apps.
        ("mesos.offer-operations.launch-group", 0),
        ("mesos.offer-operations.reserve", counters.reservations),
        ("mesos.task.oom.memory-limit-exceeded", counters.out_of_memory),
    ] {
        add(name, "", Figure::Counter(value));
    }
    for (state, count) in STATES.iter().zip(counters.updates) {
        add(&format!("mesos.task-updates.{}", state_name(*state)), "", Figure::Counter(count));
    }

    let stats = &http.stats;
    for (name, value) in [
        ("http.requests.size", stats.request_bytes.load(Relaxed)),
        ("http.responses.size", stats.response_bytes.load(Relaxed)),
        ("http.responses.size.gzipped", stats.gzipped_bytes.load(Relaxed)),
        ("http.responses.event-stream.size", http.hub.bytes_sent.load(Relaxed)),
    ] {
        add(name, "bytes", Figure::Counter(value));
    }
    add("http.requests.duration", "seconds", Figure::Timer(stats.durations.summary(uptime)));
    for (name, histogram) in METHODS.iter().zip(&stats.by_method) {
        add(&format!("http.requests.{name}.duration"), "seconds", Figure::Timer(histogram.summary(uptime)));
    }
    for hundred in 1..=5 {
        let (count, rates) = stats.status(hundred, uptime);
        add(&format!("http.responses.{hundred}xx.rate"), "", Figure::Meter(count, rates));
    }
    let process = Process::now();
    add("process.memory.resident", "bytes", Figure::Gauge(process.resident_bytes));
    add("process.cpu.time", "seconds", Figure::Gauge(process.cpu_seconds));
    add("process.threads", "", Figure::Gauge(process.threads));
    add("process.files.open", "", Figure::Gauge(process.files));
    all
}

const STATES: [TaskState; 14] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Failed,
    TaskState::Killed,
    TaskState::Error,
    TaskState::Lost,
    TaskState::Dropped,
    TaskState::Unreachable,
    TaskState::Gone,
    TaskState::GoneByOperator,
    TaskState::Unknown,
];

fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Staging => "task-staging",
        TaskState::Starting => "task-starting",
        TaskState::Running => "task-running",
        TaskState::Killing => "task-killing",
        TaskState::Finished => "task-finished",
        TaskState::Failed => "task-failed",
        TaskState::Killed => "task-killed",
        TaskState::Error => "task-error",
        TaskState::Lost => "task-lost",
        TaskState::Dropped => "task-dropped",
        TaskState::Unreachable => "task-unreachable",
        TaskState::Gone => "task-gone",
        TaskState::GoneByOperator => "task-gone-by-operator",
        TaskState::Unknown => "task-unknown",
    }
}

/// What the kernel says about this process; what cannot be read is 0.
#[derive(Default)]
struct Process {
    resident_bytes: f64,
    cpu_seconds: f64,
    threads: f64,
    files: f64,
}

impl Process {
    fn now() -> Process {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name in parentheses may hold blanks.
        let fields: Vec<f64> = match stat.rsplit_once(')') {
            Some((_, rest)) => rest.split_ascii_whitespace().map(|it| it.parse().unwrap_or(0.0)).collect(),
            None => Vec::new(),
        };
        let at = |field: usize| fields.get(field - 3).copied().unwrap_or(0.0);
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Process {
            // Fields as numbered in proc(5); ticks are hundredths and pages are 4 KiB on Linux.
            resident_bytes: at(24) * 4096.0,
            cpu_seconds: (at(14) + at(15)) / 100.0,
            threads: at(20),
            files: files as f64,
        }
    }
}

pub fn json(http: &Http) -> Vec<u8> {
    let all = collect(http);
    let group = |json: &mut Json, key: &'static str, pick: &dyn Fn(&Figure) -> bool| {
        json.key(key).object(|json| {
            for (name, figure) in all.iter().filter(|(_, it)| pick(it)) {
                json.any_key(name).object(|json| write_figure(json, figure));
            }
        });
    };
    Json::text(|json| {
        json.object(|json| {
            json.key("version").string("4.0.0");
            group(json, "counters", &|it| matches!(it, Figure::Counter(_)));
            group(json, "gauges", &|it| matches!(it, Figure::Gauge(_)));
            group(json, "histograms", &|_| false);
            group(json, "meters", &|it| matches!(it, Figure::Meter(..)));
            group(json, "timers", &|it| matches!(it, Figure::Timer(_)));
        });
    })
}

const QUANTILE_KEYS: [&str; 6] = ["p50", "p75", "p95", "p98", "p99", "p999"];

fn write_figure(json: &mut Json, figure: &Figure) {
    let rates = |json: &mut Json, rates: &Rates| {
        json.key("m1_rate").double(rates.m1);
        json.key("m5_rate").double(rates.m5);
        json.key("m15_rate").double(rates.m15);
        json.key("mean_rate").double(rates.mean);
    };
    match figure {
        Figure::Counter(count) => json.key("count").int(*count),
        Figure::Gauge(value) => json.key("value").double(*value),
        Figure::Meter(count, its) => {
            json.key("count").int(*count);
            rates(json, its);
            json.key("units").string("events/second");
        }
        Figure::Timer(summary) => {
            json.key("count").int(summary.count);
            json.key("min").double(summary.min);
            json.key("mean").double(summary.mean);
            json.key("max").double(summary.max);
            for (key, value) in QUANTILE_KEYS.into_iter().zip(summary.quantiles) {
                json.key(key).double(value);
            }
            json.key("stddev").double(summary.stddev);
            rates(json, &summary.rates);
            json.key("duration_units").string("seconds");
            json.key("rate_units").string("calls/second");
        }
    }
}

pub fn prometheus(http: &Http) -> String {
    let mut out = String::with_capacity(16 * 1024);
    for (at, (name, figure)) in collect(http).iter().enumerate() {
        let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
        let name: String = name.chars().map(legal).collect();
        if at > 0 {
            out.push('\n');
        }
        // Writing to a string does not fail.
        let _ = write_prometheus(&mut out, &name, figure);
    }
    out
}

fn write_prometheus(out: &mut String, name: &str, figure: &Figure) -> std::fmt::Result {
    fn gauge(out: &mut String, name: &str, value: f64) -> std::fmt::Result {
        let value = if value.is_nan() { 0.0 } else { value };
        writeln!(out, "# TYPE {name} gauge\n{name} {value:?}")
    }
    fn rates(out: &mut String, name: &str, rates: &Rates) -> std::fmt::Result {
        let Rates { m1, m5, m15, mean } = *rates;
        for (suffix, value) in [("mean_rate", mean), ("m1_rate", m1), ("m5_rate", m5), ("m15_rate", m15)] {
            gauge(out, &format!("{name}_{suffix}"), value)?;
        }
        Ok(())
    }
    match figure {
        Figure::Counter(count) => writeln!(out, "# TYPE {name} counter\n{name} {count}"),
        Figure::Gauge(value) => gauge(out, name, *value),
        Figure::Meter(count, its) => {
            gauge(out, &format!("{name}_count"), *count as f64)?;
            rates(out, name, its)
        }
        Figure::Timer(summary) => {
            writeln!(out, "# TYPE {name} summary")?;
            for (quantile, value) in QUANTILES.iter().zip(summary.quantiles) {
                writeln!(out, "{name}{{quantile=\"{quantile}\"}} {value:?}")?;
            }
            writeln!(out, "{name}_count {}", summary.count)?;
            for (suffix, value) in [
                ("min", summary.min),
                ("mean", summary.mean),
                ("max", summary.max),
                ("stddev", summary.stddev),
            ] {
                gauge(out, &format!("{name}_{suffix}"), value)?;
            }
            rates(out, name, &summary.rates)
        }
    }
}
