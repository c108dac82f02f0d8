//! Volumes: which there are, where they lie, and how a plain process finds them.
//!
//! A process without an image sees the file system of this machine: a link in its sandbox leads to the volume.
//! Without a mount namespace there is no more to it; read-only is then up to the permissions of the files.
//! Containers get bind mounts, see `boxed`.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use marathon_keeper::protocol::Identity;
use marathon_model::app::{Volume, VolumeSource};
use marathon_model::offer::Launch;
use marathon_model::pod::PodVolumeSource;

use crate::archive;
use crate::pod::Start;
use crate::sandbox::Places;
use crate::secrets::{Values, source_of};

/// All volumes of what is started. Those that live and end with a pod lie on this machine like any other.
pub fn of(start: &Start, places: &Places) -> Result<Vec<Volume>, String> {
    let Some(member) = &start.member else {
        let volumes = start.launch.container.iter().flat_map(|it| &it.volumes);
        return volumes.map(|it| on_disk(it, &start.launch, places)).collect();
    };
    let one = |mount: &marathon_model::pod::Mount| {
        let volume = member.pod.volumes.iter().find(|it| it.name == mount.volume);
        let volume = volume
            .ok_or_else(|| format!("Failed to start the task: the pod has no volume '{}'", mount.volume))?;
        let source = match &volume.source {
            PodVolumeSource::Ephemeral => {
                let path = places.pod_volume(&member.pod.task, &volume.name);
                VolumeSource::Host { host_path: path.to_string_lossy().into_owned() }
            }
            PodVolumeSource::Host { path } => VolumeSource::Host { host_path: path.clone() },
            PodVolumeSource::Secret { secret } => VolumeSource::Secret { secret: secret.clone() },
            PodVolumeSource::Persistent { .. } => persistent(&member.pod, &volume.name, places)?,
        };
        Ok(Volume { container_path: mount.path.clone(), read_only: mount.read_only == Some(true), source })
    };
    member.container().mounts.iter().map(one).collect()
}

/// A persistent volume of an app is a folder of this machine, too.
fn on_disk(volume: &Volume, launch: &Launch, places: &Places) -> Result<Volume, String> {
    let VolumeSource::Persistent { .. } = &volume.source else { return Ok(volume.clone()) };
    let source = persistent(launch, &volume.container_path, places)?;
    Ok(Volume { source, ..volume.clone() })
}

fn persistent(launch: &Launch, name: &str, places: &Places) -> Result<VolumeSource, String> {
    let path = crate::durable::of_launch(places, launch, name);
    let path = path.ok_or_else(|| {
        format!("Failed to provide the volume '{name}': nothing was reserved for it on this machine")
    })?;
    Ok(VolumeSource::Host { host_path: path.to_string_lossy().into_owned() })
}

/// Sources of the secrets among them.
pub fn secrets<'a>(start: &'a Start, volumes: &'a [Volume]) -> impl Iterator<Item = String> + 'a {
    volumes.iter().filter_map(|it| match &it.source {
        VolumeSource::Secret { secret } => Some(source_of(start, secret).to_owned()),
        _ => None,
    })
}

/// Makes the ephemeral volumes of a pod, where they are not there yet. They belong to the user of the pod; where
/// the containers have several users, or users that only their images know, everybody may write, as there is no
/// one to give them to.
pub fn make_ephemeral(pod: &Launch, places: &Places, owner: Option<&Identity>) -> io::Result<()> {
    let shared = is_shared(pod);
    for volume in pod.volumes.iter().filter(|it| it.source == PodVolumeSource::Ephemeral) {
        let path = places.pod_volume(&pod.task, &volume.name);
        if path.exists() {
            continue;
        }
        fs::create_dir(&path)?;
        if shared {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        } else if let Some(Identity { uid, gid, .. }) = owner {
            std::os::unix::fs::lchown(&path, Some(*uid), Some(*gid))?;
        }
    }
    Ok(())
}

/// Whether containers of a pod run as several users, or as users that only their images know.
pub fn is_shared(pod: &Launch) -> bool {
    let mut users = pod.containers.iter().map(|it| &it.user);
    let first = users.next();
    users.any(|it| Some(it) != first) || pod.containers.iter().any(|it| it.image.is_some())
}

