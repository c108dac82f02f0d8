"""Calls everything in marathon-python 0.13, unchanged, against a running server: `marathon_python.py URL`.

Each line is one call and what it must have done. The first failure ends the run with a trace.
"""
import collections
import collections.abc
import sys
import threading
import time

# The client writes JSON through a name that Python 3.10 removed; this gives it back.
collections.Iterable = collections.abc.Iterable

from marathon import MarathonApp, MarathonClient  # noqa: E402
from marathon.exceptions import ConflictError, MarathonHttpError, NotFoundError  # noqa: E402
from marathon.models import MarathonConstraint, MarathonDeployment, MarathonGroup, MarathonHealthCheck  # noqa: E402
from marathon.models.app import MarathonUnreachableStrategy, MarathonUpgradeStrategy, PortDefinition  # noqa: E402
from marathon.models.container import MarathonContainer, MarathonContainerVolume  # noqa: E402
from marathon.models.events import EventFactory, MarathonDeploymentSuccess, MarathonStatusUpdateEvent  # noqa: E402

URL = sys.argv[1]
PATIENCE = 60
client = MarathonClient(URL, timeout=PATIENCE)


def wait(what, condition):
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE:
            raise AssertionError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.05)


def idle():
    wait("deployments end", lambda: client.list_deployments() == [])


def running(app):
    return sum(it.state == "TASK_RUNNING" for it in client.list_tasks(app))


def same(left, right):
    assert left == right, f"{left!r} is not {right!r}"


def refused(kind, call, *args, **named):
    try:
        call(*args, **named)
    except kind as error:
        return error
    raise AssertionError(f"{call.__name__}{args} is not refused")


def survives_a_round_trip(app):
    """What the server answered, written by the client and read again, is the same, in both forms."""
    import json
    for minimal in (True, False):
        again = MarathonApp.from_json(json.loads(app.to_json(minimal=minimal)))
        same(json.loads(again.to_json(minimal=minimal)), json.loads(app.to_json(minimal=minimal)))


class Listener(threading.Thread):
    """Reads the event stream until the server ends it; an event that the client cannot read is an error."""

    def __init__(self, event_types=None):
        super().__init__(daemon=True)
        self.seen, self.error = [], None
        self.stream = MarathonClient(URL).event_stream(event_types=event_types)
        self.start()

    def run(self):
        try:
            for event in self.stream:
                self.seen.append(event)
        except Exception as error:  # noqa: BLE001
            self.error = error

    def names(self):
        assert self.error is None, repr(self.error)
        return {it.event_type for it in self.seen}


def web(instances=1, **more):
    return MarathonApp(cmd="exec python3 -m http.server $PORT0", instances=instances, cpus=0.1, mem=32, **more)


def sleeper(instances=1, **more):
    return MarathonApp(cmd="sleep 1000", instances=instances, cpus=0.1, mem=16, **more)


def server():
    assert b"pong" in client.ping()
    info = client.get_info()
    same(info.name, "marathon")
    assert info.elected and info.leader and info.framework_id and info.version
    assert info.marathon_config.local_port_min and info.http_config.http_port
    same(client.get_leader()["leader"], info.leader)
    metrics = client.get_metrics()
    assert metrics["counters"] and metrics["gauges"], metrics.keys()


