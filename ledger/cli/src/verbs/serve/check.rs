//! `ledger serve --check-config`: all that a start would read, and nothing written.

use super::{Serve, must_be_closed};
use crate::config::Effective;
use crate::failure::{Exit, Failure, Outcome};
use crate::terminal::{dash, note, print_table};
use rustix::fs::{Access, access};
use std::fs;
use std::io;
use std::path::Path;

impl Serve {
    /// Prints what is in force, and says what a start would trip over.
    pub(super) fn check(&self) -> Outcome {
        let data = self.data_folder();
        let shown = data.as_ref().ok().map(|folder| folder.display().to_string());
        let rows = self.settings.iter().map(|setting| {
            let Effective { key, value, from } = setting.clone();
            // What holds where nobody named a folder is known by now.
            let value = value.or_else(|| shown.clone().filter(|_| key == "data"));
            // Without its password.
            let database = self.database.as_ref().filter(|_| key == "database");
            let value = database.map(ToString::to_string).or(value);
            vec![key, value.unwrap_or_else(dash), from]
        });
        print_table(&["SETTING", "VALUE", "FROM"], rows.collect())?;
        for warning in self.warnings() {
            note(format!("warning: {warning}"));
        }
        let checked = data.and_then(|data| can_be_data_folder(&data)).and_then(|()| {
            let Some(tls) = self.tls()? else { return Ok(()) };
            tls.check().map_err(|e| Failure::from(e).context("TLS cannot be set up"))
        });
        checked.map_err(|failure| failure.exit_as(Exit::Usage))?;
        Ok(Exit::Done)
    }
}

/// Makes sure that a start could use the folder, or make it.
fn can_be_data_folder(data: &Path) -> Result<(), Failure> {
    let shown = data.display();
    let hint = "use --data DIR with a folder that you may write to";
    match fs::metadata(data) {
        Ok(found) if !found.is_dir() => {
            Err(Failure::usage(format!("the data folder {shown} is no folder")).hint(hint))
        }
        Ok(found) => {
            must_be_closed(data, &found)?;
            must_be_writable(data).map_err(|e| {
                Failure::from(e)
                    .context(format!("the data folder {shown} cannot be used"))
                    .hint(hint)
            })
        }
        Err(error) => nearest_may_hold(data, error).map_err(|e| {
            Failure::from(e).context(format!("the data folder {shown} cannot be made")).hint(hint)
        }),
    }
}

/// Looks for the nearest folder above that is there: the others can be made in it.
fn nearest_may_hold(data: &Path, why: io::Error) -> io::Result<()> {
    if why.kind() != io::ErrorKind::NotFound {
        return Err(why);
    }
    for above in data.ancestors().skip(1) {
        // The one above a relative name is the working directory.
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match fs::metadata(above) {
            Ok(found) if found.is_dir() => return must_be_writable(above),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(why)
}

fn must_be_writable(folder: &Path) -> io::Result<()> {
    Ok(access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_that_is_there_or_can_be_made_is_good_and_nothing_is_made() {
        let temporary = tempfile::tempdir().expect("a folder");
        let data = temporary.path().join("a/b/c");
        assert!(can_be_data_folder(&data).is_ok());
        assert!(!temporary.path().join("a").exists(), "nothing is written");
        fs::create_dir_all(&data).expect("made");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("changed");
        assert!(can_be_data_folder(&data).is_ok());
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("changed");
        let open = can_be_data_folder(&data).expect_err("others may look into it").report();
        assert!(open.contains("chmod 700"), "{open}");
    }

    #[test]
    fn what_is_no_folder_and_what_is_below_a_file_is_refused() {
        let temporary = tempfile::tempdir().expect("a folder");
        let file = temporary.path().join("file");
        fs::write(&file, "").expect("written");
        let report = can_be_data_folder(&file).expect_err("a file").report();
        assert!(report.contains("is no folder") && report.contains("--data DIR"), "{report}");
        let report = can_be_data_folder(&file.join("data")).expect_err("below a file").report();
        assert!(report.contains("cannot be made") && report.contains("Caused by:"), "{report}");
    }
}
