//! What the tests of this crate have in common.

use std::time::Duration;

use marathon_api::about::InfoConfig;
use marathon_http::Settings;
use marathon_http::proxy::Limits;

/// Nothing special.
pub fn settings() -> Settings {
    Settings {
        advertised: "box:8080".into(),
        credentials: None,
        realm: "Mesosphere".into(),
        concurrent_requests_max: None,
        compression: true,
        origins: None,
        proxy: Limits { connect: Duration::from_secs(5), read: Duration::from_secs(10), at_once: 64 },
        metrics_prefix: "marathon".into(),
        prometheus: true,
        config: vec![("http_port".into(), Some("8080".into())), ("zk".into(), None)],
        info: InfoConfig::default(),
        grace: Duration::from_secs(5),
    }
}
