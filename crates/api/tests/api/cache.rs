use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use marathon_api::{AppsCache, Embed, Filter};
use marathon_model::app::AppSpec;
use marathon_model::view::View;
use marathon_testkit::*;
use proptest::prelude::*;

fn fresh(view: &Arc<View>, embed: Embed, filter: Option<Filter<'_>>) -> String {
    text(&AppsCache::default().list(view, embed, filter, at(0)))
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

/// Apps `/a0` to `/a9`; `true` ones get a task.
fn some(apps: &[(u8, bool)]) -> Arc<View> {
    let add = |view: ViewBuilder, (number, running): &(u8, bool)| {
        view.app(app(&format!("/a{number}")).running(u32::from(*running)))
    };
    apps.iter().fold(view(), add).build()
}

#[test]
fn no_app_is_an_empty_list() {
    assert_eq!(fresh(&view().build(), Embed::NONE, None), r#"{"apps":[]}"#);
}

#[test]
fn the_same_query_gets_the_same_bytes() {
    let (cache, view) = (AppsCache::default(), some(&[(1, true), (2, false)]));
    let first = cache.list(&view, Embed::TASKS, None, at(0));
    let again = cache.list(&view, Embed::TASKS | Embed::COUNTS, None, at(9));
    assert_eq!(first.as_ptr(), again.as_ptr());
    let other_view = Arc::new(View::clone(&view));
    assert_ne!(cache.list(&other_view, Embed::TASKS, None, at(0)).as_ptr(), first.as_ptr());
}

#[test]
fn ages_are_never_kept() {
    let (cache, view) = (AppsCache::default(), some(&[(1, true)]));
    let first = cache.list(&view, Embed::TASK_STATS, None, at(10));
    let later = cache.list(&view, Embed::TASK_STATS, None, at(20));
    assert!(
        text(&first).contains(r#""averageSeconds":8.0"#) && text(&later).contains(r#""averageSeconds":18.0"#)
    );
}

#[test]
fn filters_are_told_apart_by_their_text() {
    let (cache, view) = (AppsCache::default(), some(&[(1, false), (2, false), (3, false)]));
    for wanted in ["/a2", "/a3", "/a2", "none"] {
        let keep = |it: &AppSpec| it.id.as_str() == wanted;
        let body = text(&cache.list(&view, Embed::NONE, Some(Filter { text: wanted, keep: &keep }), at(0)));
        assert_eq!(body.matches("\"id\"").count(), usize::from(wanted != "none"), "{body}");
        assert_eq!(body.contains(wanted), wanted != "none", "{body}");
    }
    assert_eq!(text(&cache.list(&view, Embed::NONE, None, at(0))).matches("\"id\"").count(), 3);
}

#[test]
fn what_does_not_fit_is_not_kept() {
    let (cache, view) = (AppsCache::new(100), some(&[(1, true)]));
    let first = cache.list(&view, Embed::NONE, None, at(0));
    let again = cache.list(&view, Embed::NONE, None, at(0));
    assert!(first == again && first.as_ptr() != again.as_ptr());
}

#[test]
fn readers_of_one_body_render_it_once() {
    let (cache, view) = (AppsCache::default(), some(&[(1, true), (2, true)]));
    let asked = AtomicUsize::new(0);
    let keep = |_: &AppSpec| {
        asked.fetch_add(1, Ordering::Relaxed);
        true
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| cache.list(&view, Embed::NONE, Some(Filter { text: "x", keep: &keep }), at(0)));
        }
    });
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[derive(Debug, Clone)]
enum Edit {
    Put(u8, u32),
    Remove(u8),
    Ask { tasks: bool, odd: bool },
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (0..12u8, 0..3u32).prop_map(|(app, running)| Edit::Put(app, running)),
        (0..12u8).prop_map(Edit::Remove),
        any::<(bool, bool)>().prop_map(|(tasks, odd)| Edit::Ask { tasks, odd }),
    ];
    prop::collection::vec(edit, 1..60)
}

proptest! {
    /// Whatever changes between two queries, the kept parts never show.
    #[test]
    fn a_cached_list_is_a_fresh_one(edits in edits()) {
        let cache = AppsCache::default();
        let mut present = View::clone(&view().build());
        for edit in edits {
            match edit {
                Edit::Put(number, running) => {
                    let app = app(&format!("/a{number}")).running(running).build();
                    present.apps.insert(app.id.clone(), Arc::new(app));
                }
                Edit::Remove(number) => {
                    present.apps.remove(&path(&format!("/a{number}")));
                }
                Edit::Ask { tasks, odd } => {
                    let view = Arc::new(present.clone());
                    let embed = if tasks { Embed::TASKS } else { Embed::NONE };
                    let keep = |it: &AppSpec| it.id.as_str().ends_with(['1', '3', '5', '7', '9']);
                    let filter = odd.then_some(Filter { text: "odd", keep: &keep });
                    prop_assert_eq!(text(&cache.list(&view, embed, filter, at(0))), fresh(&view, embed, filter));
                }
            }
        }
    }
}
