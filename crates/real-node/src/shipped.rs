//! What users get, made of the program under test: the image, and the archive for a node.
//!
//! The program of a test is not static, so the image has its libraries as well; everything else is as it is shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use polynic_xtask::image::{Packing, Recipe, ship};

/// Where it is; made once for each build of the program.
#[derive(Debug)]
pub struct Shipped {
    /// The image, as a runtime imports it.
    pub image: PathBuf,
    /// What is unpacked into a node's directory of plugins.
    pub node: PathBuf,
}

impl Shipped {
    /// That of this tree.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn of_this_tree() -> &'static Self {
        static SHIPPED: OnceLock<Shipped> = OnceLock::new();
        SHIPPED.get_or_init(|| {
            let plugins = Path::new(polynic_e2e::plugins());
            let (program, directory) = (plugins.join("polynic"), plugins.with_file_name("e2e-image"));
            Self::found(&directory, modified(&program)).unwrap_or_else(|| Self::made(&program, &directory))
        })
    }

    /// The name that the charts give to the image.
    pub fn name() -> String {
        format!("ghcr.io/polynic/polynic:v{}", env!("CARGO_PKG_VERSION"))
    }

    fn found(directory: &Path, built: SystemTime) -> Option<Self> {
        let file = |prefix: &str| {
            let files = directory.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.path()));
            let mut fitting = files
                .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix)));
            fitting.find(|path| modified(path) > built)
        };
        Some(Self { image: file("polynic-image-")?, node: file("polynic-node-")? })
    }

    fn made(program: &Path, directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        let work = tempfile::tempdir_in(directory).unwrap();
        let stripped = work.path().join("polynic");
        let done = Command::new("strip").arg("-o").arg(&stripped).arg(program).status().unwrap();
        assert!(done.success(), "strip {}: {done}", program.display());
        let libraries: Vec<_> = libraries(&stripped).into_iter().map(content).collect();
        let recipe = Recipe {
            program: &stripped,
            version: env!("CARGO_PKG_VERSION"),
            beside: &libraries,
            packing: Packing::Plain,
        };
        let shipped = ship(&recipe, &work.path().join("dist")).unwrap();
        assert!(shipped.left_out.is_empty(), "not in the image: {:?}", shipped.left_out);
        let [image, node] = [shipped.image, shipped.node].map(|file| {
            let to = directory.join(file.file_name().unwrap());
            fs::rename(&file, &to).unwrap();
            to
        });
        Self { image, node }
    }
}

fn modified(file: &Path) -> SystemTime {
    file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Lines like `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and the loader's without a name before.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
}

fn content(library: PathBuf) -> (String, Vec<u8>) {
    let bytes = fs::read(&library).unwrap();
    (library.to_string_lossy().trim_start_matches('/').to_owned(), bytes)
}
