//! The command line as a user types it.

mod original;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use marathon_flags::{Config, FLAGS, FlagError, Machine, Parsed, docs, parse};

fn machine() -> Machine {
    Machine {
        hostname: "box".into(),
        user: "ann".into(),
        is_root: false,
        home: Some("/home/ann".into()),
        state_home: None,
    }
}

/// `vars` and `args` are separated by blanks; `''` stands for an empty text.
fn config_on(machine: &Machine, vars: &str, args: &str) -> Result<Config, FlagError> {
    let words = |text: &str| text.split_whitespace().map(|it| it.replace("''", "")).collect::<Vec<_>>();
    let vars = words(vars).into_iter().map(|it| {
        let (name, value) = it.split_once('=').expect("NAME=value");
        (OsString::from(name), OsString::from(value))
    });
    match parse(words(args).into_iter().map(OsString::from), vars)? {
        Parsed::Run(flags) => Config::new(&flags, machine),
        other => panic!("{other:?}"),
    }
}

fn config(vars: &str, args: &str) -> Result<Config, FlagError> {
    config_on(&machine(), vars, args)
}

#[track_caller]
fn ok(vars: &str, args: &str) -> Config {
    match config(vars, args) {
        Ok(config) => config,
        Err(error) => panic!("{vars} {args}: {error}"),
    }
}

/// The message must hold every one of `words`.
#[track_caller]
fn refused(vars: &str, args: &str, words: &[&str]) {
    match config(vars, args) {
        Ok(_) => panic!("{vars} {args}: accepted"),
        Err(error) => {
            let text = error.to_string();
            for word in words {
                assert!(text.contains(word), "{vars} {args}: {text:?} lacks {word:?}");
            }
        }
    }
}

#[test]
fn every_flag_of_the_original_has_a_row() {
    let missing: Vec<&str> = original::ORIGINAL.iter().copied().filter(|it| !has_row(it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    fn has_row(name: &str) -> bool {
        FLAGS.iter().any(|it| it.name == name || name.strip_prefix("disable_") == Some(it.name))
    }
}

#[test]
fn names_are_unique_and_defaults_pass_their_own_check() {
    let mut names: Vec<&str> = FLAGS.iter().map(|it| it.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|it| it[0] != it[1]));
    for flag in FLAGS {
        if let marathon_flags::table::Preset::Is(text) = flag.default {
            assert_eq!(flag.check(text), Ok(()), "{}", flag.name);
        }
    }
}

#[test]
fn the_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/flags.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, docs::markdown()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == docs::markdown(), "docs/flags.md lags behind: run BLESS=1 cargo test -p marathon-flags");
}

/// The seed table is binding: every default and every example.
#[test]
fn the_seed_table() {
    let c = ok("", "--master local");
    assert!(c.checkpoint);
    assert_eq!(c.failover_timeout, Duration::from_secs(604_800));
    assert_eq!(c.hostname, "box");
    assert_eq!((&*c.mesos_role, &c.default_accepted_resource_roles), ("*", &None));
    assert_eq!(c.task_launch_timeout, Duration::from_secs(300));
    assert_eq!((&c.zk, &c.http_address, c.http_port), (&None, &None, 8080));
    assert_eq!((&c.http_credentials, c.http_max_concurrent_requests), (&None, None));
    let c = ok(
        "",
        "--master zk://a:2181/mesos --zk=zk://host1:1,host2:2,host3:3/path --checkpoint --failover_timeout=86400 \
         --hostname=192.168.1.101 --mesos_role=marathon --default_accepted_resource_roles=marathon \
         --task_launch_timeout=1800000 --event_subscriber=http_callback --http_address=192.168.1.101 \
         --http_credentials=admin:adminpass --http_port=80 --http_max_concurrent_requests=100",
    );
    assert_eq!(c.failover_timeout, Duration::from_secs(86_400));
    assert_eq!((&*c.hostname, &*c.mesos_role), ("192.168.1.101", "marathon"));
    assert_eq!(c.default_accepted_resource_roles, Some(vec!["marathon".into()]));
    assert_eq!(c.task_launch_timeout, Duration::from_secs(1800));
    assert_eq!((c.http_address.as_deref(), c.http_port), (Some("192.168.1.101"), 80));
    assert_eq!(c.http_credentials, Some(("admin".into(), "adminpass".into())));
    assert_eq!(c.http_max_concurrent_requests, Some(100));
    assert_eq!(c.zk.as_deref(), Some("zk://host1:1,host2:2,host3:3/path"));
}

