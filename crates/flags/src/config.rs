//! The complete, typed configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use marathon_model::callback::CallbackUrl;
use marathon_model::offer::Attribute;
use marathon_model::resources::{ANY_ROLE, Resource, Role};

use crate::parse::{Flags, redact};
use crate::table::{self, Kind, Preset};
use crate::{FlagError, check, resources};

/// What the defaults depend on.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    pub hostname: String,
    pub user: String,
    pub is_root: bool,
    pub home: Option<PathBuf>,
    pub state_home: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Master {
    /// The embedded engine.
    Local,
    Mesos(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    File,
    ZooKeeper,
    Memory,
}

/// `--accepted_resource_roles_default_behavior`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Any,
    Unreserved,
    Reserved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// By cgroups where permitted.
    Auto,
    None,
}

/// Fields are named after their flags.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub master: Master,
    pub framework_name: String,
    pub hostname: String,
    pub webui_url: Option<String>,
    pub checkpoint: bool,
    pub failover_timeout: Duration,
    pub mesos_role: Role,
    pub mesos_user: String,
    pub executor: String,
    pub mesos_leader_ui_url: Option<String>,
    pub default_network_name: Option<String>,
    pub mesos_bridge_name: String,
    pub mesos_heartbeat_interval: Duration,
    pub mesos_heartbeat_failure_threshold: u32,
    pub mesos_authentication: bool,
    pub mesos_authentication_principal: Option<String>,
    pub mesos_authentication_secret: Option<String>,
    pub mesos_authentication_secret_file: Option<PathBuf>,
    pub mesos_tls: bool,
    pub mesos_ca_file: Option<PathBuf>,
    /// `--mesos_encoding json`.
    pub mesos_json: bool,
    pub mesos_replace_framework: Option<String>,
    /// `None`: the master filters no offers; else the pause between two updates.
    pub mesos_offer_constraints: Option<Duration>,

    pub local_resources: Vec<Resource>,
    pub local_attributes: BTreeMap<String, Attribute>,
    pub local_isolation: Isolation,
    /// `--local_cpu_limit hard`.
    pub local_cpu_hard: bool,
    pub local_log_bytes: u64,
    pub local_log_files: u32,
    pub local_docker_socket: PathBuf,
    pub local_fetch_cache_bytes: u64,
    /// `None`: below `data_dir`.
    pub local_seccomp_dir: Option<PathBuf>,
    /// `None`: below `data_dir`.
    pub secret_dir: Option<PathBuf>,
    pub secret_command: Option<PathBuf>,

    pub data_dir: PathBuf,
    pub zk: Option<String>,
    pub internal_store_backend: StoreKind,
    pub zk_max_versions: usize,
    pub zk_timeout: Duration,
    pub zk_connection_timeout: Duration,
    pub zk_session_timeout: Duration,
    pub zk_compression: bool,
    pub zk_compression_threshold: u64,
    pub zk_max_node_size: u64,
    pub zk_max_concurrency: usize,
    pub warm_standby: bool,
    pub zk_operation_max_retries: usize,
    pub zk_operation_base_retry_sleep: Duration,
    pub store_cache: bool,

    pub ha: bool,
    pub leader_notify: Option<PathBuf>,
    pub leader_proxy_connection_timeout: Duration,
    pub leader_proxy_read_timeout: Duration,
    pub leader_proxy_max_open_connections: usize,
    pub on_elected_prepare_timeout: Duration,
    pub graceful_shutdown_timeout: Duration,

    /// `None`: all addresses.
    pub http_address: Option<String>,
    pub http_port: u16,
    pub disable_http: bool,
    pub https_port: u16,
    pub ssl_keystore_path: Option<PathBuf>,
    /// User and password.
    pub http_credentials: Option<(String, String)>,
    pub http_realm: String,
    pub http_max_concurrent_requests: Option<usize>,
    pub http_compression: bool,
    pub access_control_allow_origin: Option<Vec<String>>,
    pub max_concurrent_marathon_health_checks: usize,
    pub event_stream_max_outstanding_messages: usize,
    /// `--event_subscriber http_callback` and its `--http_endpoints`.
    pub callbacks: Option<Vec<CallbackUrl>>,
    pub http_event_callback_slow_consumer_timeout: Duration,
    pub http_event_request_timeout: Duration,

    pub task_launch_timeout: Duration,
    pub task_launch_confirm_timeout: Duration,
    pub task_reservation_timeout: Duration,
    pub reconciliation_initial_delay: Duration,
    pub reconciliation_interval: Duration,
    pub scale_apps_initial_delay: Duration,
    pub scale_apps_interval: Duration,
    pub task_lost_expunge_initial_delay: Duration,
    pub task_lost_expunge_interval: Duration,
    pub kill_chunk_size: usize,
    pub kill_retry_timeout: Duration,
    pub max_running_deployments: usize,
    pub deployment_deadline: Option<Duration>,
    pub deployment_max_failures: Option<u32>,
    /// `--deployment_on_failure stop`.
    pub deployment_stop_on_failure: bool,
    pub env_vars_prefix: Option<String>,

    /// `None`: not given, so `accepted_resource_roles_default_behavior` decides.
    pub default_accepted_resource_roles: Option<Vec<Role>>,
    pub accepted_resource_roles_default_behavior: Behaviour,
    /// `--new_group_enforce_role top`.
    pub new_group_enforce_role: bool,
    pub decline_offer_duration: Duration,
    pub max_instances_per_offer: usize,
    pub launch_tokens: usize,
    pub launch_token_refresh_interval: Duration,
    pub offer_matching_timeout: Duration,
    pub min_revive_offers_interval: Duration,
    pub suppress_offers: bool,
    pub draining_seconds: Duration,
    pub maintenance_mode: bool,
    /// `--gpu_scheduling_behavior restricted`.
    pub gpu_restricted: bool,
    pub local_port_min: u16,
    pub local_port_max: u16,
    pub enable_features: Vec<String>,

    pub logging_level: String,
    pub metrics_name_prefix: String,
    pub metrics_prometheus: bool,

    /// The given flags and the remarks on them, to be logged at start.
    pub given: Vec<String>,
    /// Every flag with its value, secrets hidden, as `/config` shows it.
    pub all: Vec<(String, Option<String>)>,
    pub warnings: Vec<String>,
}

