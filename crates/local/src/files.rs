//! Files of tasks of this machine, for those who ask over HTTP.

use std::path::{Path, PathBuf};

use marathon_files::{Answer, Ask, FilePath, Files, Folder, Listing, Piece, Refused, Target, Whole};

use crate::pod::whole;
use crate::sandbox::{Places, plain_name};

#[derive(Debug, Clone)]
pub struct TaskFiles {
    places: Places,
}

impl TaskFiles {
    /// `dir` is that of the engine's configuration. The engine itself need not run.
    pub fn new(dir: PathBuf) -> TaskFiles {
        // Links that the engine made name the folder by its whole path.
        TaskFiles { places: Places::on_disk(std::path::absolute(&dir).unwrap_or(dir)) }
    }

    /// Links of a container may lead into the volumes of its pod.
    fn folder(&self, of: &Target) -> Folder {
        let root = self.places.sandbox(&whole(&of.task));
        let inside = Some(Path::new(marathon_docker::SANDBOX));
        match &of.task.container {
            Some(name) => Folder::new(root, &["containers", &plain_name(name)], inside),
            None if of.pod => Folder::new(root, &[], None),
            None => Folder::new(root, &[], inside),
        }
    }

    fn answer<T: Send + 'static>(
        &self,
        of: &Target,
        path: &FilePath,
        work: impl FnOnce(&Folder, &FilePath) -> Result<T, Refused> + Send + 'static,
    ) -> Answer<T> {
        let (folder, path) = (self.folder(of), path.clone());
        // Disks let us wait.
        let done = tokio::task::spawn_blocking(move || work(&folder, &path));
        Box::pin(
            async move { done.await.unwrap_or_else(|error| Err(Refused::Unavailable(error.to_string()))) },
        )
    }
}

impl Files for TaskFiles {
    fn list(&self, of: &Target, path: &FilePath) -> Answer<Listing> {
        self.answer(of, path, Folder::list)
    }

    fn read(&self, of: &Target, path: &FilePath, ask: &Ask) -> Answer<Piece> {
        let ask = ask.clone();
        self.answer(of, path, move |folder, path| folder.read(path, &ask))
    }

    fn open(&self, of: &Target, path: &FilePath) -> Answer<Whole> {
        self.answer(of, path, Folder::open)
    }
}
