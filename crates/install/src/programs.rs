//! Programs in a directory of CNI plugins: one file under many names, and what was there before comes back when they are removed.
//!
//! Beside the plugins stands `.polynic/`, where no runtime looks: `programs/` holds our file under its digest, `replaced/` what had a name
//! before us, `names` what we have installed, `lock` keeps others away while somebody installs. A file is ours if it is a link to one in `programs/`, or a copy where files have one name. So an installation that was cut short at
//! any point is understood by the next one, and one that is already there writes nothing. The name `polynic` is always among the names: by it
//! an agent in a container knows which plugins of the directory are its own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::files::{self, FileError, Turn};

/// The name that is always installed.
const PROGRAM: &str = "polynic";

/// Our own directory among the plugins.
const OWN: &str = ".polynic";
/// In it, the lock of whoever installs or uninstalls.
const LOCK: &str = "lock";

/// Gives a file another name.
type Linker = fn(&Path, &Path) -> io::Result<()>;

/// A directory of CNI plugins.
pub struct Programs {
    directory: PathBuf,
    hard_link: Linker,
}

/// What in the directory is ours: links to one of our files, or copies where a file can have one name only.
struct Ours {
    files: BTreeSet<(u64, u64)>,
    /// Paths of our files.
    stored: Vec<PathBuf>,
}

impl Ours {
    fn has(&self, path: &Path) -> bool {
        let Some(found) = identity(path) else { return false };
        self.files.contains(&found) || self.stored.iter().any(|stored| is_copy(stored, path))
    }
}

