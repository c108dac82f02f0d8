use std::path::PathBuf;

use marathon_model::app::serde_json_text::JsonText;

use super::*;

fn spec() -> RunSpec {
    RunSpec::new("web.1", "img", PathBuf::from("/box"))
}

fn with(change: impl FnOnce(&mut RunSpec)) -> Value {
    let mut spec = spec();
    change(&mut spec);
    of(&spec).unwrap().json
}

/// Checks what one parameter puts at a place of the request.
fn check(key: &str, value: &str, pointer: &str, wanted: Value) {
    let json = with(|it| it.parameters = vec![(key.to_owned(), value.to_owned())]);
    assert_eq!(json.pointer(pointer), Some(&wanted), "{key}={value}");
}

fn refused(key: &str, value: &str, part: &str) {
    let mut spec = spec();
    spec.parameters = vec![(key.to_owned(), value.to_owned())];
    let message = of(&spec).unwrap_err();
    assert!(message.contains(key) && message.contains(part), "{message}");
}

#[test]
fn parameters_go_where_the_command_line_puts_them() {
    check("hostname", "a.example", "/Hostname", json!("a.example"));
    check("--hostname", "a.example", "/Hostname", json!("a.example"));
    check("h", "a.example", "/Hostname", json!("a.example"));
    check("volume", "/a:/b:ro", "/HostConfig/Binds/1", json!("/a:/b:ro"));
    check("v", "/data", "/Volumes", json!({ "/data": {} }));
    check("add-host", "db:10.0.0.1", "/HostConfig/ExtraHosts", json!(["db:10.0.0.1"]));
    check("dns", "8.8.8.8", "/HostConfig/Dns", json!(["8.8.8.8"]));
    check("dns-search", "example", "/HostConfig/DnsSearch", json!(["example"]));
    check("cap-add", "NET_ADMIN", "/HostConfig/CapAdd", json!(["NET_ADMIN"]));
    check("cap-drop", "ALL", "/HostConfig/CapDrop", json!(["ALL"]));
    check(
        "ulimit",
        "nofile=10:20",
        "/HostConfig/Ulimits/0",
        json!({ "Name": "nofile", "Soft": 10, "Hard": 20 }),
    );
    check("ulimit", "core=unlimited", "/HostConfig/Ulimits/0/Hard", json!(-1));
    check("log-driver", "syslog", "/HostConfig/LogConfig/Type", json!("syslog"));
    check("log-opt", "max-size=1m", "/HostConfig/LogConfig/Config", json!({ "max-size": "1m" }));
    check("memory-swap", "-1", "/HostConfig/MemorySwap", json!(-1));
    check("memory-swap", "1g", "/HostConfig/MemorySwap", json!(1 << 30));
    check("shm-size", "64m", "/HostConfig/ShmSize", json!(64 << 20));
    check("user", "1000:1000", "/User", json!("1000:1000"));
    check("workdir", "/w", "/WorkingDir", json!("/w"));
    check("net-alias", "db", "/NetworkingConfig/EndpointsConfig/bridge/Aliases", json!(["db"]));
    check(
        "ip",
        "10.9.8.7",
        "/NetworkingConfig/EndpointsConfig/bridge/IPAMConfig/IPv4Address",
        json!("10.9.8.7"),
    );
    check("read-only", "true", "/HostConfig/ReadonlyRootfs", json!(true));
    check("tmpfs", "/run:size=1m", "/HostConfig/Tmpfs", json!({ "/run": "size=1m" }));
    check("device", "/dev/kvm", "/HostConfig/Devices/0/PathInContainer", json!("/dev/kvm"));
    check(
        "device",
        "/dev/a:/dev/b:r",
        "/HostConfig/Devices/0",
        json!({
            "PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r",
        }),
    );
    check("security-opt", "seccomp:unconfined", "/HostConfig/SecurityOpt", json!(["seccomp=unconfined"]));
    check("security-opt", "no-new-privileges", "/HostConfig/SecurityOpt", json!(["no-new-privileges"]));
    check(
        "sysctl",
        "net.core.somaxconn=1024",
        "/HostConfig/Sysctls",
        json!({ "net.core.somaxconn": "1024" }),
    );
    check("pid", "host", "/HostConfig/PidMode", json!("host"));
    check("ipc", "host", "/HostConfig/IpcMode", json!("host"));
    check("cpuset-cpus", "0-1", "/HostConfig/CpusetCpus", json!("0-1"));
    check("init", "", "/HostConfig/Init", json!(true));
    check("privileged", "true", "/HostConfig/Privileged", json!(true));
    check("label", "a=b", "/Labels/a", json!("b"));
    check("label", "flag", "/Labels/flag", json!(""));
    check("network", "none", "/HostConfig/NetworkMode", json!("none"));
    check(
        "publish",
        "8080:80",
        "/HostConfig/PortBindings",
        json!({ "80/tcp": [{ "HostIp": "", "HostPort": "8080" }] }),
    );
    check("p", "127.0.0.1:53:53/udp", "/HostConfig/PortBindings/53~1udp/0/HostIp", json!("127.0.0.1"));
    check("p", "[::1]:53:53", "/HostConfig/PortBindings/53~1tcp/0/HostIp", json!("::1"));
    check("publish", "80", "/HostConfig/PortBindings/80~1tcp/0/HostPort", json!(""));
    check("publish", "90-91:80-81", "/HostConfig/PortBindings/81~1tcp/0/HostPort", json!("91"));
    check("publish", "8080:80", "/ExposedPorts", json!({ "80/tcp": {} }));
    check("cpus", "1.5", "/HostConfig/NanoCpus", json!(1_500_000_000));
    check("health-interval", "1m30s", "/Healthcheck/Interval", json!(90_000_000_000_i64));
    check("gpus", "all", "/HostConfig/DeviceRequests/0/Count", json!(-1));
    check(
        "mount",
        "type=bind,source=/a,target=/b,readonly",
        "/HostConfig/Mounts/0",
        json!({
            "Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true,
        }),
    );
}

