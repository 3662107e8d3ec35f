//! A small disk for a server's data, which can fill up and be made read-only. It
//! is memory, mounted in a namespace of its own, so nothing of the machine changes.

use super::process::{Process, command, require_root};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The disk. It is gone when it is dropped and nobody uses it.
pub(crate) struct Disk {
    /// Keeps the namespace while no server is in it.
    holder: Process,
    folder: PathBuf,
    /// Where it is mounted.
    point: PathBuf,
}

impl Disk {
    /// Makes one of so many MiB where a server in the folder has its data.
    pub(crate) fn new(folder: &Path, mib: usize) -> Self {
        require_root("mounting a disk");
        let point = folder.join("data");
        fs::create_dir(&point).expect("a folder can be made");
        let mount = format!(
            "mount -t tmpfs -o size={mib}m,mode=0700 tmpfs '{}' && echo ready >&2 && exec sleep infinity",
            point.display()
        );
        let mut unshare = command("unshare", folder);
        unshare.args(["--mount", "--propagation", "private", "--", "sh", "-c", &mount]);
        let mut holder = Process::start("disk", unshare, folder);
        holder.wait_for_line("a disk", |line| (line == "ready").then_some(()));
        Self { holder, folder: folder.to_owned(), point }
    }

    /// What a command line begins with to see the disk.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        ["nsenter", "--target", &target, "--mount", "--"].map(str::to_owned).to_vec()
    }

    /// The disk's folder, as seen from here.
    pub(crate) fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.point.strip_prefix("/").expect("the path is whole"))
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) {
        let ballast = File::options().create(true).append(true).open(self.ballast());
        let mut ballast = ballast.expect("a file can be made");
        let full = std::iter::repeat_with(|| ballast.write_all(&[0; 64 * 1024]));
        let error = full.into_iter().find_map(Result::err).expect("a disk has an end");
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    }

    /// Makes room again.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("the ballast is there");
    }

    /// Makes it read-only, or writable again. No server may use it meanwhile.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let mode = if read_only { "remount,ro" } else { "remount,rw" };
        let wrapper = self.wrapper();
        let mut mount = command(&wrapper[0], &self.folder);
        mount.args(&wrapper[1..]).args(["mount", "-o", mode]).arg(&self.point);
        Process::run("mount", mount, &self.folder).expect_success();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}