impl Programs {
    /// The plugins in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), hard_link: |from, to| fs::hard_link(from, to) }
    }

    /// Installs a program under names. Each is complete at every instant, and a program that runs keeps running.
    ///
    /// # Errors
    /// The program cannot be read, or the directory not be written.
    pub fn install<'n>(
        &self,
        program: &Path,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<(), FileError> {
        let names: BTreeSet<String> = names.into_iter().chain([PROGRAM]).map(str::to_owned).collect();
        let _turn = self.turn()?;
        self.make(&self.own("replaced"))?;
        self.make(&self.own("programs"))?;
        let mut all = self.names()?;
        all.extend(names.iter().cloned());
        self.note(&all)?;
        let stored = self.store(program)?;
        let ours = self.ours();
        for name in &names {
            self.keep_aside(name, &ours)?;
            self.link(&stored, &self.directory.join(name))?;
        }
        self.forget_unused(&stored, &all);
        Ok(())
    }

    /// Removes what was installed, and puts back what was there before. What somebody else has put in our place since stays.
    ///
    /// # Errors
    /// Something cannot be removed or put back; the rest was tried too.
    pub fn uninstall(&self) -> Result<(), FileError> {
        if !self.directory.join(OWN).exists() {
            return Ok(());
        }
        let _turn = self.turn()?;
        let ours = self.ours();
        let mut outcome = Ok(());
        for name in self.names()? {
            let path = self.directory.join(&name);
            if ours.has(&path) {
                outcome = outcome.and(self.give_back(&name, &path));
            }
        }
        outcome?;
        self.remove_own()
    }

    /// One at a time installs or uninstalls: what one finds out about the directory holds until it has acted on it.
    fn turn(&self) -> Result<Turn, FileError> {
        loop {
            self.make(&self.directory.join(OWN))?;
            match files::turn_by(&self.own(LOCK)) {
                // Somebody has uninstalled just now, and our directory went.
                Err(FileError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
    }

    /// Our own directory goes, the lock last. Whoever waits for it makes the directory anew.
    fn remove_own(&self) -> Result<(), FileError> {
        for directory in [self.own("programs"), self.own("replaced")] {
            match fs::remove_dir_all(&directory) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::Remove { path: directory, source });
                }
                _ => {}
            }
        }
        files::remove(&self.own("names"))?;
        files::remove(&self.own(LOCK))?;
        // It stays if somebody has begun to install meanwhile.
        let _ = fs::remove_dir(self.directory.join(OWN));
        Ok(())
    }

    fn own(&self, name: &str) -> PathBuf {
        self.directory.join(OWN).join(name)
    }

    fn make(&self, directory: &Path) -> Result<(), FileError> {
        fs::create_dir_all(directory)
            .map_err(|source| FileError::Write { path: directory.to_owned(), source })
    }

    fn names(&self) -> Result<BTreeSet<String>, FileError> {
        let text = files::read(&self.own("names"))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }

    fn note(&self, names: &BTreeSet<String>) -> Result<(), FileError> {
        let text: String = names.iter().map(|name| format!("{name}\n")).collect();
        files::replace(&self.own("names"), text.as_bytes(), 0o644)
    }

    /// Our file with the program's content.
    fn store(&self, program: &Path) -> Result<PathBuf, FileError> {
        let stored = self.own("programs").join(digest(program)?);
        if !stored.exists() {
            files::copy(program, &stored)?;
        }
        Ok(stored)
    }

    fn ours(&self) -> Ours {
        let stored = self.stored();
        Ours { files: stored.iter().filter_map(|program| identity(program)).collect(), stored }
    }

    fn stored(&self) -> Vec<PathBuf> {
        let programs = fs::read_dir(self.own("programs")).into_iter().flatten().flatten();
        programs.map(|program| program.path()).collect()
    }

    /// Keeps what has this name and is not ours.
    fn keep_aside(&self, name: &str, ours: &Ours) -> Result<(), FileError> {
        let (path, aside) = (self.directory.join(name), self.own("replaced").join(name));
        if identity(&path).is_none() || ours.has(&path) {
            return Ok(());
        }
        self.link(&path, &aside)
    }

    fn give_back(&self, name: &str, path: &Path) -> Result<(), FileError> {
        let aside = self.own("replaced").join(name);
        if identity(&aside).is_none() {
            return files::remove(path);
        }
        match fs::rename(&aside, path) {
            Err(why) if has_no_links(&why) => {
                self.copy(&aside, path)?;
                files::remove(&aside)
            }
            given => given.map_err(|source| FileError::Write { path: path.to_owned(), source }),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        if identity(from) == identity(to) {
            return Ok(());
        }
        match files::beside(to, |new| (self.hard_link)(from, new)) {
            Err(why) if has_no_links(&why) => self.copy(from, to),
            linked => linked.map_err(|source| FileError::Write { path: to.to_owned(), source }),
        }
    }

    /// Where a file cannot have two names. A symbolic link stays one.
    fn copy(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        if is_copy(from, to) {
            return Ok(());
        }
        let Ok(target) = fs::read_link(from) else { return files::copy(from, to) };
        let made = files::beside(to, |new| std::os::unix::fs::symlink(&target, new));
        made.map_err(|source| FileError::Write { path: to.to_owned(), source })
    }

    /// Programs of earlier versions to which no name leads any more. They cost space only.
    fn forget_unused(&self, stored: &Path, names: &BTreeSet<String>) {
        for program in self.stored().iter().filter(|program| *program != stored) {
            let has_copy = || names.iter().any(|name| is_copy(program, &self.directory.join(name)));
            if program.metadata().is_ok_and(|meta| meta.nlink() == 1) && !has_copy() {
                let _ = fs::remove_file(program);
            }
        }
    }
}

/// Whether a file system refuses another name for a file: between mounts, by its kind, or for want of further links.
fn has_no_links(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::CrossesDevices
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TooManyLinks
            | io::ErrorKind::Unsupported
    )
}

/// Whether two regular files have the same content.
fn is_copy(one: &Path, other: &Path) -> bool {
    let length =
        |path: &Path| path.symlink_metadata().ok().filter(fs::Metadata::is_file).map(|meta| meta.len());
    let (Some(first), Some(second)) = (length(one), length(other)) else { return false };
    first == second && matches!((digest(one), digest(other)), (Ok(one), Ok(other)) if one == other)
}

/// Device and inode, of a link itself.
fn identity(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|meta| (meta.dev(), meta.ino()))
}