def apps():
    checked = web(
        2,
        labels={"tier": "front"},
        env={"KEY": "value"},
        health_checks=[
            MarathonHealthCheck(protocol="HTTP", path="/", port_index=0, grace_period_seconds=60,
                                interval_seconds=1, timeout_seconds=5, max_consecutive_failures=3),
            MarathonHealthCheck(protocol="COMMAND", command="true", grace_period_seconds=60, interval_seconds=1,
                                timeout_seconds=5, max_consecutive_failures=3),
        ],
        constraints=[MarathonConstraint("hostname", "LIKE", ".*"), ("hostname", "GROUP_BY")],
        port_definitions=[PortDefinition(port=0, protocol="tcp", name="http", labels={"VIP_0": "/web:80"})],
        upgrade_strategy=MarathonUpgradeStrategy(minimum_health_capacity=0.5, maximum_over_capacity=1.0),
        unreachable_strategy=MarathonUnreachableStrategy(inactive_after_seconds=60, expunge_after_seconds=120),
        kill_selection="OLDEST_FIRST",
        accepted_resource_roles=["*"],
        max_launch_delay_seconds=60, backoff_seconds=1, backoff_factor=1.5,
    )
    created = client.create_app("/py/web", checked)
    same((created.id, created.instances, created.labels), ("/py/web", 2, {"tier": "front"}))
    assert isinstance(created.deployments[0], MarathonDeployment)
    refused(ConflictError, client.create_app, "/py/web", web())
    idle()
    app = client.get_app("/py/web")
    same((app.tasks_running, app.tasks_healthy, app.tasks_unhealthy, app.tasks_staged), (2, 2, 0, 0))
    same([it.json_repr() for it in app.constraints], [["hostname", "LIKE", ".*"], ["hostname", "GROUP_BY"]])
    same([it.protocol for it in app.health_checks], ["HTTP", "COMMAND"])
    same(app.port_definitions[0].labels, {"VIP_0": "/web:80"})
    same((app.env, app.kill_selection, len(app.tasks)), ({"KEY": "value"}, "OLDEST_FIRST", 2))
    assert all(check.alive for task in app.tasks for check in task.health_check_results)
    survives_a_round_trip(app)
    full = client.get_app("/py/web", embed_tasks=True, embed_counts=True, embed_deployments=True, embed_readiness=True,
                          embed_last_task_failure=True, embed_failures=True, embed_task_stats=True)
    same(full.task_stats.total_summary.stats.counts.running, 2)
    survives_a_round_trip(full)

    same(client.create_app("/py/sleep", sleeper(labels={"tier": "back"})).id, "/py/sleep")
    idle()
    ids = lambda **named: sorted(it.id for it in client.list_apps(**named))  # noqa: E731
    same(ids(), ["/py/sleep", "/py/web"])
    same(ids(cmd="sleep"), ["/py/sleep"])
    same(ids(app_id="web"), ["/py/web"])
    same(ids(label="tier==front"), ["/py/web"])
    same(ids(label="tier"), ["/py/sleep", "/py/web"])
    same(ids(instances=1), ["/py/sleep"])
    for app in client.list_apps(embed_tasks=True, embed_counts=True, embed_deployments=True, embed_readiness=True,
                                embed_last_task_failure=True, embed_failures=True, embed_task_stats=True):
        assert app.tasks and app.tasks_running and app.task_stats
        survives_a_round_trip(app)

    # What was read can be sent back, whole, and changes nothing.
    before = sorted(it.id for it in client.list_tasks("/py/web"))
    for minimal in (True, False):
        assert client.update_app("/py/web", client.get_app("/py/web"), minimal=minimal)["deploymentId"]
        idle()
        same(sorted(it.id for it in client.list_tasks("/py/web")), before)

    first = client.get_app("/py/sleep").version
    same(client.list_versions("/py/sleep"), [first])
    answer = client.update_app("/py/sleep", MarathonApp(cmd="sleep 2000"))
    assert answer["deploymentId"] and answer["version"]
    idle()
    same(client.get_app("/py/sleep").cmd, "sleep 2000")
    assert first in client.list_versions("/py/sleep")
    same(client.get_version("/py/sleep", first).cmd, "sleep 1000")
    client.rollback_app("/py/sleep", first)
    idle()
    same(client.get_app("/py/sleep").cmd, "sleep 1000")
    client.update_apps([MarathonApp(id="/py/sleep", instances=2), MarathonApp(id="/py/web", mem=33)])
    idle()
    same((running("/py/sleep"), client.get_app("/py/web").mem), (2, 33))
    client.scale_app("/py/sleep", delta=1)
    idle()
    same(running("/py/sleep"), 3)
    client.scale_app("/py/sleep", instances=1)
    idle()
    same(running("/py/sleep"), 1)
    before = client.list_tasks("/py/sleep")[0].id
    assert client.restart_app("/py/sleep")["deploymentId"]
    idle()
    assert client.list_tasks("/py/sleep")[0].id != before
    refused(NotFoundError, client.get_app, "/py/nothing")
    same(client.scale_app("/py/nothing", instances=1), None)
    error = refused(MarathonHttpError, client.create_app, "/py/bad", MarathonApp(cmd="true", cpus=-1))
    same(error.status_code, 422)
    assert "cpus" in error.error_details[0]["path"], error.error_details
    assert client.delete_app("/py/web")["deploymentId"]
    idle()
    refused(NotFoundError, client.delete_app, "/py/web")