#[test]
fn both_forms_and_the_environment() {
    for (vars, args, port) in [
        ("", "--master local --http_port 81", 81),
        ("", "--master=local --http_port=81", 81),
        ("MARATHON_MASTER=local MARATHON_HTTP_PORT=82", "", 82),
        ("MARATHON_HTTP_PORT=9090", "--master local --http_port 80", 80),
        // What the command line overrides is not even looked at.
        ("MARATHON_HTTP_PORT=x", "--master local --http_port 80", 80),
        ("MARATHON_HTTP_PORT=9090", "--master local", 9090),
        ("", "-Dfoo=bar -J-Xmx1g --jvm-debug 5005 --master local --http_port 83 --", 83),
    ] {
        assert_eq!(ok(vars, args).http_port, port, "{vars} {args}");
    }
}

#[test]
fn toggles() {
    for (vars, args, want) in [
        ("", "--checkpoint", true),
        ("", "--disable_checkpoint", false),
        ("MARATHON_CHECKPOINT=", "", true),
        ("MARATHON_DISABLE_CHECKPOINT=", "", false),
        ("MARATHON_DISABLE_CHECKPOINT=", "--checkpoint", true),
        ("MARATHON_CHECKPOINT=", "--disable_checkpoint", false),
        ("MARATHON_CHECKPOINT=false", "", false),
        ("MARATHON_CHECKPOINT=0", "", false),
        ("MARATHON_DISABLE_CHECKPOINT=TRUE", "", false),
        ("MARATHON_DISABLE_CHECKPOINT=false", "", true),
    ] {
        assert_eq!(ok(vars, &format!("--master local {args}")).checkpoint, want, "{vars} {args}");
    }
    refused("MARATHON_CHECKPOINT= MARATHON_DISABLE_CHECKPOINT=", "--master local", &["checkpoint"]);
    refused("MARATHON_CHECKPOINT=maybe", "--master local", &["MARATHON_CHECKPOINT", "maybe"]);
    refused("", "--master local --checkpoint --disable_checkpoint", &["checkpoint"]);
    refused("", "--master local --checkpoint --checkpoint", &["checkpoint", "more than once"]);
    refused("", "--master local --checkpoint=true", &["checkpoint", "true"]);
    refused("", "--master local --checkpoint true", &["true"]);
    refused("", "--master local --disable_http_port", &["disable_http_port"]);
}

#[test]
fn bad_command_lines_name_flag_and_value() {
    for (args, words) in [
        ("", &["Required option 'master' not found", "--master local"][..]),
        ("--master local --nonsense 3", &["Unknown option '--nonsense'"]),
        ("--master local --http_prot 3", &["--http_prot", "did you mean '--http_port'"]),
        ("--master local --http-port 3", &["--http-port", "--http_port"]),
        ("--master local --http_port", &["http_port", "needs a value"]),
        ("--master local --http_port --checkpoint", &["http_port", "needs a value"]),
        ("--master local --http_port x", &["http_port", "'x'"]),
        ("--master local --http_port -1", &["http_port", "'-1'"]),
        ("--master local --http_port 65536", &["http_port", "'65536'"]),
        ("--master local --http_port ''", &["http_port"]),
        ("--master local --http_port 1 --http_port 1", &["http_port", "more than once"]),
        ("--master local --failover_timeout 1.5", &["failover_timeout", "1.5"]),
        ("--master local --failover_timeout -1", &["failover_timeout", "-1"]),
        ("--master local --failover_timeout 99999999999999999999", &["failover_timeout"]),
        (
            "--master local --task_reservation_timeout 0",
            &["task_reservation_timeout", "'0'", "at least 1000"],
        ),
        ("--master local stray", &["stray"]),
        ("--master local -- stray", &["stray"]),
        ("--master local -x", &["-x"]),
        ("--master ''", &["master"]),
        ("--master zk:///mesos", &["master", "zk:///mesos"]),
        ("--master local --http_credentials admin", &["http_credentials", "user:password"]),
        (
            "--master local --default_accepted_resource_roles prod",
            &["default_accepted_resource_roles", "prod"],
        ),
        ("--master local --mesos_role dev --default_accepted_resource_roles *,prod", &["prod", "'dev', '*'"]),
        ("--master local --default_accepted_resource_roles ,", &["default_accepted_resource_roles", "empty"]),
        ("--master local --ssl_keystore_path /k", &["ssl_keystore_path", "ssl_keystore_password"]),
        ("--master local --disable_http", &["Neither HTTP nor HTTPS", "disable_http"]),
        ("--master local --plugin_dir /p", &["plugin_dir", "plugin_conf"]),
        ("--master local --plugin_dir /p --plugin_conf /c", &["plugin_dir", "plugin_conf", "JVM"]),
        ("--master local --mesos_authentication", &["mesos_authentication_principal"]),
        ("--master local --enable_features vips,warp", &["enable_features", "warp"]),
        ("--master local --gpu_scheduling_behavior undefined", &["gpu_scheduling_behavior", "undefined"]),
        ("--master local --new_group_enforce_role x", &["new_group_enforce_role", "off, top"]),
        ("--master local --logging_level loud", &["logging_level", "loud"]),
        ("--master local --local_port_min 2 --local_port_max 1", &["local_port_min", "local_port_max"]),
        ("--master local --internal_store_backend zk", &["internal_store_backend", "'zk'"]),
        ("--master local --internal_store_backend disk", &["internal_store_backend", "disk"]),
        ("--master local --metrics_statsd", &["metrics_statsd_host"]),
        ("--master local --group_versions_cache_size 100", &["group_versions_cache_size", "100"]),
        ("--master local --local_resources cpus", &["local_resources", "cpus"]),
        ("--master local --logstash http://x", &["logstash", "udp://"]),
        ("--master local --zk_session_timeout 0", &["zk_session_timeout", "at least 1"]),
    ] {
        refused("", args, words);
    }
}