/// Reads values by name: what was given, else the default of the row.
struct Reader<'a>(&'a Flags);

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let (_, flag) = table::find(name).expect("config asks for rows of the table");
        self.0.text(name).or(match flag.default {
            Preset::Is(text) => Some(text),
            Preset::None | Preset::Found(_) => None,
        })
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    fn number(&self, name: &str) -> u64 {
        let text = self.text(name).expect("the row has a default");
        text.parse().expect("the row checked it")
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    fn port(&self, name: &str) -> u16 {
        self.number(name).try_into().expect("the row checked it")
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    fn on(&self, name: &str) -> bool {
        debug_assert!(table::find(name).is_some_and(|(_, it)| !matches!(it.kind, Kind::Value(_))));
        self.text(name) == Some("on")
    }

    fn list(&self, name: &str) -> Option<Vec<String>> {
        Some(check::entries(self.text(name)?).map(str::to_owned).collect())
    }

    fn is(&self, name: &str, word: &str) -> bool {
        self.text(name).is_some_and(|it| it.eq_ignore_ascii_case(word))
    }
}

impl Config {
    pub fn new(flags: &Flags, machine: &Machine) -> Result<Config, FlagError> {
        let read = Reader(flags);
        let master = match read.text("master") {
            None => {
                return Err(FlagError::Missing {
                    flag: "master",
                    hint: "Use '--master local' to run tasks on this machine",
                });
            }
            Some("local") => Master::Local,
            Some(other) => Master::Mesos(other.to_owned()),
        };
        together(&read)?;
        let mesos_role: Role = read.text("mesos_role").filter(|it| !it.is_empty()).unwrap_or(ANY_ROLE).into();
        let (local_port_min, local_port_max) = (read.port("local_port_min"), read.port("local_port_max"));
        if local_port_max < local_port_min {
            return Err(FlagError::Together(format!(
                "Options 'local_port_min' ({local_port_min}) and 'local_port_max' ({local_port_max}) \
                 leave no port between them"
            )));
        }
        Ok(Config {
            default_accepted_resource_roles: accepted_roles(&read, &mesos_role)?,
            internal_store_backend: store_kind(&read)?,
            data_dir: data_dir(&read, machine)?,
            master,
            framework_name: read.owned("framework_name").unwrap_or_default(),
            hostname: read
                .owned("hostname")
                .filter(|it| !it.is_empty())
                .unwrap_or_else(|| machine.hostname.clone()),
            webui_url: read.owned("webui_url"),
            checkpoint: read.on("checkpoint"),
            failover_timeout: Duration::from_secs(read.number("failover_timeout")),
            mesos_role,
            mesos_user: read.owned("mesos_user").filter(|it| !it.is_empty()).unwrap_or(machine.user.clone()),
            executor: read.owned("executor").unwrap_or_default(),
            mesos_leader_ui_url: read.owned("mesos_leader_ui_url"),
            default_network_name: read.owned("default_network_name"),
            mesos_bridge_name: read.owned("mesos_bridge_name").unwrap_or_default(),
            mesos_heartbeat_interval: read.millis("mesos_heartbeat_interval"),
            mesos_heartbeat_failure_threshold: u32::try_from(
                read.number("mesos_heartbeat_failure_threshold"),
            )
            .unwrap_or(u32::MAX),
            local_resources: resources::parse_resources(read.text("local_resources").unwrap_or_default())
                .unwrap_or_default(),
            local_attributes: resources::parse_attributes(read.text("local_attributes").unwrap_or_default())
                .unwrap_or_default(),
            local_isolation: if read.is("local_isolation", "none") {
                Isolation::None
            } else {
                Isolation::Auto
            },
            local_cpu_hard: read.is("local_cpu_limit", "hard"),
            local_log_bytes: read.number("local_log_bytes"),
            local_log_files: u32::try_from(read.number("local_log_files")).unwrap_or(u32::MAX),
            local_docker_socket: PathBuf::from(read.text("local_docker_socket").unwrap_or_default()),
            local_fetch_cache_bytes: read.number("local_fetch_cache_bytes"),
            local_seccomp_dir: read.text("local_seccomp_dir").map(PathBuf::from),
            secret_dir: read.text("secret_dir").map(PathBuf::from),
            secret_command: read.text("secret_command").map(PathBuf::from),
            zk: read.owned("zk"),
            zk_max_versions: read.size("zk_max_versions"),
            zk_timeout: read.millis("zk_timeout"),
            zk_connection_timeout: read.millis("zk_connection_timeout"),
            zk_session_timeout: read.millis("zk_session_timeout"),
            zk_compression: read.on("zk_compression"),
            zk_compression_threshold: read.number("zk_compression_threshold"),
            zk_max_node_size: read.number("zk_max_node_size"),
            zk_max_concurrency: read.size("zk_max_concurrency"),
            warm_standby: read.on("warm_standby"),
            zk_operation_max_retries: read.size("zk_operation_max_retries"),
            zk_operation_base_retry_sleep: read.millis("zk_operation_base_retry_sleep_ms"),
            store_cache: read.on("store_cache"),
            ha: read.on("ha"),
            leader_notify: read.text("leader_notify").map(PathBuf::from),
            leader_proxy_connection_timeout: read.millis("leader_proxy_connection_timeout"),
            leader_proxy_read_timeout: read.millis("leader_proxy_read_timeout"),
            leader_proxy_max_open_connections: read.size("leader_proxy_max_open_connections"),
            on_elected_prepare_timeout: read.millis("on_elected_prepare_timeout"),
            graceful_shutdown_timeout: read.millis("graceful_shutdown_timeout"),
            http_address: read.owned("http_address").filter(|it| !it.is_empty()),
            http_port: read.port("http_port"),
            disable_http: read.on("disable_http"),
            https_port: read.port("https_port"),
            ssl_keystore_path: read.text("ssl_keystore_path").map(PathBuf::from),
            http_credentials: read
                .text("http_credentials")
                .and_then(|it| it.split_once(':'))
                .map(|(user, password)| (user.to_owned(), password.to_owned())),
            http_realm: read.owned("http_realm").unwrap_or_default(),
            http_max_concurrent_requests: read
                .text("http_max_concurrent_requests")
                .map(|_| read.size("http_max_concurrent_requests")),
            http_compression: read.on("http_compression"),
            access_control_allow_origin: read.list("access_control_allow_origin"),
            max_concurrent_marathon_health_checks: read.size("max_concurrent_marathon_health_checks"),
            event_stream_max_outstanding_messages: read.size("event_stream_max_outstanding_messages"),
            callbacks: callbacks(&read)?,
            http_event_callback_slow_consumer_timeout: read
                .millis("http_event_callback_slow_consumer_timeout"),
            http_event_request_timeout: read.millis("http_event_request_timeout"),
            task_launch_timeout: read.millis("task_launch_timeout"),
            task_launch_confirm_timeout: read.millis("task_launch_confirm_timeout"),
            task_reservation_timeout: read.millis("task_reservation_timeout"),
            mesos_authentication: read.on("mesos_authentication"),
            mesos_authentication_principal: read.owned("mesos_authentication_principal"),
            mesos_authentication_secret: read.owned("mesos_authentication_secret"),
            mesos_authentication_secret_file: read
                .text("mesos_authentication_secret_file")
                .map(PathBuf::from),
            mesos_tls: read.on("mesos_tls"),
            mesos_ca_file: read.text("mesos_ca_file").map(PathBuf::from),
            mesos_json: read.is("mesos_encoding", "json"),
            mesos_replace_framework: read.owned("mesos_replace_framework"),
            mesos_offer_constraints: read
                .on("mesos_offer_constraints")
                .then(|| read.millis("min_mesos_offer_constraints_update_interval")),
            reconciliation_initial_delay: read.millis("reconciliation_initial_delay"),
            reconciliation_interval: read.millis("reconciliation_interval"),
            scale_apps_initial_delay: read.millis("scale_apps_initial_delay"),
            scale_apps_interval: read.millis("scale_apps_interval"),
            task_lost_expunge_initial_delay: read.millis("task_lost_expunge_initial_delay"),
            task_lost_expunge_interval: read.millis("task_lost_expunge_interval"),
            kill_chunk_size: read.size("kill_chunk_size"),
            kill_retry_timeout: read.millis("kill_retry_timeout"),
            max_running_deployments: read.size("max_running_deployments"),
            deployment_deadline: read
                .text("deployment_deadline")
                .map(|_| Duration::from_secs(read.number("deployment_deadline"))),
            deployment_max_failures: read
                .text("deployment_max_failures")
                .map(|_| u32::try_from(read.number("deployment_max_failures")).unwrap_or(u32::MAX)),
            deployment_stop_on_failure: read.is("deployment_on_failure", "stop"),
            env_vars_prefix: read.owned("env_vars_prefix"),
            accepted_resource_roles_default_behavior: {
                let name = "accepted_resource_roles_default_behavior";
                if read.is(name, "unreserved") {
                    Behaviour::Unreserved
                } else if read.is(name, "reserved") {
                    Behaviour::Reserved
                } else {
                    Behaviour::Any
                }
            },
            new_group_enforce_role: read.is("new_group_enforce_role", "top"),
            decline_offer_duration: read.millis("decline_offer_duration"),
            max_instances_per_offer: read.size("max_instances_per_offer"),
            launch_tokens: read.size("launch_tokens"),
            launch_token_refresh_interval: read.millis("launch_token_refresh_interval"),
            offer_matching_timeout: read.millis("offer_matching_timeout"),
            min_revive_offers_interval: read.millis("min_revive_offers_interval"),
            suppress_offers: read.on("suppress_offers"),
            draining_seconds: Duration::from_secs(read.number("draining_seconds")),
            maintenance_mode: read.on("maintenance_mode"),
            gpu_restricted: read.is("gpu_scheduling_behavior", "restricted"),
            local_port_min,
            local_port_max,
            enable_features: read.list("enable_features").unwrap_or_default(),
            logging_level: read.text("logging_level").unwrap_or_default().to_ascii_lowercase(),
            metrics_name_prefix: read.owned("metrics_name_prefix").unwrap_or_default(),
            metrics_prometheus: read.on("metrics_prometheus"),
            given: flags.shown(),
            all: flags.all(),
            warnings: warnings(&read),
        })
    }

    /// What was asked for and this build cannot do; it must not be started as if it could.
    pub fn unsupported(&self) -> Option<String> {
        if let Some(path) = &self.ssl_keystore_path {
            return Some(format!(
                "--ssl_keystore_path {}: this release does not serve HTTPS; it comes with a later one",
                path.display()
            ));
        }
        None
    }

    /// `--master` as `/v2/info` shows it.
    pub fn shown_master(&self) -> String {
        match &self.master {
            Master::Local => "local".to_owned(),
            Master::Mesos(master) => redact(master),
        }
    }

    /// `--zk` as `/v2/info` shows it.
    pub fn shown_zk(&self) -> Option<String> {
        self.zk.as_deref().map(redact)
    }
}

/// Flags that need or exclude each other.
fn together(read: &Reader<'_>) -> Result<(), FlagError> {
    let given = |name: &str| read.0.text(name).is_some();
    let fail = |text: &str| Err(FlagError::Together(text.to_owned()));
    if given("ssl_keystore_path") && !given("ssl_keystore_password") {
        return fail("Option 'ssl_keystore_path' needs 'ssl_keystore_password'");
    }
    if read.on("disable_http") && !given("ssl_keystore_path") {
        return fail(
            "Invalid configuration: Neither HTTP nor HTTPS support has been configured: \
             'disable_http' needs 'ssl_keystore_path'",
        );
    }
    for (one, other) in [("plugin_dir", "plugin_conf"), ("plugin_conf", "plugin_dir")] {
        if given(one) && !given(other) {
            return Err(FlagError::Together(format!("Option '{one}' needs '{other}'")));
        }
    }
    if given("plugin_dir") {
        // An authentication plugin that silently does not load would leave the door open.
        return Err(FlagError::Together(format!(
            "Options 'plugin_dir' ({}) and 'plugin_conf' ({}): plugins are JVM classes and cannot be loaded; \
             for authentication use 'http_credentials'",
            read.text("plugin_dir").unwrap_or_default(),
            read.text("plugin_conf").unwrap_or_default()
        )));
    }
    if read.on("mesos_authentication") && !given("mesos_authentication_principal") {
        return fail("Option 'mesos_authentication' needs 'mesos_authentication_principal'");
    }
    if given("mesos_authentication_secret") && given("mesos_authentication_secret_file") {
        return fail(
            "Options 'mesos_authentication_secret' and 'mesos_authentication_secret_file' exclude each other",
        );
    }
    if given("secret_dir") && given("secret_command") {
        return fail("Options 'secret_dir' and 'secret_command' exclude each other");
    }
    if read.on("metrics_statsd") && !(given("metrics_statsd_host") && given("metrics_statsd_port")) {
        return fail("Option 'metrics_statsd' needs 'metrics_statsd_host' and 'metrics_statsd_port'");
    }
    if given("group_versions_cache_size")
        && read.number("group_versions_cache_size") <= 2 * read.number("max_running_deployments")
    {
        return Err(FlagError::Together(format!(
            "Option 'group_versions_cache_size' ({}) must be more than twice 'max_running_deployments' ({})",
            read.number("group_versions_cache_size"),
            read.number("max_running_deployments")
        )));
    }
    Ok(())
}

fn warnings(read: &Reader<'_>) -> Vec<String> {
    let mut all = read.0.warnings.clone();
    // The original starts with it, too, and posts nothing.
    if read.text("http_endpoints").is_some() && read.text("event_subscriber").is_none() {
        all.push("--http_endpoints has no effect without --event_subscriber http_callback".to_owned());
    }
    all
}

/// `None`: nothing is posted.
fn callbacks(read: &Reader<'_>) -> Result<Option<Vec<CallbackUrl>>, FlagError> {
    let name = "http_endpoints";
    if read.text("event_subscriber").is_none() {
        return Ok(None);
    }
    let listed = read.list(name);
    let parse = |text: String| {
        CallbackUrl::parse(&text).map_err(|fault| FlagError::Bad {
            flag: name.to_owned(),
            value: text,
            why: fault.to_string(),
        })
    };
    listed.unwrap_or_default().into_iter().map(parse).collect::<Result<_, _>>().map(Some)
}

fn accepted_roles(read: &Reader<'_>, mesos_role: &Role) -> Result<Option<Vec<Role>>, FlagError> {
    let name = "default_accepted_resource_roles";
    let Some(roles) = read.list(name) else { return Ok(None) };
    let bad = |why: String| FlagError::Bad {
        flag: name.to_owned(),
        value: read.text(name).unwrap_or_default().to_owned(),
        why,
    };
    if roles.is_empty() {
        return Err(bad("must not be empty".to_owned()));
    }
    let mut all: Vec<Role> = Vec::new();
    for role in roles {
        if role != ANY_ROLE && role != **mesos_role {
            let mut legal: Vec<Arc<str>> = vec![mesos_role.clone(), ANY_ROLE.into()];
            legal.dedup();
            return Err(bad(format!(
                "no offers arrive for the role '{role}'; with this 'mesos_role' use a subset of {}",
                resources::roles(&legal)
            )));
        }
        if !all.iter().any(|it| **it == *role) {
            all.push(role.into());
        }
    }
    Ok(Some(all))
}

fn store_kind(read: &Reader<'_>) -> Result<StoreKind, FlagError> {
    let name = "internal_store_backend";
    let zk = read.text("zk").is_some();
    match read.text(name).map(str::to_ascii_lowercase).as_deref() {
        Some("mem") => Ok(StoreKind::Memory),
        Some("file") => Ok(StoreKind::File),
        Some("zk" | "mesos_zk") if !zk => {
            Err(FlagError::Together(format!("Option '{name}' (zk) needs 'zk', the address of ZooKeeper")))
        }
        None if !zk => Ok(StoreKind::File),
        _ => Ok(StoreKind::ZooKeeper),
    }
}

fn data_dir(read: &Reader<'_>, machine: &Machine) -> Result<PathBuf, FlagError> {
    if let Some(given) = read.text("data_dir") {
        return Ok(PathBuf::from(given));
    }
    if machine.is_root {
        return Ok(PathBuf::from("/var/lib/marathon"));
    }
    let state_home = machine.state_home.clone().filter(|it| it.is_absolute());
    match state_home.or_else(|| Some(machine.home.clone()?.join(".local/state"))) {
        Some(state) => Ok(state.join("marathon")),
        None => Err(FlagError::Missing {
            flag: "data_dir",
            hint: "This user has no home folder, so the folder for the state must be named",
        }),
    }
}
