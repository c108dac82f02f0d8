//! The simulated master must answer as the real one did: every recorded conversation is replayed against it.
//!
//! README.md beside this file says what is compared, file by file, and what is not.

#![allow(clippy::unwrap_used)]

mod raw;
mod replay;
mod table;
mod unify;

use marathon_mesos_v1::transcript;

fn check(scenario: &table::Scenario) -> Result<(usize, usize), String> {
    let path = format!("{}/{}.jsonl", transcript::FOLDER, scenario.file);
    let text = std::fs::read_to_string(&path).map_err(|cause| format!("{path}: {cause}"))?;
    let mut lines = transcript::parse(&text)?;
    if scenario.file == "12d-call-on-the-stream-connection" {
        lines = raw::cooked(lines)?;
    }
    let mut replay = replay::Replay::new(table::cluster(scenario), scenario);
    replay.run(&lines)?;
    Ok((replay.compared, replay.skipped))
}

#[test]
fn the_simulation_answers_as_the_real_master_did() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut failures = Vec::new();
    for scenario in table::scenarios().iter().filter(|it| it.file.starts_with(&only)) {
        match check(scenario) {
            Ok((compared, skipped)) => println!("{:60} {compared:4} compared {skipped:3} not", scenario.file),
            Err(why) => failures.push(format!("{}: {why}", scenario.file)),
        }
    }
    assert!(failures.is_empty(), "{} scenarios differ:\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn every_recording_has_its_scenario() {
    let known: Vec<&str> = table::scenarios().iter().map(|it| it.file).collect();
    for entry in std::fs::read_dir(transcript::FOLDER).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(file) = name.strip_suffix(".jsonl") {
            assert!(known.contains(&file), "{file} has no scenario");
        }
    }
}