def tasks():
    client.scale_app("/py/sleep", instances=4)
    idle()
    all_tasks = client.list_tasks()
    same({it.app_id for it in all_tasks}, {"/py/sleep"})
    same(len(client.list_tasks("/py/sleep", host=all_tasks[0].host)), 4)
    assert all(it.started_at and it.staged_at and it.slave_id for it in all_tasks)
    ends = client.list_endpoints()
    same(len(ends), 4)
    assert all(it.task_port and it.host for it in ends)
    one, two, three, four = [it.id for it in all_tasks]
    same(client.kill_task("/py/sleep", one).id, one)
    wait("the killed one is replaced", lambda: running("/py/sleep") == 4 and one not in
         {it.id for it in client.list_tasks("/py/sleep")})
    wait("the killed one is gone", lambda: len(client.list_tasks("/py/sleep")) == 4)
    client.kill_task("/py/sleep", two, scale=True)
    idle()
    same((running("/py/sleep"), client.get_app("/py/sleep").instances), (3, 3))
    same(client.kill_given_tasks([three, four], scale=True), True)
    idle()
    same((running("/py/sleep"), client.get_app("/py/sleep").instances), (1, 1))
    def replaced(old):
        now = client.list_tasks("/py/sleep")
        return len(now) == 1 and now[0].state == "TASK_RUNNING" and now[0].id != old.id

    left = client.list_tasks("/py/sleep")[0]
    same(client.kill_given_tasks([left.id], force=True), True)
    wait("it is replaced", lambda: replaced(left))
    left = client.list_tasks("/py/sleep")[0]
    same([it.id for it in client.kill_tasks("/py/sleep", host=left.host)], [left.id])
    wait("it is replaced", lambda: replaced(left))
    same(client.kill_tasks("/py/sleep", host="nowhere"), [])
    assert client.kill_tasks("/py/sleep", scale=True)["deploymentId"]
    idle()
    same(client.get_app("/py/sleep").instances, 0)
    client.delete_app("/py/sleep")
    idle()


def groups():
    made = client.create_group(MarathonGroup(
        id="/py/shop",
        apps=[sleeper(id="/py/shop/db"), sleeper(id="/py/shop/api", dependencies=["/py/shop/db"])],
        groups=[MarathonGroup(id="/py/shop/cache", apps=[sleeper(id="/py/shop/cache/a")])],
    ))
    assert made["deploymentId"] and made["version"]
    idle()
    first = client.get_group("/py/shop")
    same(sorted(it.id for it in first.apps), ["/py/shop/api", "/py/shop/db"])
    same([it.id for it in first.groups[0].apps], ["/py/shop/cache/a"])
    for app in first.apps:
        survives_a_round_trip(app)
    same([it.id for it in client.list_groups(id="/py")], ["/py"])
    client.scale_group("/py/shop", 2)
    idle()
    same({it.app_id: running(it.app_id) for it in client.list_tasks()},
         {"/py/shop/api": 2, "/py/shop/db": 2, "/py/shop/cache/a": 2})
    changed = client.get_group("/py/shop")
    changed.apps = [it for it in changed.apps if it.id == "/py/shop/db"]
    client.update_group("/py/shop", changed)
    idle()
    same([it.id for it in client.get_group("/py/shop").apps], ["/py/shop/db"])
    client.rollback_group("/py/shop", first.version)
    idle()
    same(len(client.get_group("/py/shop").apps), 2)
    assert client.delete_group("/py/shop")["version"]
    idle()
    refused(NotFoundError, client.get_group, "/py/shop")


def containers():
    """The older form of a container, as the client writes it; it need not be able to run here."""
    client.create_app("/py/box", MarathonApp(
        instances=0, cpus=0.1, mem=32,
        container=MarathonContainer.from_json({"type": "DOCKER", "docker": {
            "image": "busybox", "network": "BRIDGE", "forcePullImage": True,
            "parameters": [{"key": "label", "value": "a=b"}],
            "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10123, "protocol": "tcp", "name": "http",
                              "labels": {"a": "b"}}]},
            "volumes": [{"containerPath": "/etc/a", "hostPath": "/var/a", "mode": "RO"}]}),
    ))
    idle()
    box = client.get_app("/py/box")
    same(box.networks, [{"mode": "container/bridge"}])
    mapping = box.container.port_mappings[0]
    same((mapping.container_port, mapping.service_port, mapping.name, mapping.labels), (80, 10123, "http", {"a": "b"}))
    same((box.container.volumes[0].host_path, box.container.docker.force_pull_image), ("/var/a", True))
    survives_a_round_trip(box)
    # What was read, sent back.
    client.update_app("/py/box", box)
    idle()
    same(client.get_app("/py/box").container, box.container)
    client.create_app("/py/disk", MarathonApp(
        cmd="sleep 1000", instances=1, cpus=0.1, mem=32,
        container=MarathonContainer(type="MESOS", volumes=[
            MarathonContainerVolume(container_path="data", mode="RW", persistent={"type": "root", "size": 10})]),
        residency={"taskLostBehavior": "WAIT_FOREVER", "relaunchEscalationTimeoutSeconds": 60},
    ))
    idle()
    disk = client.get_app("/py/disk")
    same(disk.container.volumes[0].persistent["size"], 10)
    assert disk.tasks[0].local_volumes, "no volume at the task"
    survives_a_round_trip(disk)
    client.update_app("/py/disk", disk)
    idle()
    same([it.id for it in client.list_tasks("/py/disk")], [disk.tasks[0].id])
    client.delete_app("/py/disk")
    client.delete_app("/py/box")
    idle()


