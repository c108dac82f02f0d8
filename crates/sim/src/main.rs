//! `sim [--seed N] [--seeds A..B] [--events N] [--threads N] [--fault NAME] [--digest] [--verbose]`
//!
//! With a fault of the original back in it, the first seed that finds it ends the run. With `--digest` all that
//! happens is summed up in one number, to show that a change of the simulator left every history as it was.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use marathon_sim::{EVENTS, Fault, History, Summary, Violation, journal, run};

const USAGE: &str = "usage: sim [--seed N] [--seeds A..B] [--events N] [--threads N] [--fault NAME] [--digest] [--verbose]\nfaults:";

/// A history takes milliseconds. One that takes this long is caught in a step that never ends.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// The seed each worker is at, and since when.
type UnderWay = Arc<Mutex<Vec<Option<(u64, Instant)>>>>;

struct Args {
    seeds: std::ops::Range<u64>,
    events: u64,
    threads: usize,
    broken: BTreeSet<Fault>,
    digest: bool,
    verbose: bool,
}

impl Args {
    fn history(&self, seed: u64) -> History {
        History { seed, events: self.events, broken: self.broken.clone() }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Args> {
    let threads = std::thread::available_parallelism().map_or(1, |it| it.get());
    let (broken, digest, verbose) = (BTreeSet::new(), false, false);
    let mut parsed = Args { seeds: 0..1_000, events: EVENTS, threads, broken, digest, verbose };
    while let Some(name) = args.next() {
        match name.as_str() {
            "--verbose" => parsed.verbose = true,
            "--digest" => parsed.digest = true,
            "--seed" => {
                let seed = args.next()?.parse().ok()?;
                parsed.seeds = seed..seed + 1;
            }
            "--seeds" => {
                let text = args.next()?;
                let (first, end) = text.split_once("..")?;
                parsed.seeds = first.parse().ok()?..end.parse().ok()?;
            }
            "--events" => parsed.events = args.next()?.parse().ok()?,
            "--fault" => {
                let name = args.next()?;
                parsed.broken.insert(Fault::ALL.into_iter().find(|it| it.name() == name)?);
            }
            "--threads" => parsed.threads = args.next()?.parse().ok().filter(|it| *it > 0)?,
            _ => return None,
        }
    }
    Some(parsed)
}

fn main() -> ExitCode {
    let Some(args) = parse(std::env::args().skip(1)) else {
        let faults = Fault::ALL.map(Fault::name).join(" ");
        eprintln!("{USAGE} {faults}");
        return ExitCode::from(2);
    };
    let one = args.seeds.end == args.seeds.start + 1;
    if args.verbose && one {
        for line in journal(&args.history(args.seeds.start)) {
            println!("{line}");
        }
    }
    let began = Instant::now();
    let next = AtomicU64::new(args.seeds.start);
    let broken = AtomicBool::new(false);
    let total = Mutex::new((Summary::default(), 0));
    let under_way: UnderWay = Arc::new(Mutex::new(vec![None; args.threads]));
    let done = watch(under_way.clone(), args.events);
    let told = AtomicU64::new(0);
    let digest = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for worker in 0..args.threads {
            let (next, told, digest, total, broken, args, under_way) =
                (&next, &told, &digest, &total, &broken, &args, &under_way);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let found = !args.broken.is_empty() && broken.load(Ordering::Relaxed);
                    if seed >= args.seeds.end || found {
                        under_way.lock().expect("nobody panics with it")[worker] = None;
                        return;
                    }
                    under_way.lock().expect("nobody panics with it")[worker] = Some((seed, Instant::now()));
                    if args.digest {
                        digest.fetch_add(digest_of(&args.history(seed)), Ordering::Relaxed);
                    }
                    let result = run(&args.history(seed));
                    told.fetch_add(1, Ordering::Relaxed);
                    let mut total = total.lock().expect("no thread panics while it counts");
                    match result {
                        Ok(summary) => add(&mut total.0, summary),
                        Err(violation) => {
                            broken.store(true, Ordering::Relaxed);
                            report(
                                &violation,
                                !(args.verbose && one) && (args.verbose || one || total.1 == 0),
                            );
                            total.1 += 1;
                        }
                    }
                    drop(total);
                }
            });
        }
    });
    drop(done);
    let (sum, violations) = *total.lock().expect("all threads are done");
    let seconds = began.elapsed().as_secs_f64().max(1e-9);
    let seeds = told.load(Ordering::Relaxed);
    println!(
        "{seeds} seeds, {violations} violations, {} events, {} launches, {:.1} s; simulated over real time {:.0}x on {} \
         threads, {:.0} seeds per minute",
        sum.steps,
        sum.launches,
        seconds,
        sum.simulated_ms as f64 / 1e3 / seconds,
        args.threads,
        seeds as f64 / seconds * 60.0
    );
    if args.digest {
        println!("digest {:016x}", digest.load(Ordering::Relaxed));
    }
    if broken.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Every word of a history in one number. Those of several are added up: threads take them in any order.
fn digest_of(history: &History) -> u64 {
    let mut hasher = DefaultHasher::new();
    (history.seed, journal(history)).hash(&mut hasher);
    hasher.finish()
}

/// Ends the process when a history gets stuck, until the returned end is dropped.
fn watch(under_way: UnderWay, events: u64) -> mpsc::Sender<()> {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        while is_done.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            let all = under_way.lock().expect("nobody panics with it");
            if let Some((seed, _)) = all.iter().flatten().find(|it| it.1.elapsed() > STUCK_AFTER) {
                println!(
                    "VIOLATION in seed {seed}: every step ends\n  replay: sim --seed {seed} --events {events}"
                );
                std::process::exit(1);
            }
        }
    });
    done
}

fn add(sum: &mut Summary, one: Summary) {
    sum.steps += one.steps;
    sum.simulated_ms += one.simulated_ms;
    sum.launches += one.launches;
}

fn report(violation: &Violation, whole: bool) {
    let Violation { name, detail, history: History { seed, events, broken }, tail } = violation;
    let faults: String = broken.iter().map(|it| format!(" --fault {}", it.name())).collect();
    if whole {
        for line in tail {
            println!("{line}");
        }
    }
    println!(
        "VIOLATION in seed {seed}: {name}\n  {detail}\n  replay: sim --seed {seed} --events {events}{faults} --verbose"
    );
}
