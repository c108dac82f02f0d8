//! From the configuration to what each part needs to know of it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use marathon_api::about::{InfoConfig, MarathonConfig, ZookeeperConfig};
use marathon_core::Policy;
use marathon_flags::{Behaviour, Config, Isolation, Master};
use marathon_http::Settings;
use marathon_http::callback::Limits;
use marathon_local::secrets::{Files, Program, Secrets};
use marathon_local::{LocalConfig, TaskFiles};
use marathon_mesos::{Codec, Filtering, Framework, Login, Masters, MesosConfig};
use marathon_mesos_files::{Cluster, MesosFiles};
use marathon_model::deployment::{GuardUpdate, OnFailure};
use marathon_model::id::FrameworkId;
use marathon_model::resources::Role;
use marathon_model::view::View;
use marathon_probe::ProbeConfig;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of Marathon whose API this is; clients decide by it what they may use.
const API_VERSION: &str = "1.11.0";

/// Whether a flag was given, rather than left to its default.
fn given(config: &Config, flag: &str) -> bool {
    config.given.iter().any(|it| it.split(' ').next() == Some(flag))
}

pub fn policy(config: &Config) -> Policy {
    let has = |feature: &str| config.enable_features.iter().any(|it| it == feature);
    let is_local = config.master == Master::Local;
    let rules = marathon_spec::Rules {
        mesos_role: config.mesos_role.clone(),
        new_group_enforce_role: config.new_group_enforce_role,
        default_network_name: config.default_network_name.clone(),
        bridge_name: config.mesos_bridge_name.clone(),
        features: marathon_spec::Features {
            vips: has("vips"),
            task_killing: has("task_killing"),
            external_volumes: has("external_volumes"),
            secrets: has("secrets"),
            gpu_resources: has("gpu_resources"),
        },
        default_accepted_roles: config.default_accepted_resource_roles.clone(),
        role_behavior: match config.accepted_resource_roles_default_behavior {
            Behaviour::Any => marathon_spec::RoleBehavior::Any,
            Behaviour::Unreserved => marathon_spec::RoleBehavior::Unreserved,
            Behaviour::Reserved => marathon_spec::RoleBehavior::Reserved,
        },
        // The embedded engine keeps reservations for whoever asks.
        any_role_reserves: is_local,
        executor: (!is_local).then(|| config.executor.clone()),
    };
    // Pace and limits protect a shared cluster; with one framework on one machine they only cost time.
    let counts = |flag: &str| !is_local || given(config, flag);
    let max_instances_per_offer =
        counts("--max_instances_per_offer").then_some(config.max_instances_per_offer);
    let min_revive_offers_interval = match counts("--min_revive_offers_interval") {
        true => config.min_revive_offers_interval,
        false => Duration::ZERO,
    };
    Policy {
        rules,
        task_launch_timeout: config.task_launch_timeout,
        task_launch_confirm_timeout: config.task_launch_confirm_timeout,
        kill_retry_timeout: config.kill_retry_timeout,
        task_reservation_timeout: config.task_reservation_timeout,
        decline_offer_duration: config.decline_offer_duration,
        min_revive_offers_interval,
        suppress_offers: config.suppress_offers,
        offers_by_role: !is_local,
        max_instances_per_offer,
        reconciliation_interval: config.reconciliation_interval,
        local_port_min: config.local_port_min,
        local_port_max: config.local_port_max,
        max_versions: config.zk_max_versions,
        max_running_deployments: config.max_running_deployments,
        guard: GuardUpdate {
            deadline: config.deployment_deadline,
            max_failures: config.deployment_max_failures,
            on_failure: config.deployment_stop_on_failure.then_some(OnFailure::Stop),
        },
        env_vars_prefix: config.env_vars_prefix.clone().unwrap_or_default(),
        maintenance_mode: config.maintenance_mode,
        draining: config.draining_seconds,
        gpu_restricted: config.gpu_restricted,
        master_region: None,
        principal: config.mesos_authentication_principal.clone(),
        callbacks: config.callbacks.clone().unwrap_or_default(),
    }
}

