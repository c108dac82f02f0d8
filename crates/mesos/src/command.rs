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
            environment: Some(environment(self.env, self.secret_env, secrets)?),
            shell: Some(shell),
            value,
            arguments,
            user: self.user.map(str::to_owned),
        })
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

fn environment(
    env: &BTreeMap<String, String>,
    secret_env: &BTreeMap<String, String>,
    secrets: &Secrets,
) -> Result<v1::Environment, String> {
    let mut variables: Vec<v1::EnvironmentVariable> = Vec::with_capacity(env.len() + secret_env.len());
    for (name, value) in env {
        let value = Some(value.clone());
        variables.push(v1::EnvironmentVariable { name: name.clone(), value, ..Default::default() });
    }
    for (name, source) in secret_env {
        variables.push(v1::EnvironmentVariable {
            name: name.clone(),
            r#type: Some(v1::EnvironmentVariableType::SECRET as i32),
            secret: Some(secrets.info(source)?),
            ..Default::default()
        });
    }
    Ok(v1::Environment { variables })
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