#[test]
fn zookeeper_addresses() {
    for good in [
        "zk://host:2181/a",
        "zk://a:1,b:2,c.d-e_f:3/m/n",
        "zk://host/a",
        "zk://u:p@host:2181/a",
        "zk://u:p/q@h:1/a",
        "zk://u:p@q@h:1/a",
        "zk://host:2181/a/",
        "zk://[::1]:2181,[fe80::1],h/a",
    ] {
        assert_eq!(ok("", &format!("--master local --zk {good}")).zk.as_deref(), Some(good));
    }
    for bad in [
        "zk://host:2181",
        "zk://host:2181/",
        "zk:///path",
        "http://host/path",
        "zk://host:2181/a//",
        "zk://host:x/a",
        "zk://host:99999/a",
        "zk://a:1,,b:2/p",
        "zk://u@host:1/a",
        "zk://u:p@a:1,u:p@b:1/p",
        "ZK://host:1/a",
        "zk://::1/a",
        "zk://[h]:2181/a",
        "zk://[::1]2181/a",
    ] {
        refused("", &format!("--master local --zk {bad}"), &["zk"]);
    }
}

#[test]
fn variables_that_are_not_ours() {
    let c = ok(
        "MARATHON_APP_ID=/x MARATHON_APP_VERSION=1 MARATHON_APP_LABELS= LIBPROCESS_IP=1.2.3.4 MESOS_x=1 JAVA_OPTS=-Xmx1g",
        "--master local",
    );
    assert_eq!(c.warnings, Vec::<String>::new());
    let c = ok("MARATHON_CONTAINER_ID=1 MARATHON_http_port=1 MARATHON_KILLSPERBATCH=1", "--master local");
    assert_eq!(c.warnings.len(), 3, "{:?}", c.warnings);
    assert!(c.warnings[0].contains("MARATHON_CONTAINER_ID"));
}

#[test]
fn stand_in_variables_come_last() {
    for (vars, args, user) in [
        ("MESOSPHERE_HTTP_CREDENTIALS=a:1", "", "a"),
        ("MESOSPHERE_HTTP_CREDENTIALS=a:1 MARATHON_HTTP_CREDENTIALS=b:1", "", "b"),
        ("MESOSPHERE_HTTP_CREDENTIALS=a:1 MARATHON_HTTP_CREDENTIALS=b:1", "--http_credentials c:1", "c"),
    ] {
        let c = ok(vars, &format!("--master local {args}"));
        assert_eq!(c.http_credentials.unwrap().0, user);
    }
    refused("MESOSPHERE_KEYSTORE_PATH=/k", "--master local", &["ssl_keystore_password"]);
}

