//! Texts come from users, agents and images; whatever they hold, every body is JSON that says the same.

use std::sync::Arc;

use marathon_api::{AppsCache, Embed, GroupEmbed, error, event, group, task};
use marathon_model::app::EnvValue;
use marathon_model::command::{Origin, Refusal, Violation};
use marathon_model::instance::{Agent, Condition, TaskFailure};
use marathon_model::notice::{Notice, What};
use marathon_model::offer::TaskState;
use marathon_testkit::*;
use proptest::prelude::*;
use serde_json::Value;

proptest! {
    #[test]
    fn any_text_anywhere(text in any::<String>()) {
        let failure = TaskFailure {
            spec: path("/a"),
            task: task_id("/a", 1),
            state: TaskState::Failed,
            message: text.as_str().into(),
            host: text.as_str().into(),
            agent: None,
            version: at(0),
            at: at(0),
        };
        let host: Arc<str> = text.as_str().into();
        let app = app("/a")
            .label(&text, &text)
            .spec(|spec| {
                spec.cmd = Some(text.clone());
                spec.env.insert(text.clone(), EnvValue::Text(text.clone()));
            })
            .add(1, Condition::Running, |it| {
                let agent = it.agent.take().unwrap();
                it.agent = Some(Arc::new(Agent { host: host.clone(), ..Agent::clone(&agent) }));
            })
            .with(move |app| app.failure = Some(Arc::new(failure)));
        let view = view().app(app).build();

        let list = AppsCache::default().list(&view, Embed::SINGLE, None, at(0));
        let read: Value = serde_json::from_slice(&list).unwrap();
        let shown = &read["apps"][0];
        prop_assert_eq!(&shown["labels"][&text], &Value::from(text.as_str()));
        prop_assert_eq!(&shown["env"][&text], &Value::from(text.as_str()));
        prop_assert_eq!(&shown["cmd"], &Value::from(text.as_str()));
        prop_assert_eq!(&shown["tasks"][0]["host"], &Value::from(text.as_str()));
        prop_assert_eq!(&shown["lastTaskFailure"]["message"], &Value::from(text.as_str()));
        for body in [
            group::one(&view, &path("/"), GroupEmbed::ALL, at(0)).unwrap(),
            task::all(&view, Default::default()),
        ] {
            prop_assert!(serde_json::from_slice::<Value>(&body).is_ok());
        }

        let spec = view.apps[&path("/a")].spec.clone().unwrap();
        let origin = Origin { client_ip: text.clone(), uri: text.clone() };
        let line = event::write(
            &Notice { at: at(0), what: What::ApiPost { origin, app: spec } },
            event::PlanFormat::Full,
        );
        prop_assert!(!line.iter().any(|c| *c < 0x20), "an event is one line");
        let read: Value = serde_json::from_slice(&line).unwrap();
        prop_assert_eq!(&read["uri"], &Value::from(text.as_str()));

        let (_, body) = error::answer(&Refusal::Invalid(vec![Violation::new(text.clone(), text.clone())]));
        let read: Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(&read["details"][0]["errors"][0], &Value::from(text.as_str()));
        let (_, body) = error::answer(&Refusal::NoSuchTask(text.clone()));
        prop_assert!(serde_json::from_slice::<Value>(&body).is_ok());
    }
}
