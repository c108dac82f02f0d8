//! The rules of one app definition: how a request becomes a definition, and which definitions stand.
//!
//! ```text
//! update ─► laid over the defaults or the current app ─► normalised ─► judged ─► AppSpec | violations
//!            overlay                                      network        judge and the modules it names
//! ```
//! Everything here is a function of its arguments. Rules that concern several apps (dependency
//! cycles, ids that collide) need the tree and are the core's.

use std::sync::Arc;

use marathon_model::app::{AppSpec, Volume, VolumeSource};
use marathon_model::command::Violation;
use marathon_model::id::{GroupId, SpecId};
use marathon_model::resources::{ANY_ROLE, Role};
use marathon_model::update::AppUpdate;

mod check;
mod constraint;
mod container;
mod judge;
mod name;
mod network;
mod overlay;
mod pod;
mod report;
mod role;
mod uri;
mod volume;

pub use constraint::Pattern;
pub use pod::create_pod;

/// What the operator chose, as far as app definitions depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// `--mesos_role`.
    pub mesos_role: Role,
    /// `--new_group_enforce_role top`.
    pub new_group_enforce_role: bool,
    /// `--default_network_name`.
    pub default_network_name: Option<String>,
    /// `--mesos_bridge_name`.
    pub bridge_name: String,
    pub features: Features,
    /// `--default_accepted_resource_roles`.
    pub default_accepted_roles: Option<Vec<Role>>,
    /// `--accepted_resource_roles_default_behavior`.
    pub role_behavior: RoleBehavior,
    /// Whether instances of the role `*` may own reservations. No Mesos master allows that; the embedded engine does.
    pub any_role_reserves: bool,
    /// `--executor`, which runs apps that name none; `None` where an engine has no executors but its own.
    pub executor: Option<String>,
}

/// `--enable_features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    pub vips: bool,
    pub task_killing: bool,
    pub external_volumes: bool,
    pub secrets: bool,
    pub gpu_resources: bool,
}

/// Which resources an app takes that names no roles itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RoleBehavior {
    /// Those of its role and unreserved ones.
    #[default]
    Any,
    Unreserved,
    Reserved,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            mesos_role: Arc::from(ANY_ROLE),
            new_group_enforce_role: false,
            default_network_name: None,
            bridge_name: "mesos-bridge".to_owned(),
            features: Features::default(),
            default_accepted_roles: None,
            role_behavior: RoleBehavior::Any,
            any_role_reserves: false,
            executor: None,
        }
    }
}

/// Where in the tree the app stands or will stand.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `enforceRole` of the top-level group; `None` where that group does not exist yet, and for
    /// apps directly below the root.
    pub enforce_role: Option<bool>,
    /// The role the app has now; it stays allowed whatever the group says.
    pub current_role: Option<&'a Role>,
    /// Relative dependencies resolve against this group.
    pub group: &'a GroupId,
}

/// A new app: the defaults, the update over them, normalised and judged.
///
/// The version fields are left at their defaults; the core stamps them.
pub fn create(
    id: SpecId,
    update: &AppUpdate,
    rules: &Rules,
    place: &Place<'_>,
) -> Result<AppSpec, Vec<Violation>> {
    let mut base = AppSpec::new(id);
    base.role = role::default_of(&base.id, rules, place);
    settle(base, None, update, rules, place)
}

/// A changed app: what is absent in the update stays, what is present replaces the whole value.
///
/// Unlike in the original, `executorResources` and `resourceLimits` stay as well when absent. The id
/// and the version fields are those of `current`.
pub fn merge(
    current: &AppSpec,
    update: &AppUpdate,
    rules: &Rules,
    place: &Place<'_>,
) -> Result<AppSpec, Vec<Violation>> {
    settle(current.clone(), Some(current), update, rules, place)
}

fn settle(
    mut spec: AppSpec,
    current: Option<&AppSpec>,
    update: &AppUpdate,
    rules: &Rules,
    place: &Place<'_>,
) -> Result<AppSpec, Vec<Violation>> {
    let mut report = report::Report::default();
    overlay::fields(&mut spec, update);
    overlay::command(&mut spec, update);
    overlay::dependencies(&mut spec, update, place.group, &mut report);
    network::settle(&mut spec, current.map(|it| &it.networking), update, rules, &mut report);
    overlay::health_checks(&mut spec, update, &mut report);
    overlay::strategies(&mut spec, update, current.is_none());
    judge::all(&spec, rules, place, &mut report);
    report.into_result(spec)
}

/// Every broken rule of a finished definition.
pub fn validate(spec: &AppSpec, rules: &Rules, place: &Place<'_>) -> Vec<Violation> {
    let mut report = report::Report::default();
    match spec.is_pod() {
        true => pod::all(spec, rules, place, &mut report),
        false => judge::all(spec, rules, place, &mut report),
    }
    report.into_violations()
}

/// The roles whose resources this app may take. Each kind of resource is taken from these only.
pub fn accepted_roles(spec: &AppSpec, rules: &Rules) -> Vec<Role> {
    role::accepted(spec, rules)
}

fn volumes(spec: &AppSpec) -> impl Iterator<Item = &Volume> {
    spec.container.iter().flat_map(|it| &it.volumes)
}

/// Whether a volume outside the sandbox binds the app to one writer at a time.
fn holds_exclusive_volume(spec: &AppSpec) -> bool {
    volumes(spec).any(is_exclusive)
}

/// Whether a volume is an external one that only one instance of one app may use.
pub fn is_exclusive(volume: &Volume) -> bool {
    match &volume.source {
        VolumeSource::External { shared, provider, options, .. } => {
            !(*shared || provider == "csi" && volume::csi_is_shareable(options))
        }
        _ => false,
    }
}

fn has_external_volume(spec: &AppSpec) -> bool {
    volumes(spec).any(|it| matches!(it.source, VolumeSource::External { .. }))
}
