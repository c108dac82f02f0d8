use std::sync::Arc;

use imbl::Vector;
use marathon_model::deployment::{Action, ActionKind, Deployment, Step};
use marathon_model::group::Group;
use marathon_model::id::{FrameworkId, GroupId, PathId};
use marathon_model::view::View;

use crate::{AppBuilder, at, deployment_id, path};

/// A view with nothing but the root group, at version `at(0)`.
pub fn view() -> ViewBuilder {
    let mut view = View {
        revision: 1,
        root_version: at(0),
        root_versions: Vector::unit(at(0)),
        framework: Some(FrameworkId::new("framework-1")),
        master: Some("local".into()),
        ..View::default()
    };
    ensure_group(&mut view, PathId::root());
    ViewBuilder { view }
}

pub struct ViewBuilder {
    view: View,
}

impl ViewBuilder {
    /// Adds an app and the groups it lies in.
    pub fn app(mut self, app: AppBuilder) -> ViewBuilder {
        let app = app.build();
        for group in app.id.ancestors() {
            ensure_group(&mut self.view, group);
        }
        self.view.apps.insert(app.id.clone(), Arc::new(app));
        self
    }

    /// Adds a group and those it lies in.
    pub fn group(mut self, id: &str) -> ViewBuilder {
        let id = path(id);
        for group in id.ancestors().into_iter().chain([id]) {
            ensure_group(&mut self.view, group);
        }
        self
    }

    /// Adds deployment `number`, whose present step is `current` (counted from 0).
    pub fn deployment(mut self, number: u32, current: usize, steps: Vec<Step>) -> ViewBuilder {
        let id = deployment_id(number);
        let deployment = Deployment { current, ..Deployment::new(id, at(0), steps) };
        for app in deployment.affected() {
            if let Some(app) = self.view.apps.get_mut(app) {
                Arc::make_mut(app).deployments.push(id);
            }
        }
        self.view.deployments.insert(id, Arc::new(deployment));
        self
    }

    /// Changes the finished view.
    pub fn with(mut self, edit: impl FnOnce(&mut View)) -> ViewBuilder {
        edit(&mut self.view);
        self
    }

    pub fn build(self) -> Arc<View> {
        Arc::new(self.view)
    }
}

fn ensure_group(view: &mut View, id: GroupId) {
    let group =
        || Arc::new(Group { id: id.clone(), dependencies: Vec::new(), enforce_role: false, version: at(0) });
    view.groups.entry(id.clone()).or_insert_with(group);
}

/// A step in which these apps are acted on side by side.
pub fn step(actions: &[(ActionKind, &str)]) -> Step {
    let actions = actions
        .iter()
        .map(|(kind, app)| Action { kind: *kind, app: path(app), pod: false, victims: Vec::new() })
        .collect();
    Step { actions }
}
