//! Commands, their environment and files, as Mesos runs them.

use std::collections::BTreeMap;

use marathon_mesos_v1 as v1;
use marathon_model::app::{CheckCommand, Fetch};
use marathon_model::offer::Command;

use crate::config::Secrets;

/// Everything about one program that is started.
pub struct Program<'a> {
    pub command: &'a Command,
    /// The arguments go to the entry point of an image.
    pub image: bool,
    /// It runs in Docker's own engine.
    pub docker: bool,
    pub env: &'a BTreeMap<String, String>,
    /// Variable to the source of its secret.
    pub secret_env: &'a BTreeMap<String, String>,
    pub fetch: &'a [Fetch],
    pub user: Option<&'a str>,
}

impl Program<'_> {
    pub fn info(&self, secrets: &Secrets) -> Result<v1::CommandInfo, String> {
        let (shell, value, arguments) = match self.command {
            Command::Shell(line) => (true, Some(line.clone()), Vec::new()),
            Command::Args(args) if self.image => (false, None, args.clone()),
            Command::Args(args) => (false, args.first().cloned(), args.clone()),
            Command::Image => (false, None, Vec::new()),
        };
        Ok(v1::CommandInfo {
            uris: self.fetch.iter().map(uri).collect(),
            environment: Some(self.environment(secrets)?),
            shell: Some(shell),
            value,
            arguments,
            user: self.user.map(str::to_owned),
        })
    }

    fn environment(&self, secrets: &Secrets) -> Result<v1::Environment, String> {
        let given = |name: &str, value: String| v1::EnvironmentVariable {
            name: name.to_owned(),
            value: Some(value),
            ..Default::default()
        };
        let mut variables: Vec<v1::EnvironmentVariable> =
            Vec::with_capacity(self.env.len() + self.secret_env.len());
        variables.extend(self.env.iter().map(|(name, value)| given(name, value.clone())));
        for (name, source) in self.secret_env {
            variables.push(match secrets.text(source).transpose()? {
                // An agent puts no secret into the environment of a Docker container: the variable would be empty.
                Some(value) if self.docker => given(name, value),
                Some(value) => secret(name, Secrets::value(value)),
                None => secret(name, secrets.info(source)?),
            });
        }
        Ok(v1::Environment { variables })
    }
}

fn secret(name: &str, secret: v1::Secret) -> v1::EnvironmentVariable {
    v1::EnvironmentVariable {
        name: name.to_owned(),
        r#type: Some(v1::EnvironmentVariableType::SECRET as i32),
        secret: Some(secret),
        ..Default::default()
    }
}

fn uri(it: &Fetch) -> v1::CommandInfoUri {
    v1::CommandInfoUri {
        value: it.uri.clone(),
        executable: Some(it.executable),
        extract: Some(it.extract),
        cache: Some(it.cache),
        output_file: it.dest_path.clone(),
    }
}

/// The command of a check.
pub fn of_check(it: &CheckCommand) -> v1::CommandInfo {
    match it {
        CheckCommand::Shell(line) => {
            v1::CommandInfo { shell: Some(true), value: Some(line.clone()), ..Default::default() }
        }
        CheckCommand::Argv(args) => v1::CommandInfo {
            shell: Some(false),
            value: args.first().cloned(),
            arguments: args.clone(),
            ..Default::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_variables() {
        let values = || {
            Secrets::values(|source| match source {
                "db" => Ok(b"s3cret\n".to_vec()),
                "raw" => Ok(vec![0xff]),
                _ => Err("no such file".to_owned()),
            })
        };
        let reference = r#"{"type":"REFERENCE","reference":{"name":"db"}}"#;
        let names = format!(r#"{{"name":"P","type":"SECRET","secret":{reference}}}"#);
        for (source, docker, secrets, want) in [
            ("db", false, Secrets::default(), names.as_str()),
            ("db", true, Secrets::default(), names.as_str()),
            (
                "db",
                false,
                values(),
                r#"{"name":"P","type":"SECRET","secret":{"type":"VALUE","value":{"data":"czNjcmV0"}}}"#,
            ),
            ("db", true, values(), r#"{"name":"P","value":"s3cret"}"#),
            ("raw", true, values(), "the secret `raw` is no text, as a variable must be"),
            ("x", false, values(), "the secret `x` is not to be had: no such file"),
        ] {
            let (env, secret_env) = (BTreeMap::new(), BTreeMap::from([("P".to_owned(), source.to_owned())]));
            let command = Command::Image;
            let program = Program {
                command: &command,
                image: true,
                docker,
                env: &env,
                secret_env: &secret_env,
                fetch: &[],
                user: None,
            };
            let got = match program.info(&secrets) {
                Ok(info) => {
                    serde_json::to_value(&info.environment.expect("some").variables[0]).expect("plain data")
                }
                Err(why) => why.into(),
            };
            let want = serde_json::from_str(want).unwrap_or_else(|_| serde_json::Value::from(want));
            assert_eq!(got, want, "{source} {docker}");
        }
    }
}
