//! What the server says about itself: info, leader, ping.

use marathon_model::id::FrameworkId;

use crate::json::Json;

/// The settings shown by `/v2/info`. The server fills it from its flags once; times are in
/// milliseconds unless the name says otherwise, as in the original.
#[derive(Debug, Clone, PartialEq)]
pub struct InfoConfig {
    pub version: String,
    /// What this build was made from.
    pub buildref: String,
    pub marathon: MarathonConfig,
    pub zookeeper: ZookeeperConfig,
    pub http_port: u16,
    pub https_port: u16,
    /// What `--http_endpoints` names, if events are posted at all.
    pub callbacks: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MarathonConfig {
    pub access_control_allow_origin: Option<Vec<String>>,
    pub checkpoint: bool,
    pub decline_offer_duration: u64,
    pub default_network_name: Option<String>,
    pub env_vars_prefix: Option<String>,
    pub executor: String,
    pub failover_timeout_seconds: u64,
    pub features: Vec<String>,
    pub framework_name: String,
    pub ha: bool,
    pub hostname: String,
    pub launch_token: u64,
    pub launch_token_refresh_interval: u64,
    pub leader_proxy_connection_timeout_ms: u64,
    pub leader_proxy_read_timeout_ms: u64,
    pub local_port_max: u16,
    pub local_port_min: u16,
    pub maintenance_mode: bool,
    /// As given; credentials in it are not shown.
    pub master: Option<String>,
    pub max_instances_per_offer: u64,
    pub mesos_bridge_name: String,
    pub mesos_heartbeat_failure_threshold: u64,
    pub mesos_heartbeat_interval: u64,
    pub mesos_leader_ui_url: Option<String>,
    pub mesos_role: Option<String>,
    pub mesos_user: Option<String>,
    /// `off` or `top`.
    pub new_group_enforce_role: String,
    pub min_revive_offers_interval: u64,
    pub offer_matching_timeout: u64,
    pub on_elected_prepare_timeout: u64,
    pub reconciliation_initial_delay: u64,
    pub reconciliation_interval: u64,
    pub scale_apps_initial_delay: u64,
    pub scale_apps_interval: u64,
    pub store_cache: bool,
    pub task_launch_confirm_timeout: u64,
    pub task_launch_timeout: u64,
    pub task_lost_expunge_initial_delay: u64,
    pub task_lost_expunge_interval: u64,
    pub task_reservation_timeout: u64,
    pub webui_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ZookeeperConfig {
    /// As given; credentials in it are not shown. `None`: the store is a folder.
    pub zk: Option<String>,
    pub zk_compression: bool,
    pub zk_compression_threshold: u64,
    pub zk_connection_timeout: u64,
    pub zk_max_node_size: u64,
    pub zk_max_versions: u64,
    pub zk_session_timeout: u64,
    pub zk_timeout: u64,
}

impl Default for InfoConfig {
    /// The defaults of 1.11.
    fn default() -> InfoConfig {
        InfoConfig {
            version: String::new(),
            buildref: String::new(),
            marathon: MarathonConfig {
                access_control_allow_origin: None,
                checkpoint: true,
                decline_offer_duration: 120_000,
                default_network_name: None,
                env_vars_prefix: None,
                executor: "//cmd".into(),
                failover_timeout_seconds: 604_800,
                features: Vec::new(),
                framework_name: "marathon".into(),
                ha: true,
                hostname: String::new(),
                launch_token: 100,
                launch_token_refresh_interval: 30_000,
                leader_proxy_connection_timeout_ms: 5_000,
                leader_proxy_read_timeout_ms: 10_000,
                local_port_max: 20_000,
                local_port_min: 10_000,
                maintenance_mode: true,
                master: None,
                max_instances_per_offer: 5,
                mesos_bridge_name: "mesos-bridge".into(),
                mesos_heartbeat_failure_threshold: 5,
                mesos_heartbeat_interval: 15_000,
                mesos_leader_ui_url: None,
                mesos_role: Some("*".into()),
                mesos_user: None,
                new_group_enforce_role: "off".into(),
                min_revive_offers_interval: 5_000,
                offer_matching_timeout: 3_000,
                on_elected_prepare_timeout: 180_000,
                reconciliation_initial_delay: 15_000,
                reconciliation_interval: 600_000,
                scale_apps_initial_delay: 15_000,
                scale_apps_interval: 300_000,
                store_cache: true,
                task_launch_confirm_timeout: 300_000,
                task_launch_timeout: 300_000,
                task_lost_expunge_initial_delay: 300_000,
                task_lost_expunge_interval: 30_000,
                task_reservation_timeout: 20_000,
                webui_url: None,
            },
            zookeeper: ZookeeperConfig {
                zk: None,
                zk_compression: true,
                zk_compression_threshold: 65_536,
                zk_connection_timeout: 10_000,
                zk_max_node_size: 1_024_000,
                zk_max_versions: 50,
                zk_session_timeout: 10_000,
                zk_timeout: 10_000,
            },
            http_port: 8080,
            https_port: 8443,
            callbacks: None,
        }
    }
}

/// `GET /v2/info`. `leader` is its `host:port`; `elected`: whether there is one.
pub fn info(
    config: &InfoConfig,
    elected: bool,
    leader: Option<&str>,
    framework: Option<&FrameworkId>,
) -> Vec<u8> {
    Json::text(|json| {
        json.object(|json| {
            json.key("name").string("marathon");
            json.key("version").string(&config.version);
            json.key("buildref").string(&config.buildref);
            json.key("elected").bool(elected);
            json.key("leader").string_or_null(leader);
            json.key("frameworkId").string_or_null(framework.map(|it| it.as_str()));
            write_marathon(json.key("marathon_config"), &config.marathon);
            write_zookeeper(json.key("zookeeper_config"), &config.zookeeper);
            if let Some(endpoints) = &config.callbacks {
                json.key("event_subscriber").object(|json| {
                    json.key("type").string("http_callback");
                    json.key("http_endpoints").strings(endpoints.iter().map(String::as_str));
                });
            }
            json.key("http_config").object(|json| {
                json.key("http_port").int(config.http_port);
                json.key("https_port").int(config.https_port);
            });
        });
    })
}

fn write_marathon(json: &mut Json, config: &MarathonConfig) {
    // Each field is shown under its own name, so that none is forgotten or misspelt.
    macro_rules! show {
        ($json:ident $($write:ident: $($name:ident),+;)+) => { $($( $json.key(stringify!($name)).$write(config.$name); )+)+ };
    }
    json.object(|json| {
        match &config.access_control_allow_origin {
            Some(origins) => json.key("access_control_allow_origin").strings(origins.iter().map(String::as_str)),
            None => json.key("access_control_allow_origin").null(),
        }
        show!(json bool: checkpoint; int: decline_offer_duration;);
        json.key("default_network_name").string_or_null(config.default_network_name.as_deref());
        json.key("env_vars_prefix").string_or_null(config.env_vars_prefix.as_deref());
        json.key("executor").string(&config.executor);
        json.key("failover_timeout").int(config.failover_timeout_seconds);
        json.key("features").strings(config.features.iter().map(String::as_str));
        json.key("framework_name").string(&config.framework_name);
        show!(json bool: ha;);
        json.key("hostname").string(&config.hostname);
        show!(json int: launch_token, launch_token_refresh_interval, leader_proxy_connection_timeout_ms,
            leader_proxy_read_timeout_ms, local_port_max, local_port_min; bool: maintenance_mode;);
        json.key("master").string_or_null(config.master.as_deref().map(redacted).as_deref());
        show!(json int: max_instances_per_offer;);
        json.key("mesos_bridge_name").string(&config.mesos_bridge_name);
        show!(json int: mesos_heartbeat_failure_threshold, mesos_heartbeat_interval;);
        json.key("mesos_leader_ui_url").string_or_null(config.mesos_leader_ui_url.as_deref());
        json.key("mesos_role").string_or_null(config.mesos_role.as_deref());
        json.key("mesos_user").string_or_null(config.mesos_user.as_deref());
        json.key("new_group_enforce_role").string(&config.new_group_enforce_role);
        show!(json int: min_revive_offers_interval, offer_matching_timeout, on_elected_prepare_timeout,
            reconciliation_initial_delay, reconciliation_interval, scale_apps_initial_delay, scale_apps_interval;
            bool: store_cache; int: task_launch_confirm_timeout, task_launch_timeout,
            task_lost_expunge_initial_delay, task_lost_expunge_interval, task_reservation_timeout;);
        json.key("webui_url").string_or_null(config.webui_url.as_deref());
    });
}

fn write_zookeeper(json: &mut Json, config: &ZookeeperConfig) {
    json.object(|json| {
        json.key("zk").string_or_null(config.zk.as_deref().map(redacted).as_deref());
        json.key("zk_compression").bool(config.zk_compression);
        json.key("zk_compression_threshold").int(config.zk_compression_threshold);
        json.key("zk_connection_timeout").int(config.zk_connection_timeout);
        json.key("zk_max_node_size").int(config.zk_max_node_size);
        json.key("zk_max_versions").int(config.zk_max_versions);
        json.key("zk_session_timeout").int(config.zk_session_timeout);
        json.key("zk_timeout").int(config.zk_timeout);
    });
}

/// A URL without its credentials: `zk://user:secret@host/x` as `zk://xxxxxxxx:xxxxxxxx@host/x`.
///
/// Everything up to the last `@` goes, since an unescaped password may hold any character.
pub fn redacted(url: &str) -> String {
    let begin = url.find("://").map_or(0, |at| at + 3);
    match url.rfind('@') {
        Some(at) if begin <= at => format!("{}xxxxxxxx:xxxxxxxx{}", &url[..begin], &url[at..]),
        _ => url.to_owned(),
    }
}

/// `GET /v2/leader`.
pub fn leader(host_port: &str) -> Vec<u8> {
    Json::text(|json| json.object(|json| json.key("leader").string(host_port)))
}

/// `DELETE /v2/leader`.
pub fn abdicated() -> Vec<u8> {
    br#"{"message":"Leadership abdicated","details":[]}"#.to_vec()
}

/// `GET /ping`: content type and body for this `Accept` header, or `None` for 204.
pub fn ping(accept: Option<&str>) -> Option<(&'static str, &'static str)> {
    let plain = ("text/plain", "pong");
    let Some(accept) = accept else { return Some(plain) };
    // The first of the best weighted types that has a form; ranges without a weight count as 1.
    let mut best: Option<(f32, (&'static str, &'static str))> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "*/*" | "text/*" | "text/plain" => plain,
            "text/html" => ("text/html", "pong"),
            "application/json" => ("application/json", "\"pong\""),
            _ => continue,
        };
        let weight = parts.find_map(|it| it.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        if 0.0 < weight && best.is_none_or(|(so_far, _)| so_far < weight) {
            best = Some((weight, form));
        }
    }
    best.map(|(_, form)| form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        for (url, want) in [
            ("zk://a:b@h1:2181,h2/m", "zk://xxxxxxxx:xxxxxxxx@h1:2181,h2/m"),
            ("zk://a:p/w@x@h/m", "zk://xxxxxxxx:xxxxxxxx@h/m"),
            ("user:pw@h:5050", "xxxxxxxx:xxxxxxxx@h:5050"),
            ("zk://h1:2181/m", "zk://h1:2181/m"),
            ("local", "local"),
        ] {
            assert_eq!(redacted(url), want);
        }
    }

    #[test]
    fn ping_answers_in_the_form_that_is_asked_for() {
        let plain = Some(("text/plain", "pong"));
        for (accept, want) in [
            (None, plain),
            (Some("*/*"), plain),
            (Some("text/*;q=0.8"), plain),
            (Some("text/html,application/xml;q=0.9,*/*;q=0.8"), Some(("text/html", "pong"))),
            (Some("text/plain;q=0.5, application/json"), Some(("application/json", "\"pong\""))),
            (Some("image/png"), None),
            (Some(""), None),
        ] {
            assert_eq!(ping(accept), want, "{accept:?}");
        }
    }
}
