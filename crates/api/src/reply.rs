//! Bodies of answers to changes.

use marathon_model::app::AppSpec;
use marathon_model::id::DeploymentId;
use marathon_model::time::Timestamp;
use marathon_model::view::Counts;

use crate::app::write_fields;
use crate::info_app::{write_counts, write_deployment_ids};
use crate::json::Json;

/// What every answer that began a deployment says.
pub fn deployment_result(version: Timestamp, deployment: DeploymentId) -> Vec<u8> {
    Json::text(|json| {
        json.object(|json| {
            json.key("version").time(version);
            json.key("deploymentId").shown(deployment);
        });
    })
}

/// The answer to POST `/v2/apps`: the app as accepted, so without the times it gets when it is stored.
pub fn created_app(app: &AppSpec, deployment: DeploymentId) -> Vec<u8> {
    Json::text(|json| {
        json.object(|json| {
            write_fields(json, app, false);
            write_counts(json, Counts::default());
            write_deployment_ids(json, &[deployment]);
        });
    })
}
