//! `sim-speed`: how much simulated time passes in real time, on one core.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::report::{Bound, Report, number};
use crate::stats::median;
use crate::{Outcome, Place, procs};

const ROUNDS: u64 = 5;
/// Seeds of the first, short run, by which the others are sized.
const SAMPLE: u64 = 50;
const ROUND: Duration = Duration::from_secs(6);

struct Line {
    times: f64,
    seeds_per_minute: f64,
    events_per_second: f64,
}

pub fn run(place: &Place) -> Outcome<Report> {
    let sample = simulate(place, 0, SAMPLE)?;
    let seeds = ((sample.seeds_per_minute * ROUND.as_secs_f64() / 60.0) as u64).max(SAMPLE);
    // Other seeds in each round: one long history must not decide.
    let lines: Vec<Line> =
        (0..ROUNDS).map(|round| simulate(place, round * seeds, seeds)).collect::<Outcome<_>>()?;
    let middle = |of: fn(&Line) -> f64| median(&lines.iter().map(of).collect::<Vec<f64>>());
    let (times, per_minute, events) =
        (middle(|it| it.times), middle(|it| it.seeds_per_minute), middle(|it| it.events_per_second));
    Ok(Report::new(times, "x", "real time", times)
        .row("simulated time over real time, one core", format!("{} x", number(times)))
        .row("seeds per minute", number(per_minute))
        .row("events per second", number(events))
        .row("rounds", format!("{ROUNDS} x {seeds} seeds"))
        .key("seeds_per_minute", per_minute)
        .key("events_per_second", events)
        .target("simulated over real time", times, Bound::AtLeast(1000.0)))
}

fn simulate(place: &Place, first: u64, count: u64) -> Outcome<Line> {
    let begin = Instant::now();
    let child = Command::new(&place.sim)
        .args(["--seeds", &format!("{first}..{}", first + count), "--threads", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", place.sim.display()))?;
    let pid = procs::started(child.id());
    let output = child.wait_with_output()?;
    procs::reaped(pid);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    if !output.status.success() {
        return Err(format!("the simulator found a violation or failed: {line}").into());
    }
    parse(line, begin.elapsed()).ok_or_else(|| format!("the simulator said: {line}").into())
}

/// Reads the summary that `sim` prints last.
fn parse(line: &str, took: Duration) -> Option<Line> {
    let before = |text: &str| -> Option<f64> {
        line.split(text).next().filter(|it| it.len() < line.len())?.rsplit(' ').next()?.parse().ok()
    };
    Some(Line {
        times: before("x on ")?,
        seeds_per_minute: before(" seeds per minute")?,
        events_per_second: before(" events,")? / took.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary() {
        let line = "300 seeds, 0 violations, 123456 events, 789 launches, 2.0 s; simulated over real time 1234x on 1 \
                    threads, 9000 seeds per minute";
        let read = parse(line, Duration::from_secs(2)).unwrap();
        assert_eq!((read.times, read.seeds_per_minute, read.events_per_second), (1234.0, 9000.0, 61728.0));
        assert!(parse("Segmentation fault", Duration::from_secs(1)).is_none());
    }
}