/// Writes secrets to files of the private folder, which then are volumes like others.
///
/// The file is its reader's alone. Who that is only the image knows where no user is named: then whoever is in
/// the container may read it, and on this machine nobody, since the folder stays closed.
pub fn write_secrets(
    start: &Start,
    volumes: Vec<Volume>,
    values: &Values,
    private: &Path,
    reader: Option<&Identity>,
    anybody: bool,
) -> Result<Vec<Volume>, String> {
    let one = |(index, volume): (usize, Volume)| {
        let VolumeSource::Secret { secret } = &volume.source else { return Ok(volume) };
        let path = private.join(format!("secret-{index}"));
        let told =
            |error: io::Error| format!("Failed to provide the volume '{}': {error}", volume.container_path);
        let mut file = archive::create_new(&path, if anybody { 0o444 } else { 0o600 }).map_err(told)?;
        file.write_all(values.bytes(source_of(start, secret))?).map_err(told)?;
        if let Some(Identity { uid, gid, .. }) = reader {
            std::os::unix::fs::fchown(&file, Some(*uid), Some(*gid)).map_err(told)?;
        }
        let host_path = path.to_string_lossy().into_owned();
        Ok(Volume { source: VolumeSource::Host { host_path }, read_only: true, ..volume })
    };
    volumes.into_iter().enumerate().map(one).collect()
}

/// Puts the links of a plain process in place.
pub fn link(volumes: &[Volume], sandbox: &Path) -> Result<(), String> {
    for volume in volumes {
        link_one(volume, sandbox)
            .map_err(|why| format!("Failed to provide the volume '{}': {why}", volume.container_path))?;
    }
    Ok(())
}

fn link_one(Volume { container_path, read_only: _, source }: &Volume, sandbox: &Path) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    match source {
        VolumeSource::Host { host_path } => {
            let host = if host_path.starts_with('/') {
                PathBuf::from(host_path)
            } else {
                let inside = archive::place(sandbox, Path::new(host_path))?;
                fs::create_dir_all(&inside).map_err(told)?;
                inside
            };
            if Path::new(container_path) == host {
                return Ok(());
            }
            if container_path.starts_with('/') {
                return Err("a task without an image sees this machine's files, so the path must be relative to the sandbox".to_owned());
            }
            fs::metadata(&host).map_err(|error| format!("`{}`: {error}", host.display()))?;
            let link = archive::place(sandbox, Path::new(container_path))?;
            std::os::unix::fs::symlink(host, link).map_err(told)
        }
        VolumeSource::Secret { .. } => Err("its value is not here".to_owned()),
        VolumeSource::Persistent { .. } => Err("nothing was reserved for it".to_owned()),
        VolumeSource::External { provider, .. } if provider == "csi" => {
            Err("the embedded engine has no CSI plugins".to_owned())
        }
        VolumeSource::External { .. } => {
            Err("external volumes need a task with an image and a Docker volume driver".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn volumes_of_plain_processes_are_links() {
        let host = tempfile::tempdir().unwrap();
        let there = host.path().display().to_string();
        fs::write(host.path().join("f"), "x").unwrap();
        let sandbox = tempfile::tempdir().unwrap();
        let sandbox = sandbox.path();
        let place = |container_path: &str, host_path: &str| {
            let source = VolumeSource::Host { host_path: host_path.to_owned() };
            link_one(&Volume { container_path: container_path.to_owned(), read_only: false, source }, sandbox)
        };
        place("data/in", &there).unwrap();
        assert_eq!(fs::read_to_string(sandbox.join("data/in/f")).unwrap(), "x");
        place("mine", "below/here").unwrap();
        assert!(fs::metadata(sandbox.join("mine")).unwrap().is_dir());
        place(&there, &there).unwrap();
        for (path, host) in
            [("/data", &*there), ("../up", &there), ("gone", "/no/such/folder"), ("up", "../../etc")]
        {
            place(path, host).unwrap_err();
        }
        assert_eq!(fs::read_to_string(host.path().join("f")).unwrap(), "x");
    }

    #[test]
    fn secrets_are_files_of_their_reader() {
        let private = tempfile::tempdir().unwrap();
        let mut launch = crate::agent_tests::launch("a");
        launch.secrets.insert("pw".to_owned(), "db/pw".to_owned());
        let start = Start { launch: std::sync::Arc::new(launch), member: None, network_pid: None };
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("db")).unwrap();
        fs::write(dir.path().join("db/pw"), "hush\n").unwrap();
        let volumes = vec![Volume {
            container_path: "etc/pw".to_owned(),
            read_only: false,
            source: VolumeSource::Secret { secret: "pw".to_owned() },
        }];
        let sources = secrets(&start, &volumes).collect();
        let files = crate::secrets::Files { dir: dir.path().to_owned() };
        let values = Values::ask(&files, sources).unwrap();
        for (anybody, mode) in [(false, 0o600), (true, 0o444)] {
            let volumes =
                write_secrets(&start, volumes.clone(), &values, private.path(), None, anybody).unwrap();
            let VolumeSource::Host { host_path } = &volumes[0].source else { panic!("{volumes:?}") };
            assert_eq!(fs::metadata(host_path).unwrap().mode() & 0o777, mode);
            assert_eq!(
                (fs::read_to_string(host_path).unwrap().as_str(), volumes[0].read_only),
                ("hush\n", true)
            );
        }
    }
}