fn digest(program: &Path) -> Result<String, FileError> {
    let wrong = |source| FileError::Read { path: program.to_owned(), source };
    let digest = digest_of(File::open(program).map_err(wrong)?).map_err(wrong)?;
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Piece by piece: containers that install have little memory, and what the kernel keeps of a file it can drop.
fn digest_of(mut program: impl Read) -> io::Result<Vec<u8>> {
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match program.read(&mut piece) {
            Ok(0) => return Ok(hasher.finalize().to_vec()),
            Ok(length) => hasher.update(&piece[..length]),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
}

/// Every file below a directory with its content: what `uninstall` has to leave as it was.
#[cfg(test)]
pub(crate) fn contents(directory: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut all = std::collections::BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Bench {
        root: tempfile::TempDir,
        programs: Programs,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("bin")).unwrap();
            let programs = Programs::new(root.path().join("bin"));
            Self { root, programs }
        }

        /// On a file system where a file has one name.
        fn without_links(kind: io::ErrorKind) -> Self {
            let hard_link: Linker = match kind {
                io::ErrorKind::CrossesDevices => |_, _| Err(io::ErrorKind::CrossesDevices.into()),
                io::ErrorKind::TooManyLinks => |_, _| Err(io::ErrorKind::TooManyLinks.into()),
                _ => |_, _| Err(io::ErrorKind::PermissionDenied.into()),
            };
            let bench = Self::new();
            Self { programs: Programs { hard_link, ..bench.programs }, ..bench }
        }

        fn program(&self, text: &str) -> PathBuf {
            let file = self.root.path().join("program");
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            file
        }

        fn bin(&self, name: &str) -> PathBuf {
            self.programs.directory.join(name)
        }

        fn install(&self, text: &str, names: &[&str]) {
            self.programs.install(&self.program(text), names.iter().copied()).unwrap();
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.bin(name)).unwrap()
        }
    }

    #[test]
    fn installed_names_are_one_file_even_after_an_upgrade() {
        let bench = Bench::new();
        bench.install("one", &["multus-shim", "passthru"]);
        bench.install("one", &["multus-shim", "passthru"]);
        let before = identity(&bench.bin("passthru"));
        assert_eq!(identity(&bench.bin("multus-shim")), before);
        assert_eq!(bench.bin("passthru").metadata().unwrap().permissions().mode() & 0o777, 0o755);
        bench.install("two", &["multus-shim", "passthru"]);
        assert_eq!((bench.text("multus-shim"), bench.text("passthru")), ("two".into(), "two".into()));
        assert_eq!(fs::read_dir(bench.programs.own("programs")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(bench.programs.own("replaced")).unwrap().count(), 0);
    }

    #[test]
    fn uninstalling_leaves_the_directory_as_it_was() {
        let bench = Bench::new();
        for (name, text) in [("multus", "upstream's"), ("bridge", "reference"), ("own-plugin", "a user's")] {
            fs::write(bench.bin(name), text).unwrap();
        }
        std::os::unix::fs::symlink("bridge", bench.bin("coordinator")).unwrap();
        let before = contents(&bench.programs.directory);
        bench.install("one", &["multus", "multus-shim", "coordinator"]);
        bench.install("two", &["multus", "bridge"]);
        assert_eq!(
            (bench.text("multus"), bench.text("bridge"), bench.text("coordinator")),
            ("two".into(), "two".into(), "one".into())
        );
        bench.programs.uninstall().unwrap();
        assert_eq!(contents(&bench.programs.directory), before);
        assert!(bench.bin("coordinator").is_symlink() && !bench.bin(".polynic").exists());
        bench.programs.uninstall().unwrap();
        assert_eq!(contents(&bench.programs.directory), before);
    }

    #[test]
    fn where_a_file_has_one_name_only_it_is_copied() {
        use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks};
        for kind in [CrossesDevices, PermissionDenied, TooManyLinks] {
            let bench = Bench::without_links(kind);
            fs::write(bench.bin("multus"), "upstream's").unwrap();
            std::os::unix::fs::symlink("multus", bench.bin("coordinator")).unwrap();
            let before = contents(&bench.programs.directory);
            bench.install("one", &["multus", "coordinator"]);
            assert_eq!((bench.text("multus"), bench.text("coordinator")), ("one".into(), "one".into()));
            assert_eq!(bench.bin("multus").metadata().unwrap().permissions().mode() & 0o777, 0o755);
            let first = identity(&bench.bin("multus"));
            bench.install("one", &["multus", "coordinator"]);
            assert_eq!(identity(&bench.bin("multus")), first, "what is there is not written again");
            bench.install("two", &["multus"]);
            assert_eq!((bench.text("multus"), bench.text("coordinator")), ("two".into(), "one".into()));
            assert_eq!(
                fs::read_to_string(bench.programs.own("replaced/multus")).unwrap(),
                "upstream's",
                "our own copy is nobody else's"
            );
            bench.programs.uninstall().unwrap();
            assert_eq!(contents(&bench.programs.directory), before);
            assert!(bench.bin("coordinator").is_symlink());
        }
    }

    #[test]
    fn what_somebody_else_put_in_our_place_stays() {
        let bench = Bench::new();
        fs::write(bench.bin("multus"), "old").unwrap();
        bench.install("one", &["multus", "passthru"]);
        fs::remove_file(bench.bin("multus")).unwrap();
        fs::write(bench.bin("multus"), "theirs").unwrap();
        bench.programs.uninstall().unwrap();
        assert_eq!((bench.text("multus"), bench.bin("passthru").exists()), ("theirs".into(), false));
    }

    #[test]
    fn an_installation_cut_short_is_understood() {
        let bench = Bench::new();
        fs::write(bench.bin("multus"), "old").unwrap();
        bench.install("one", &["multus", "passthru"]);
        // The next version got as far as its first name.
        let stored = bench.programs.store(&bench.program("two")).unwrap();
        bench.programs.link(&stored, &bench.bin("passthru")).unwrap();
        bench.install("two", &["multus", "passthru"]);
        assert_eq!(fs::read_to_string(bench.programs.own("replaced/multus")).unwrap(), "old");
        assert!(!bench.programs.own("replaced/passthru").exists());
        bench.programs.uninstall().unwrap();
        assert_eq!(contents(&bench.programs.directory).len(), 1);
        assert_eq!(bench.text("multus"), "old");
    }

    /// What each of them does at the same time as the others, `count` in all.
    fn at_once(count: usize, what: impl Fn(usize) + Sync) {
        let all_are_here = std::sync::Barrier::new(count);
        std::thread::scope(|threads| {
            for number in 0..count {
                let (what, all_are_here) = (&what, &all_are_here);
                threads.spawn(move || {
                    all_are_here.wait();
                    what(number);
                });
            }
        });
    }

    const NAMES: [&str; 4] = ["multus", "multus-shim", "passthru", "bridge"];

    #[test]
    fn twenty_installations_at_once_are_as_one() {
        let bench = Bench::new();
        fs::write(bench.bin("multus"), "upstream's").unwrap();
        let before = contents(&bench.programs.directory);
        let program = bench.program("one");
        at_once(20, |_| bench.programs.install(&program, NAMES).unwrap());
        let first = identity(&bench.bin("multus")).unwrap();
        assert!(NAMES.iter().all(|name| identity(&bench.bin(name)) == Some(first)));
        let programs = fs::read_dir(bench.programs.own("programs")).unwrap().count();
        // Every plugin, the program's own name, and our directory: no file under another name is left.
        assert_eq!(
            (programs, fs::read_dir(&bench.programs.directory).unwrap().count()),
            (1, NAMES.len() + 2)
        );
        at_once(20, |_| bench.programs.uninstall().unwrap());
        assert_eq!(contents(&bench.programs.directory), before);
        assert!(!bench.bin(".polynic").exists());
    }

    #[test]
    fn versions_that_are_installed_at_once_leave_one_of_them_complete() {
        let bench = Bench::new();
        let version = |number: usize| {
            let file = bench.root.path().join(format!("version-{number}"));
            fs::write(&file, format!("version {number}")).unwrap();
            file
        };
        let versions: Vec<PathBuf> = (0..20).map(version).collect();
        at_once(20, |number| bench.programs.install(&versions[number], NAMES).unwrap());
        let text = bench.text("multus");
        assert!(NAMES.iter().all(|name| bench.text(name) == text), "each name has the same version");
        assert_eq!(fs::read_dir(bench.programs.own("programs")).unwrap().count(), 1);
    }

    #[test]
    fn installing_and_uninstalling_at_once_ends_in_either_state() {
        let bench = Bench::new();
        fs::write(bench.bin("multus"), "upstream's").unwrap();
        let before = contents(&bench.programs.directory);
        let program = bench.program("one");
        at_once(20, |number| match number % 2 {
            0 => bench.programs.install(&program, NAMES).unwrap(),
            _ => bench.programs.uninstall().unwrap(),
        });
        bench.programs.uninstall().unwrap();
        assert_eq!(contents(&bench.programs.directory), before);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let bench = Bench::new();
        let error = bench.programs.install(Path::new("/nonexistent/polynic"), ["multus"]).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/polynic");
        assert!(!bench.bin("multus").exists());
    }
}