#[test]
fn flags_of_old_releases_start_with_a_warning() {
    for args in [
        "--zk_hosts a:1",
        "--reporter_graphite tcp://h:1",
        "--disable_revive_offers_for_new_apps",
        "--enable_metrics",
        "--marathon_store_timeout 3",
        "--killsPerBatch 3",
        "--disable_metrics",
        "--disable_tracing",
        "--max_tasks_per_offer 3",
    ] {
        let c = ok("", &format!("--master local {args}"));
        assert_eq!(c.warnings.len(), 1, "{args}: {:?}", c.warnings);
        let name = args.split(' ').next().unwrap().trim_start_matches("--").trim_start_matches("disable_");
        assert!(c.warnings[0].contains(name), "{:?}", c.warnings);
    }
}

#[test]
fn every_row_can_be_given_by_name_and_by_variable() {
    use marathon_flags::table::{Kind, Preset, Type};
    for flag in FLAGS {
        let value = match (flag.kind, flag.default) {
            (Kind::Toggle | Kind::Switch, _) => None,
            (_, Preset::Is(text)) => Some(text.to_owned()),
            (Kind::Value(Type::Form("MASTER", _)), _) => Some("local".to_owned()),
            (Kind::Value(kind), _) => {
                let tries = [
                    "7",
                    "u:p",
                    "zk://h:1/p",
                    "http://h",
                    "file:///f",
                    "udp://h:1",
                    "cpus:1",
                    "vips",
                    "http_callback",
                    "app_c",
                    "mem",
                    "rack:r1",
                    "net",
                ];
                let fits = tries.iter().find(|it| flag.check(it).is_ok());
                Some(fits.unwrap_or_else(|| panic!("{} {kind:?}", flag.name)).to_string())
            }
        };
        let run = |vars: Vec<(String, String)>, args: Vec<String>| {
            let vars = vars.into_iter().map(|(a, b)| (OsString::from(a), OsString::from(b)));
            match parse(args.into_iter().map(OsString::from), vars) {
                Ok(Parsed::Run(flags)) => flags.text(flag.name).map(str::to_owned),
                other => panic!("{}: {other:?}", flag.name),
            }
        };
        let want = value.clone().unwrap_or("on".to_owned());
        let args = [Some(format!("--{}", flag.name)), value.clone()].into_iter().flatten().collect();
        assert_eq!(run(vec![], args), Some(want.clone()));
        if let (Some(variable), false) = (flag.variable(), flag.name.starts_with("app_")) {
            assert_eq!(run(vec![(variable, value.unwrap_or_default())], vec![]), Some(want));
        }
    }
}

