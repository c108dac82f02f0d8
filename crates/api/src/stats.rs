//! `taskStats`: how tasks of the present and of older configurations fare.

use marathon_model::app::AppSpec;
use marathon_model::instance::{Condition, Instance, Task};
use marathon_model::time::Timestamp;
use marathon_model::view::App;

use crate::json::Json;
use crate::task::placed;

/// A part without any task is left out.
pub fn write_stats(json: &mut Json, app: &App, spec: &AppSpec, now: Timestamp) {
    let all: Vec<(&Instance, &Task)> =
        app.instances.values().filter_map(|it| Some((&**it, placed(it)?.1))).collect();
    let part = |keep: &dyn Fn(&Instance, &Task) -> bool| -> Vec<(&Instance, &Task)> {
        all.iter().copied().filter(|(instance, task)| keep(instance, task)).collect()
    };
    json.object(|json| {
        for (key, tasks) in [
            ("startedAfterLastScaling", part(&|_, task| task.staged_at >= spec.last_scaling_at)),
            ("withLatestConfig", part(&|it, _| it.config == spec.config)),
            ("withOutdatedConfig", part(&|it, _| it.config != spec.config)),
            ("totalSummary", part(&|_, _| true)),
        ] {
            if !tasks.is_empty() {
                json.key(key).object(|json| write_part(json.key("stats"), &tasks, now));
            }
        }
    });
}

fn write_part(json: &mut Json, tasks: &[(&Instance, &Task)], now: Timestamp) {
    let count = |keep: &dyn Fn(&Instance) -> bool| tasks.iter().filter(|(it, _)| keep(it)).count();
    let launched = |it: &Instance| {
        matches!(it.condition, Condition::Provisioned | Condition::Staging | Condition::Starting)
    };
    let mut ages: Vec<f64> =
        tasks.iter().filter_map(|(_, task)| Some((now - task.started_at?).as_secs_f64())).collect();
    ages.sort_by(f64::total_cmp);
    json.object(|json| {
        json.key("counts").object(|json| {
            json.key("staged").int(count(&launched));
            json.key("running").int(count(&|it| it.condition == Condition::Running));
            json.key("healthy").int(count(&|it| it.healthy() == Some(true)));
            json.key("unhealthy").int(count(&|it| it.healthy() == Some(false)));
        });
        if !ages.is_empty() {
            let middle = ages.len() / 2;
            let median =
                if ages.len() % 2 == 1 { ages[middle] } else { (ages[middle - 1] + ages[middle]) / 2.0 };
            json.key("lifeTime").object(|json| {
                json.key("averageSeconds").double(ages.iter().sum::<f64>() / ages.len() as f64);
                json.key("medianSeconds").double(median);
            });
        }
    });
}