def queue_and_deployments():
    client.create_app("/py/huge", MarathonApp(cmd="sleep 1000", instances=1, cpus=100000, mem=16))
    wait("it waits", lambda: len(client.list_queue()) == 1)
    item = client.list_queue(embed_last_unused_offers=True)[0]
    same((item.app.id, item.count, item.delay.overdue), ("/py/huge", 1, True))
    deployment = client.list_deployments()[0]
    same((deployment.affected_apps, deployment.total_steps), (["/py/huge"], 2))
    assert deployment.current_actions[0].action and deployment.steps[0].actions
    same(refused(ConflictError, client.scale_app, "/py/huge", 2).status_code, 409)
    client.scale_app("/py/huge", instances=2, force=True)
    assert client.delete_deployment(client.list_deployments()[0].id)["deploymentId"]
    idle()
    same(client.get_app("/py/huge").instances, 1)
    client.scale_app("/py/huge", instances=3)
    same(client.delete_deployment(client.list_deployments()[0].id, force=True), {})
    idle()
    same(client.get_app("/py/huge").instances, 3)
    client.delete_app("/py/huge", force=True)
    idle()
    client.create_app("/py/broken", MarathonApp(cmd="exit 3", instances=1, cpus=0.1, mem=16, backoff_seconds=3600,
                                                max_launch_delay_seconds=3600))
    wait("it is delayed", lambda: any(not it.delay.overdue for it in client.list_queue()))
    failure = client.get_app("/py/broken").last_task_failure
    same((failure.app_id, failure.state), ("/py/broken", "TASK_FAILED"))
    survives_a_round_trip(client.get_app("/py/broken"))
    assert client.list_queue()[0].delay.time_left_seconds > 3000
    client.reset_delay("/py/broken")
    wait("it was tried again", lambda: client.get_app("/py/broken").last_task_failure.task_id != failure.task_id)
    client.delete_app("/py/broken", force=True)
    idle()


def health():
    """A task that fails its check is killed and replaced."""
    client.create_app("/py/sick", web(health_checks=[
        MarathonHealthCheck(protocol="HTTP", path="/missing", grace_period_seconds=1, interval_seconds=1,
                            timeout_seconds=5, max_consecutive_failures=2)]))
    wait("it was killed for its health", lambda: client.get_app("/py/sick").last_task_failure is not None)
    sick = client.get_app("/py/sick")
    assert sick.last_task_failure.message, sick.last_task_failure
    survives_a_round_trip(sick)
    client.delete_app("/py/sick", force=True)
    idle()


def subscriptions():
    url = "http://127.0.0.1:9/events"
    refused(MarathonHttpError, client.create_event_subscription, "nonsense")
    made = client.create_event_subscription(url)
    same((made["eventType"], made["callbackUrl"]), ("subscribe_event", url))
    same(client.list_event_subscriptions(), [url])
    same(client.delete_event_subscription(url)["eventType"], "unsubscribe_event")
    same(client.list_event_subscriptions(), [])
    same(client.get_info().event_subscriber.type, "http_callback")


everything = Listener()
some = Listener([MarathonDeploymentSuccess, "status_update_event"])
wait("the listeners are attached", lambda: "event_stream_attached" in everything.names())
# Until the second one hears of a change it may not be attached.
client.create_app("/py/first", sleeper(0))
wait("both hear", lambda: some.names() or (client.scale_app("/py/first", 0), False)[1])
client.delete_app("/py/first")
idle()

parts = [server, apps, tasks, groups, containers, queue_and_deployments, health, subscriptions]
for part in parts:
    if len(sys.argv) > 2 and part.__name__ not in sys.argv[2:]:
        continue
    part()
    print(f"{part.__name__}: ok", flush=True)

same(some.names(), {"deployment_success", "status_update_event"})
assert all(isinstance(it, (MarathonDeploymentSuccess, MarathonStatusUpdateEvent)) for it in some.seen)
expected = {
    "api_post_event", "app_terminated_event", "deployment_failed", "deployment_info", "deployment_step_success",
    "deployment_success", "event_stream_attached", "failed_health_check_event", "group_change_success",
    "health_status_changed_event", "instance_changed_event", "instance_health_changed_event", "status_update_event",
    "add_health_check_event", "remove_health_check_event", "unhealthy_instance_kill_event",
    "subscribe_event", "unsubscribe_event",
}


def heard():
    # The client holds back what does not fill 512 bytes, so more has to follow.
    client.create_app("/py/last", sleeper(0))
    client.delete_app("/py/last", force=True)
    return expected <= everything.names()


if len(sys.argv) == 2:
    wait(f"all of {sorted(expected)} heard", heard)
for event in everything.seen:
    assert event.timestamp and event.event_type in EventFactory.event_to_class
print(f"events: ok, {len(everything.seen)} of {len(everything.names())} types")