#[test]
fn secrets_are_never_shown() {
    let secret = "Sesam1";
    let c = ok(
        "",
        "--master zk://u:Sesam1@h:1/mesos --zk zk://u:Sesam1@h:1/p --http_credentials u:Sesam1 \
         --metrics_datadog_api_key Sesam1 --mesos_authentication_secret Sesam1 --sentry http://Sesam1@h/1",
    );
    let shown = format!(
        "{:?} {:?} {} {:?} {:?}",
        c.given,
        c.warnings,
        c.shown_master(),
        c.shown_zk(),
        c.unsupported()
    );
    assert!(!shown.contains(secret), "{shown}");
    assert!(shown.contains("zk://xxxxxxxx:xxxxxxxx@h:1/p"));
    for args in
        ["--http_credentials Sesam1", "--zk zk://u:Sesam1@h:1", "--checkpoint=1 --zk zk://u:Sesam1@h:1"]
    {
        let text = config("", &format!("--master local {args}")).unwrap_err().to_string();
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn what_this_build_cannot_do_is_said() {
    let args = "--master local --ssl_keystore_path /k --ssl_keystore_password x";
    let text = ok("", args).unsupported().unwrap_or_default();
    assert!(text.contains("--ssl_keystore_path /k"), "{text}");
    for master in ["local", "h:5050", "zk://h:1/mesos", "https://h:5050"] {
        assert_eq!(ok("", &format!("--master {master}")).unsupported(), None);
    }
}

#[test]
fn secrets_have_one_source() {
    let c = ok("", "--master local --secret_command /bin/tell");
    assert_eq!((c.secret_command, c.secret_dir), (Some("/bin/tell".into()), None));
    let text =
        config("", "--master local --secret_command /bin/tell --secret_dir /s").unwrap_err().to_string();
    assert!(text.contains("'secret_dir' and 'secret_command' exclude each other"), "{text}");
}

#[test]
fn credentials_split_at_the_first_colon() {
    let c = ok("", "--master local --http_credentials ann:a:b");
    assert_eq!(c.http_credentials, Some(("ann".into(), "a:b".into())));
}

#[test]
fn where_the_state_lies() {
    let at = |machine: &Machine, args: &str| {
        config_on(machine, "", &format!("--master local {args}")).map(|it| it.data_dir)
    };
    let ann = machine();
    assert_eq!(at(&ann, ""), Ok("/home/ann/.local/state/marathon".into()));
    assert_eq!(at(&ann, "--data_dir /d"), Ok(PathBuf::from("/d")));
    assert_eq!(at(&Machine { is_root: true, ..ann.clone() }, ""), Ok("/var/lib/marathon".into()));
    assert_eq!(at(&Machine { state_home: Some("/s".into()), ..ann.clone() }, ""), Ok("/s/marathon".into()));
    assert!(at(&Machine { home: None, ..ann }, "").is_err());
}

#[test]
fn help_and_version() {
    for (args, want) in [
        (&["--help"][..], Parsed::Help),
        (&["-h"], Parsed::Help),
        (&["--master", "local", "--help"], Parsed::Help),
        (&["--version"], Parsed::Version),
    ] {
        assert_eq!(parse(args.iter().map(OsString::from), []), Ok(want));
    }
    let help = docs::help();
    for word in ["--master MASTER", "--[disable_]checkpoint", "[604800 s]", "--data_dir PATH"] {
        assert!(help.contains(word), "{word}");
    }
    assert!(!help.contains("zk_hosts"));
}

#[cfg(unix)]
#[test]
fn texts_that_are_no_text() {
    use std::os::unix::ffi::OsStringExt;
    let odd = || OsString::from_vec(vec![b'-', b'-', 0xff]);
    assert!(parse([odd()], []).is_err());
    assert!(parse([], [("MARATHON_MASTER".into(), odd())]).is_err());
    assert!(parse([], [(odd(), odd()), ("PATH".into(), odd())]).is_ok());
}

mod forms {
    use marathon_flags::resources::{parse_attributes, parse_resources};

    #[test]
    fn resources() {
        for (text, want) in [
            ("", "[]"),
            ("cpus:4;mem:8192", r#"[("*", Cpus(4)), ("*", Mem(8192))]"#),
            (" cpus(prod):2.5 ; ", r#"[("prod", Cpus(2.5))]"#),
            ("cpus:1;cpus(p):2", r#"[("*", Cpus(1)), ("p", Cpus(2))]"#),
            ("gpus:1;disk:5", r#"[("*", Gpus(1)), ("*", Disk(5))]"#),
            (
                "ports:[31000-32000,1-2]",
                r#"[("*", Ports([PortRange { first: 1, last: 2 }, PortRange { first: 31000, last: 32000 }]))]"#,
            ),
            ("bees:3", r#"[("*", Other("bees", 3))]"#),
        ] {
            let got: Vec<_> =
                parse_resources(text).unwrap().into_iter().map(|it| (it.role, it.amount)).collect();
            assert_eq!(format!("{got:?}"), want, "{text}");
        }
        for text in [
            "cpus",
            "cpus:x",
            "cpus:-1",
            "cpus:NaN",
            "cpus:inf",
            "cpus:1e300",
            "gpus:0.5",
            "ports:1",
            "ports:[2-1]",
            "ports:[0-1]",
            "ports:[1-70000]",
            "ports:[1-3,2-5]",
            "cpus(:1",
            "cpus():1",
            ":1",
            "cpus:1;cpus:2",
        ] {
            assert!(parse_resources(text).is_err(), "{text}");
        }
    }

    #[test]
    fn attributes() {
        let got = parse_attributes("rack:r1;level:3;range:[1-5];set:{a,b};url:http://x").unwrap();
        assert_eq!(
            format!("{got:?}"),
            r#"{"level": Scalar(3.0), "rack": Text("r1"), "range": Ranges([(1, 5)]), "set": Set(["a", "b"]), "url": Text("http://x")}"#
        );
        for text in ["rack", "rack:", ":x", "a:1;a:2", "a:[1"] {
            assert!(parse_attributes(text).is_err(), "{text}");
        }
    }
}
