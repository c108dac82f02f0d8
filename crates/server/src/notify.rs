//! `--leader_notify`: a program that hears when this instance begins or ceases to lead.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;

/// A program that takes longer is ended, so that it cannot keep the next news from being told.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct News {
    leads: bool,
    own: String,
}

/// Tells the newest state; what was overtaken before it could be told is left out.
pub struct Notify(Option<watch::Sender<News>>);

impl Notify {
    /// Must be called within a tokio runtime.
    pub fn new(program: Option<PathBuf>) -> Notify {
        let Some(program) = program else { return Notify(None) };
        let (sender, mut news) = watch::channel(News::default());
        tokio::spawn(async move {
            while news.changed().await.is_ok() {
                let now = news.borrow_and_update().clone();
                run(&program, &now).await;
            }
        });
        Notify(Some(sender))
    }

    pub fn tell(&self, leads: bool, own: &str) {
        if let Some(news) = &self.0 {
            news.send_replace(News { leads, own: own.to_owned() });
        }
    }
}

async fn run(program: &PathBuf, news: &News) {
    let mut command = Command::new(program);
    command
        .arg(if news.leads { "leader" } else { "follower" })
        .env("MARATHON_SELF", &news.own)
        .env("MARATHON_LEADER", if news.leads { news.own.as_str() } else { "" })
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let result = match command.spawn() {
        Ok(mut child) => tokio::time::timeout(LIMIT, child.wait()).await,
        Err(error) => Ok(Err(error)),
    };
    let program = program.display();
    match result {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::warn!(%program, %status, "--leader_notify: the program failed"),
        Ok(Err(error)) => tracing::warn!(%program, %error, "--leader_notify: the program cannot be run"),
        Err(_) => tracing::warn!(%program, "--leader_notify: the program took too long and was ended"),
    }
}
