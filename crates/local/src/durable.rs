//! Persistent volumes on the disk of this machine, and the record of what is reserved.
//!
//! ```text
//! <dir>/reservations.json     everything reserved, volumes included; replaced as a whole
//! <dir>/volumes/<app>.<uuid>  one folder for each volume
//! <dir>/volumes/.gone-…       on its way out
//! ```
//! A folder without an entry in the record is nobody's and stays: what is removed was asked to be.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use marathon_keeper::protocol::Identity;
use marathon_model::offer::Launch;

use crate::identity;
use crate::kept::Kept;
use crate::sandbox::Places;

/// As much of an app's name stands in the name of a folder.
const APP_CHARACTERS_MAX: usize = 100;
const GONE: &str = ".gone-";

/// Where the data of a volume lies. `None`: it is named as no volume of ours is.
pub fn folder(places: &Places, id: &str) -> Option<PathBuf> {
    let (app, rest) = id.split_once('#')?;
    let (_, uuid) = rest.rsplit_once('#')?;
    let uuid = uuid::Uuid::parse_str(uuid).ok()?;
    let plain = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '.');
    let app: String = app.chars().filter(plain).take(APP_CHARACTERS_MAX).collect();
    Some(places.volumes().join(format!("{}.{uuid}", app.trim_start_matches('.'))))
}

/// Where the volume lies that a launch calls by this name.
pub fn of_launch(places: &Places, launch: &Launch, name: &str) -> Option<PathBuf> {
    let volumes = launch.reserved.iter().filter_map(|it| it.disk.as_ref()?.volume.as_ref());
    let (id, _) = volumes.into_iter().find(|(_, of)| of == name)?;
    folder(places, id)
}

/// Gives all volumes of a launch to the user of its task. `shared`: several users write, and there is no one to
/// give them to.
pub fn give_to(
    places: &Places,
    launch: &Launch,
    owner: Option<&Identity>,
    shared: bool,
) -> Result<(), String> {
    let volumes = launch.reserved.iter().filter_map(|it| it.disk.as_ref()?.volume.as_ref());
    for (id, name) in volumes {
        let told = |error: io::Error| format!("Failed to provide the volume '{name}': {error}");
        let folder = folder(places, id).ok_or_else(|| told(io::ErrorKind::InvalidInput.into()))?;
        fs::metadata(&folder).map_err(told)?;
        if shared {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).map_err(told)?;
        } else if let Some(Identity { uid, gid, .. }) = owner {
            std::os::unix::fs::lchown(&folder, Some(*uid), Some(*gid)).map_err(told)?;
        }
    }
    Ok(())
}

fn record(places: &Places) -> PathBuf {
    places.dir.join("reservations.json")
}

pub fn load(places: &Places) -> io::Result<Kept> {
    match fs::read(record(places)) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(error),
    }
}

pub fn save(places: &Places, kept: &Kept) -> io::Result<()> {
    identity::store(&record(places), &serde_json::to_vec(kept)?)
}

pub fn create(places: &Places, id: &str) -> io::Result<()> {
    let folder = folder(places, id).ok_or(io::ErrorKind::InvalidInput)?;
    match fs::DirBuilder::new().mode(0o755).create(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Takes a volume out of the way at once. Its data is removed by `sweep`, which takes longer.
pub fn discard(places: &Places, id: &str) -> io::Result<()> {
    let folder = folder(places, id).ok_or(io::ErrorKind::InvalidInput)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match fs::rename(&folder, places.volumes().join(format!("{GONE}{name}"))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes the data of discarded volumes.
pub fn sweep(places: &Places) {
    let Ok(entries) = fs::read_dir(places.volumes()) else { return };
    for entry in entries.flatten().filter(|it| it.file_name().to_string_lossy().starts_with(GONE)) {
        remove(&entry.path());
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a volume that was given up");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0c1e6f10-7ccb-11eb-9a1c-0242ac110002";

    #[test]
    fn folders_stay_inside() {
        let places = Places::on_disk("/d".into());
        let check = |id: &str, want: Option<&str>| {
            assert_eq!(folder(&places, id), want.map(PathBuf::from), "{id}");
        };
        check(&format!("shop_db#data#{UUID}"), Some(&format!("/d/volumes/shop_db.{UUID}")));
        check(&format!("../../x#a/../b#{UUID}"), Some(&format!("/d/volumes/x.{UUID}")));
        check(
            &format!("{}#data#{UUID}", "a".repeat(300)),
            Some(&format!("/d/volumes/{}.{UUID}", "a".repeat(100))),
        );
        check("shop#data", None);
        check("shop#data#../../etc", None);
    }

    #[test]
    fn a_volume_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::on_disk(dir.path().to_owned());
        places.create().unwrap();
        let id = format!("db#data#{UUID}");
        let folder = folder(&places, &id).unwrap();
        create(&places, &id).unwrap();
        fs::write(folder.join("file"), "kept").unwrap();
        create(&places, &id).unwrap();
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "kept");
        discard(&places, &id).unwrap();
        discard(&places, &id).unwrap();
        assert!(!folder.exists());
        sweep(&places);
        assert_eq!(fs::read_dir(places.volumes()).unwrap().count(), 0);
    }

    #[test]
    fn the_record_is_read_back_and_damage_is_no_empty_record() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::on_disk(dir.path().to_owned());
        assert_eq!(load(&places).unwrap(), Kept::default());
        let mut kept = Kept::default();
        kept.add(marathon_model::resources::Resource::new(
            "*",
            marathon_model::resources::Amount::Disk(marathon_model::resources::Milli(1)),
        ));
        save(&places, &kept).unwrap();
        assert_eq!(load(&places).unwrap(), kept);
        fs::write(record(&places), "{").unwrap();
        assert!(load(&places).is_err());
    }
}
