//! Health, readiness and informative checks.

use marathon_model::app::*;

use crate::network::port_count;
use crate::report::Report;

const READINESS_JUDGED_MAX: usize = 10;

pub fn judge(spec: &AppSpec, report: &mut Report) {
    health(spec, report);
    informative(spec, report);
    readiness(spec, report);
}

fn is_docker(spec: &AppSpec) -> bool {
    spec.container.as_ref().is_some_and(|it| it.kind == ContainerKind::Docker)
}

fn addresses(spec: &AppSpec, port: CheckPort) -> bool {
    match port {
        CheckPort::Number(_) => true,
        CheckPort::Index(at) => (at as usize) < port_count(&spec.networking),
    }
}

fn health(spec: &AppSpec, report: &mut Report) {
    for (at, check) in spec.health_checks.iter().enumerate() {
        let path = || format!("/healthChecks({at})");
        let port = match &check.kind {
            HealthKind::Http { port, .. } | HealthKind::Tcp { port, .. } => Some(*port),
            HealthKind::Command { .. } => None,
        };
        if port.is_some_and(|it| !addresses(spec, it)) {
            report.add(
                path(),
                "Health check port indices must address an element of the ports array or container port mappings.",
            );
        }
        let knows_ipv6 = port.is_some() && check.by_engine() && is_docker(spec);
        if check.ipv6 && !knows_ipv6 {
            report.add(
                path(),
                "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks",
            );
        }
    }
    // Several COMMAND checks were once accepted, and such apps must stay valid.
    let by_engine = |it: &&HealthCheck| it.by_engine() && !matches!(it.kind, HealthKind::Command { .. });
    if spec.health_checks.iter().filter(by_engine).count() > 1 {
        report.add("/", "AppDefinition can contain at most one Mesos health check");
    }
}

fn informative(spec: &AppSpec, report: &mut Report) {
    let Some(check) = &spec.check else { return };
    if is_docker(spec) {
        report.add("/", "AppDefinition must not use 'checks' if using docker");
    }
    let port = match &check.kind {
        CheckKind::Http { port, .. } | CheckKind::Tcp { port } => Some(*port),
        CheckKind::Exec(_) => None,
    };
    if port.is_some_and(|it| !addresses(spec, it)) {
        report.add(
            "/check",
            "check port index must address an element of the ports array or container port mappings.",
        );
    }
}

fn readiness(spec: &AppSpec, report: &mut Report) {
    let count = spec.readiness_checks.len();
    report
        .require(count <= 1, || ("/readinessChecks".to_owned(), format!("got {count}, expected 1 or less")));
    // Each one searches the ports, and one more than allowed is refused already.
    for (at, check) in spec.readiness_checks.iter().enumerate().take(READINESS_JUDGED_MAX) {
        report.require(spec.port_index(&check.port_name).is_some(), || {
            (
                format!("/readinessChecks({at})/portName"),
                format!("No port definition reference for portName {}", check.port_name),
            )
        });
        report.require(check.timeout < check.interval, || {
            (
                format!("/readinessChecks({at})/timeoutSeconds"),
                format!("got {}, expected less than {}", check.timeout.as_secs(), check.interval.as_secs()),
            )
        });
    }
}