#[test]
fn parameters_that_cannot_be_are_refused_by_name() {
    refused("hostnam", "x", "not known");
    refused("--no-such", "x", "not known");
    refused("name", "x", "Marathon names");
    refused("restart", "always", "started again by Marathon");
    refused("memory", "lots", "amount");
    refused("ulimit", "nofile", "name=soft");
    refused("publish", "a:b", "container port");
    refused("publish", "1-2:80", "different lengths");
    refused("env", "NAME", "NAME=value");
    refused("read-only", "maybe", "true");
    refused("mount", "type=bind,source=/a", "target");
    refused("ip", "elsewhere", "IP address");
    refused("env-file", "/does/not/exist", "cannot be read");
}

#[test]
fn every_parameter_can_be_given_nonsense() {
    for text in ["", "=", ":", "::::", "a=b=c", "/", "-1", "99999999999999999999", "\0", "é=é:é/é"] {
        for key in [
            "device",
            "env",
            "expose",
            "gpus",
            "ip",
            "label",
            "log-opt",
            "mount",
            "publish",
            "security-opt",
            "tmpfs",
            "ulimit",
            "volume",
            "device-read-bps",
            "cpus",
            "sysctl",
            "network",
            "health-retries",
        ] {
            let mut spec = spec();
            spec.parameters = vec![(key.to_owned(), text.to_owned())];
            let _ = of(&spec);
        }
    }
}

#[test]
fn commands() {
    let command = |command: Command, parameters: &[(&str, &str)]| {
        let json = with(|it| {
            it.command = command;
            it.parameters =
                parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        });
        (json.get("Entrypoint").cloned(), json.get("Cmd").cloned())
    };
    let shell = || Command::Shell("run $PORT".to_owned());
    assert_eq!(command(shell(), &[]), (Some(json!(["/bin/sh"])), Some(json!(["-c", "run $PORT"]))));
    let bash = [("entrypoint", "/bin/bash")];
    assert_eq!(command(shell(), &bash), (Some(json!(["/bin/bash"])), Some(json!(["-c", "run $PORT"]))));
    assert_eq!(command(Command::Args(vec!["a".to_owned()]), &[]), (None, Some(json!(["a"]))));
    assert_eq!(command(Command::Image, &[]), (None, None));
}

#[test]
fn later_variables_win() {
    let json = with(|it| {
        it.env = vec![("A".to_owned(), "1".to_owned()), ("MESOS_SANDBOX".to_owned(), "x".to_owned())];
        it.parameters = vec![("env".to_owned(), "A=2=3".to_owned())];
    });
    assert_eq!(
        json["Env"],
        json!(["A=2=3", "MESOS_CONTAINER_NAME=mesos-web.1", "MESOS_SANDBOX=/mnt/mesos/sandbox"])
    );
}

#[test]
fn ports_are_mapped_unless_the_network_is_the_host() {
    let mapping = |container_port, host_port, protocol| PortMapping {
        container_port,
        host_port,
        service_port: 0,
        protocol,
        name: None,
        labels: Default::default(),
        network_names: Vec::new(),
    };
    let mappings = vec![
        mapping(80, Some(31000), Protocol::Tcp),
        mapping(0, Some(31001), Protocol::UdpTcp),
        mapping(81, None, Protocol::Udp),
    ];
    let on = |network| with(|it| (it.network, it.mappings) = (network, mappings.clone()));
    let bridge = on(TaskNetwork::Bridge);
    let binding = |port: &str| json!([{ "HostIp": "", "HostPort": port }]);
    let wanted =
        json!({ "80/tcp": binding("31000"), "31001/udp": binding("31001"), "31001/tcp": binding("31001") });
    assert_eq!(bridge["HostConfig"]["PortBindings"], wanted);
    assert_eq!(bridge["ExposedPorts"]["81/udp"], json!({}));
    assert_eq!(on(TaskNetwork::Host)["HostConfig"]["PortBindings"], json!({}));
    assert_eq!(on(TaskNetwork::Host)["HostConfig"]["NetworkMode"], json!("host"));
    let named = on(TaskNetwork::Container(vec!["blue".to_owned()]));
    assert_eq!(
        (&named["HostConfig"]["NetworkMode"], &named["HostConfig"]["PortBindings"]),
        (&json!("blue"), &wanted)
    );
}