pub fn local(config: &Config, executable: PathBuf) -> LocalConfig {
    let base = LocalConfig::new(local_dir(config), executable, &build());
    LocalConfig {
        hostname: config.hostname.clone(),
        resources: config.local_resources.clone(),
        attributes: config.local_attributes.clone(),
        roles: vec![config.mesos_role.clone()],
        checkpoint: config.checkpoint,
        failover_timeout: config.failover_timeout,
        docker_socket: Some(config.local_docker_socket.clone()),
        log_bytes: config.local_log_bytes,
        log_files: config.local_log_files,
        cpu_hard_limit: config.local_cpu_hard,
        isolation: config.local_isolation == Isolation::Auto,
        fetch_cache_bytes: config.local_fetch_cache_bytes,
        default_user: given(config, "--mesos_user").then(|| config.mesos_user.clone()),
        secrets: secrets(config),
        seccomp_dir: Some(
            config.local_seccomp_dir.clone().unwrap_or_else(|| config.data_dir.join("seccomp")),
        ),
        ..base
    }
}

fn local_dir(config: &Config) -> PathBuf {
    config.data_dir.join("local")
}

/// What can be wrong with `--master`, found before anything is begun.
pub fn judge_master(config: &Config) -> Result<(), String> {
    let Master::Mesos(master) = &config.master else { return Ok(()) };
    Masters::parse(master)
        .map(drop)
        .map_err(|why| format!("Bad arguments for option 'master': '{}' - {why}", config.shown_master()))
}

/// `view`: the state as it was stored, which names roles that apps have.
pub fn mesos(
    config: &Config,
    master: &str,
    views: &Arc<ArcSwap<View>>,
    id: Option<FrameworkId>,
) -> Result<MesosConfig, String> {
    let has = |feature: &str| config.enable_features.iter().any(|it| it == feature);
    let masters = Masters::parse(master).map_err(|why| format!("--master: {why}"))?;
    let view = views.load();
    let of_apps = view.apps.values().filter_map(|it| it.spec.as_ref()).map(|it| it.role.clone());
    let of_instances = view.apps.values().flat_map(|it| it.instances.values()).map(|it| it.role.clone());
    let more: BTreeSet<Role> = of_apps.chain(of_instances).filter(|it| *it != config.mesos_role).collect();
    let roles = [config.mesos_role.clone()].into_iter().chain(more).collect();
    let webui_url = config.webui_url.clone().filter(|it| !it.is_empty());
    Ok(MesosConfig {
        masters,
        framework: Framework {
            name: config.framework_name.clone(),
            user: config.mesos_user.clone(),
            failover_timeout: config.failover_timeout,
            checkpoint: config.checkpoint,
            hostname: config.hostname.clone(),
            webui_url: webui_url
                .unwrap_or_else(|| format!("http://{}:{}", config.hostname, config.http_port)),
            principal: config.mesos_authentication_principal.clone(),
            task_killing: has("task_killing"),
            gpus: has("gpu_resources"),
        },
        id,
        roles,
        suppress: config.suppress_offers,
        login: login(config)?,
        https: config.mesos_tls,
        ca_file: config.mesos_ca_file.clone(),
        codec: if config.mesos_json { Codec::Json } else { Codec::Protobuf },
        heartbeat: config.mesos_heartbeat_interval.max(Duration::from_millis(100)),
        heartbeats_missed: config.mesos_heartbeat_failure_threshold,
        filtering: config.mesos_offer_constraints.map(|interval| {
            let views = views.clone();
            let interval = interval.max(Duration::from_millis(100));
            Filtering { interval, view: Arc::new(move || views.load_full()) }
        }),
        about: marathon_mesos::About {
            bridge_name: config.mesos_bridge_name.clone(),
            executor: config.executor.clone(),
            secrets: match config.secret_dir.is_some() || config.secret_command.is_some() {
                true => {
                    let known = secrets(config);
                    marathon_mesos::Secrets::values(move |source| {
                        tokio::task::block_in_place(|| known.value(source))
                    })
                }
                false => marathon_mesos::Secrets::default(),
            },
        },
    })
}

