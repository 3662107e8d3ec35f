//! A file that is there whole or not at all, and never over another one.

use crate::archive::ArchiveError;
use crate::open::OpenError;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A file that is being written under a name of its own beside its place. Without
/// [`NewFile::keep`] it is gone with this value.
pub(crate) struct NewFile {
    place: PathBuf,
    partial: PathBuf,
    file: File,
    kept: bool,
}

impl NewFile {
    /// Begins a file that only its owner may read and write.
    pub(crate) fn begin(place: &Path) -> Result<Self, ArchiveError> {
        if place.symlink_metadata().is_ok() {
            return Err(exists(place));
        }
        let mut name = OsString::from(".");
        name.push(place.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let partial = place.with_file_name(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&partial).map_err(failed(place))?;
        Ok(Self { place: place.to_owned(), partial, file, kept: false })
    }

    /// Returns where it is written meanwhile.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Returns another handle on it.
    pub(crate) fn file(&self) -> Result<File, ArchiveError> {
        Ok(self.file.try_clone().map_err(failed(&self.place))?)
    }

    /// Puts it in its place, durably.
    pub(crate) fn keep(mut self) -> Result<(), ArchiveError> {
        let place = self.place.clone();
        self.file.sync_all().map_err(failed(&place))?;
        match rename(&self.partial, &place) {
            Ok(()) => self.kept = true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(exists(&place)),
            Err(error) => return Err(failed(&place)(error).into()),
        }
        sync_folder_of(&place).map_err(failed(&place))?;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // Gone already, or gone now.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Renames a file to a name that nothing has.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // This file system cannot do both at once.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if to.symlink_metadata().is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        done => Ok(done?),
    }
}

/// Makes the names in the folder durable.
pub(crate) fn sync_folder_of(place: &Path) -> io::Result<()> {
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
}

fn exists(place: &Path) -> ArchiveError {
    ArchiveError::Exists { path: place.display().to_string() }
}

/// Names the file.
pub(crate) fn failed(place: &Path) -> impl Fn(io::Error) -> OpenError + use<> {
    let path = place.display().to_string();
    move |source| OpenError::File { path: path.clone(), source }
}
