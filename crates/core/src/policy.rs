//! What the flags decide for the core.

use std::time::Duration;

use marathon_model::app::AppSpec;
use marathon_model::callback::CallbackUrl;
use marathon_model::deployment::GuardUpdate;
use marathon_model::resources::Amounts;
use marathon_model::view::View;
use marathon_spec::Rules;

#[derive(Debug, Clone)]
pub struct Policy {
    pub rules: Rules,
    /// From the launch to TASK_RUNNING; then the task is killed and started again.
    pub task_launch_timeout: Duration,
    /// From the launch to the first word of the engine.
    pub task_launch_confirm_timeout: Duration,
    pub kill_retry_timeout: Duration,
    /// From a reservation to the first offer that shows it; then it is given up and tried anew.
    pub task_reservation_timeout: Duration,
    /// How long a declined offer stays away.
    pub decline_offer_duration: Duration,
    pub min_revive_offers_interval: Duration,
    pub suppress_offers: bool,
    /// An offer is for instances of the role it was made to, and for no others: a cluster counts what they hold by it.
    pub offers_by_role: bool,
    /// `None`: as many as fit.
    pub max_instances_per_offer: Option<usize>,
    pub reconciliation_interval: Duration,
    pub local_port_min: u16,
    pub local_port_max: u16,
    /// Old versions kept of each app, of each group and of the tree.
    pub max_versions: usize,
    pub max_running_deployments: usize,
    /// When deployments give up by themselves, where a request does not say.
    pub guard: GuardUpdate,
    pub env_vars_prefix: String,
    pub maintenance_mode: bool,
    pub draining: Duration,
    /// Specs without gpus refuse offers with gpus.
    pub gpu_restricted: bool,
    pub master_region: Option<String>,
    /// In whose name resources are reserved.
    pub principal: Option<String>,
    /// Subscribers named by flags.
    pub callbacks: Vec<CallbackUrl>,
    /// Bugs of the original that shall be back.
    #[cfg(feature = "old-faults")]
    pub faults: crate::Faults,
}

impl Policy {
    /// As it is at the moment of a view: where the master is was not known when the flags were read.
    pub(crate) fn at(&self, view: &View) -> Policy {
        let region = view.master_region.as_deref().map(str::to_owned);
        Policy { master_region: region.or_else(|| self.master_region.clone()), ..self.clone() }
    }

    /// What a custom executor takes beside the app that it runs. A cluster refuses a launch for which an offer does not
    /// have both. What a pod's executor takes is part of the pod's own needs.
    pub(crate) fn executor_needs(&self, spec: &AppSpec) -> Amounts {
        let custom = self.rules.executor.as_deref().and_then(|default| spec.custom_executor(default));
        custom.and(spec.executor_resources).unwrap_or_default()
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            rules: Rules::default(),
            task_launch_timeout: Duration::from_secs(300),
            task_launch_confirm_timeout: Duration::from_secs(300),
            kill_retry_timeout: Duration::from_secs(30),
            task_reservation_timeout: Duration::from_secs(20),
            decline_offer_duration: Duration::from_secs(120),
            min_revive_offers_interval: Duration::from_secs(5),
            suppress_offers: true,
            offers_by_role: false,
            max_instances_per_offer: Some(5),
            reconciliation_interval: Duration::from_secs(600),
            local_port_min: 10_000,
            local_port_max: 20_000,
            max_versions: 50,
            max_running_deployments: 100,
            guard: GuardUpdate::default(),
            env_vars_prefix: String::new(),
            maintenance_mode: true,
            draining: Duration::ZERO,
            gpu_restricted: true,
            master_region: None,
            principal: None,
            callbacks: Vec::new(),
            #[cfg(feature = "old-faults")]
            faults: Default::default(),
        }
    }
}