/// As 1.11 by the toggle, and as before 1.2 by the secret alone.
fn login(config: &Config) -> Result<Option<Login>, String> {
    let Some(principal) = config.mesos_authentication_principal.clone() else { return Ok(None) };
    let secret = match (&config.mesos_authentication_secret, &config.mesos_authentication_secret_file) {
        (Some(secret), _) => Some(secret.clone().into_bytes()),
        (None, Some(path)) => Some(std::fs::read(path).map_err(|error| {
            format!("Error reading authentication secret from file [{}]: {error}", path.display())
        })?),
        (None, None) => None,
    };
    let wanted = config.mesos_authentication || secret.is_some();
    Ok(wanted.then(|| Login { principal, secret: secret.unwrap_or_default() }))
}

/// Files of tasks, which are there before the engine is: of this machine, or of the agents of the master that the
/// state names.
pub fn files(
    config: &Config,
    views: Arc<ArcSwap<View>>,
    desk: &marathon_http::files::Desk,
) -> Result<(), String> {
    let Master::Mesos(master) = &config.master else {
        desk.set(Arc::new(TaskFiles::new(local_dir(config))));
        return Ok(());
    };
    let scheme = if config.mesos_tls || master.starts_with("https://") { "https" } else { "http" };
    let login =
        login(config)?.map(|it| marathon_mesos_files::Login { principal: it.principal, secret: it.secret });
    let settings = marathon_mesos_files::Settings { login, ca_file: config.mesos_ca_file.clone() };
    let cluster = move || {
        let view = views.load();
        let address = view.master_ui.as_deref()?.split_once("://")?.1.trim_end_matches('/');
        Some(Cluster { master: format!("{scheme}://{address}"), framework: view.framework.clone()? })
    };
    desk.set(Arc::new(MesosFiles::new(&settings, cluster)?));
    Ok(())
}

fn secrets(config: &Config) -> Arc<dyn Secrets> {
    match &config.secret_command {
        Some(program) => Arc::new(Program::new(program.clone())),
        None => {
            let dir = config.secret_dir.clone().unwrap_or_else(|| config.data_dir.join("secrets"));
            Arc::new(Files { dir })
        }
    }
}