#[test]
fn limits() {
    let limits = |limits: Limits| with(|it| it.limits = limits)["HostConfig"].clone();
    let some = limits(Limits {
        cpu_shares_milli: 500,
        cpu_quota_milli: Some(250),
        memory_bytes: Some(64 << 20),
        memory_reservation_bytes: None,
    });
    let of = |field: &str| some[field].clone();
    assert_eq!([of("CpuShares"), of("CpuQuota"), of("Memory")], [json!(512), json!(25_000), json!(64 << 20)]);
    let tiny = limits(Limits { cpu_shares_milli: 1, memory_bytes: Some(1), ..Limits::default() });
    assert_eq!((&tiny["CpuShares"], &tiny["Memory"]), (&json!(2), &json!(32 << 20)));
    assert_eq!(limits(Limits::default()).get("Memory"), None);
}

#[test]
fn volumes() {
    let volume = |inside: &str, outside: &str, read_only| Volume {
        container_path: inside.to_owned(),
        read_only,
        source: VolumeSource::Host { host_path: outside.to_owned() },
    };
    let external = Volume {
        container_path: "/ext".to_owned(),
        read_only: false,
        source: VolumeSource::External {
            name: "vol".to_owned(),
            provider: "dvdi".to_owned(),
            size: None,
            options: JsonText(r#"{"dvdi/driver":"rexray"}"#.to_owned()),
            shared: false,
        },
    };
    let list =
        vec![volume("/a", "/etc/a", true), volume("b", "data", false), volume("/c", "/x:y", true), external];
    let json = with(|it| it.volumes = list);
    let binds = ["/box:/mnt/mesos/sandbox:rw", "/etc/a:/a:ro", "/box/data:/mnt/mesos/sandbox/b:rw"];
    assert_eq!(json["HostConfig"]["Binds"], json!(binds));
    assert_eq!(json["HostConfig"]["Mounts"][0]["Source"], json!("/x:y"));
    assert_eq!(json["HostConfig"]["Mounts"][1]["VolumeOptions"]["DriverConfig"]["Name"], json!("rexray"));

    let mut spec = spec();
    let secret = VolumeSource::Secret { secret: "s".to_owned() };
    spec.volumes = vec![Volume { container_path: "/s".to_owned(), read_only: true, source: secret }];
    assert!(of(&spec).unwrap_err().contains("`/s`"));
}

#[test]
fn labels_of_ours_cannot_be_hidden() {
    let json = with(|it| {
        it.owner = "me".to_owned();
        it.parameters = vec![("label".to_owned(), "marathon.owner=you".to_owned())];
    });
    assert_eq!(json["Labels"], json!({ "MESOS_TASK_ID": "web.1", "marathon.owner": "me" }));
}

#[test]
fn containers_of_a_pod_share() {
    let mapping = PortMapping {
        container_port: 80,
        host_port: Some(31000),
        service_port: 0,
        protocol: Protocol::Tcp,
        name: None,
        labels: Default::default(),
        network_names: Vec::new(),
    };
    let json = with(|it| {
        it.network_of = Some("mesos-a".to_owned());
        it.mappings = vec![mapping.clone()];
        it.ipc = Some("container:mesos-a".to_owned());
        it.shm_bytes = Some(1 << 20);
        it.seccomp = Some("unconfined".to_owned());
    });
    for (pointer, wanted) in [
        ("/HostConfig/NetworkMode", json!("container:mesos-a")),
        ("/HostConfig/PortBindings", json!({})),
        ("/ExposedPorts", json!({})),
        ("/HostConfig/IpcMode", json!("container:mesos-a")),
        ("/HostConfig/ShmSize", json!(1 << 20)),
        ("/HostConfig/SecurityOpt", json!(["seccomp=unconfined"])),
    ] {
        assert_eq!(json.pointer(pointer), Some(&wanted), "{pointer}");
    }
}

#[test]
fn an_entry_point_is_replaced_as_a_whole() {
    let json = with(|it| {
        it.command = Command::Args(vec!["/run".to_owned(), "x".to_owned()]);
        it.entrypoint = vec!["/run".to_owned(), "x".to_owned()];
    });
    assert_eq!((json.get("Entrypoint"), json.get("Cmd")), (Some(&json!(["/run", "x"])), None));
}
