//! Who gets every event by POST, and that a restart does not forget it.

use marathon_model::callback::{CallbackUrl, Subscriber};

use crate::rig::*;

fn url(text: &str) -> CallbackUrl {
    CallbackUrl::parse(text).unwrap()
}

fn subscribe(rig: &mut Rig, text: &str) -> Reply {
    rig.ask(Command::Subscribe { url: url(text), client_ip: "10.1.2.3".into() })
}

fn unsubscribe(rig: &mut Rig, text: &str) -> Reply {
    rig.ask(Command::Unsubscribe { url: url(text), client_ip: "10.1.2.3".into() })
}

fn shown(rig: &Rig) -> Vec<(String, Subscriber)> {
    rig.view().callbacks.iter().map(|(url, why)| (url.as_str().to_owned(), *why)).collect()
}

#[test]
fn subscriptions_outlive_the_server() {
    use Subscriber::{Asked, Configured};
    let callbacks = vec![url("http://both"), url("http://flag")];
    let mut rig = Rig::with(Policy { callbacks, ..policy() });
    assert_eq!(shown(&rig), [("http://both".into(), Configured), ("http://flag".into(), Configured)]);
    assert!(rig.store.iter().all(|it| !matches!(it, Write::Callback(_))), "the flag says it each time");
    for _ in 0..2 {
        // Again is harmless, and answered the same.
        let Reply::Told(told) = subscribe(&mut rig, "http://api") else { panic!() };
        let what = told.what;
        let told = What::CallbackAdded { client_ip: "10.1.2.3".into(), url: url("http://api") };
        assert_eq!(what, told);
        assert_eq!(rig.notices.last(), Some(&told));
    }
    subscribe(&mut rig, "http://both");
    let writes = rig.store.iter().filter(|it| matches!(it, Write::Callback(_))).count();
    assert_eq!(writes, 2);
    // The rig restarts without the flag.
    rig.restart();
    assert_eq!(shown(&rig), [("http://api".into(), Asked), ("http://both".into(), Asked)]);
    for (text, left) in [("http://nobody", 2), ("http://api", 1), ("http://api", 1)] {
        let Reply::Told(told) = unsubscribe(&mut rig, text) else { panic!() };
        let what = told.what;
        assert_eq!(what, What::CallbackRemoved { client_ip: "10.1.2.3".into(), url: url(text) });
        assert_eq!(shown(&rig).len(), left);
    }
    rig.restart();
    assert_eq!(shown(&rig), [("http://both".into(), Asked)]);
}

#[test]
fn there_is_room_for_a_hundred() {
    let mut rig = Rig::new();
    for n in 0..100 {
        assert!(matches!(subscribe(&mut rig, &format!("http://h{n}")), Reply::Told(_)));
    }
    let full = subscribe(&mut rig, "http://more");
    assert!(matches!(&full, Reply::Refused(Refusal::Illegal(text)) if text.contains("100")), "{full:?}");
    assert!(matches!(subscribe(&mut rig, "http://h7"), Reply::Told(_)), "known ones are still welcome");
    unsubscribe(&mut rig, "http://h7");
    assert!(matches!(subscribe(&mut rig, "http://more"), Reply::Told(_)));
}