/// Names this very binary: a keeper of another one replaces itself.
fn build() -> String {
    let stamp = std::env::current_exe().and_then(std::fs::metadata).and_then(|it| it.modified());
    let since = stamp.ok().and_then(|it| it.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
    format!("{VERSION}-{}", since.as_millis())
}

pub fn probes(config: &Config) -> ProbeConfig {
    ProbeConfig {
        max_concurrent: config.max_concurrent_marathon_health_checks,
        // The only agent of the embedded engine is this machine, whatever its name resolves to.
        overrides: match config.master {
            Master::Local => [(config.hostname.clone(), "127.0.0.1".to_owned())].into(),
            Master::Mesos(_) => Default::default(),
        },
        ..ProbeConfig::default()
    }
}

pub fn callbacks(config: &Config) -> Limits {
    Limits {
        request: config.http_event_request_timeout,
        slow: config.http_event_callback_slow_consumer_timeout,
    }
}

pub fn http(config: &Config) -> Settings {
    Settings {
        advertised: format!("{}:{}", config.hostname, config.http_port),
        credentials: config.http_credentials.clone(),
        realm: config.http_realm.clone(),
        concurrent_requests_max: config.http_max_concurrent_requests,
        compression: config.http_compression,
        origins: config.access_control_allow_origin.clone(),
        metrics_prefix: config.metrics_name_prefix.clone(),
        prometheus: config.metrics_prometheus,
        config: config.all.clone(),
        info: info(config),
        grace: config.graceful_shutdown_timeout,
        proxy: marathon_http::proxy::Limits {
            connect: config.leader_proxy_connection_timeout,
            read: config.leader_proxy_read_timeout,
            at_once: config.leader_proxy_max_open_connections,
        },
    }
}

fn info(config: &Config) -> InfoConfig {
    let ms = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
    InfoConfig {
        version: API_VERSION.to_owned(),
        buildref: format!("marathon-rs-{VERSION}"),
        http_port: config.http_port,
        https_port: config.https_port,
        callbacks: config.callbacks.as_ref().map(|it| it.iter().map(|it| it.as_str().to_owned()).collect()),
        marathon: MarathonConfig {
            access_control_allow_origin: config.access_control_allow_origin.clone(),
            checkpoint: config.checkpoint,
            decline_offer_duration: ms(config.decline_offer_duration),
            default_network_name: config.default_network_name.clone(),
            env_vars_prefix: config.env_vars_prefix.clone(),
            executor: config.executor.clone(),
            failover_timeout_seconds: config.failover_timeout.as_secs(),
            features: config.enable_features.clone(),
            framework_name: config.framework_name.clone(),
            ha: config.ha,
            hostname: config.hostname.clone(),
            launch_token: count(config.launch_tokens),
            launch_token_refresh_interval: ms(config.launch_token_refresh_interval),
            leader_proxy_connection_timeout_ms: ms(config.leader_proxy_connection_timeout),
            leader_proxy_read_timeout_ms: ms(config.leader_proxy_read_timeout),
            local_port_max: config.local_port_max,
            local_port_min: config.local_port_min,
            maintenance_mode: config.maintenance_mode,
            master: Some(config.shown_master()),
            max_instances_per_offer: count(config.max_instances_per_offer),
            mesos_bridge_name: config.mesos_bridge_name.clone(),
            mesos_heartbeat_failure_threshold: config.mesos_heartbeat_failure_threshold.into(),
            mesos_heartbeat_interval: ms(config.mesos_heartbeat_interval),
            mesos_leader_ui_url: config.mesos_leader_ui_url.clone(),
            mesos_role: Some(config.mesos_role.to_string()),
            mesos_user: Some(config.mesos_user.clone()),
            new_group_enforce_role: if config.new_group_enforce_role { "top" } else { "off" }.to_owned(),
            min_revive_offers_interval: ms(config.min_revive_offers_interval),
            offer_matching_timeout: ms(config.offer_matching_timeout),
            on_elected_prepare_timeout: ms(config.on_elected_prepare_timeout),
            reconciliation_initial_delay: ms(config.reconciliation_initial_delay),
            reconciliation_interval: ms(config.reconciliation_interval),
            scale_apps_initial_delay: ms(config.scale_apps_initial_delay),
            scale_apps_interval: ms(config.scale_apps_interval),
            store_cache: config.store_cache,
            task_launch_confirm_timeout: ms(config.task_launch_confirm_timeout),
            task_launch_timeout: ms(config.task_launch_timeout),
            task_lost_expunge_initial_delay: ms(config.task_lost_expunge_initial_delay),
            task_lost_expunge_interval: ms(config.task_lost_expunge_interval),
            task_reservation_timeout: ms(config.task_reservation_timeout),
            webui_url: config.webui_url.clone(),
        },
        zookeeper: ZookeeperConfig {
            zk: config.shown_zk(),
            zk_compression: config.zk_compression,
            zk_compression_threshold: config.zk_compression_threshold,
            zk_connection_timeout: ms(config.zk_connection_timeout),
            zk_max_node_size: config.zk_max_node_size,
            zk_max_versions: count(config.zk_max_versions),
            zk_session_timeout: ms(config.zk_session_timeout),
            zk_timeout: ms(config.zk_timeout),
        },
    }
}
