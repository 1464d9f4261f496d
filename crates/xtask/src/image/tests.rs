//! The image as a runtime reads it, made of a program that is only a few bytes long.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use super::{Packing, contents, layer, layout};

/// Looks like a program for amd64.
const PROGRAM: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0 the rest";

/// The image with everything that it can have.
fn contents() -> Vec<contents::Entry<'static>> {
    contents::image(PROGRAM, &contents::links().collect::<Vec<_>>(), &[])
}

/// Path to type, permissions, content or target.
type Tree = BTreeMap<String, (EntryType, u32, Vec<u8>)>;

fn tree(archive: &[u8]) -> Tree {
    let mut tree = Tree::new();
    for entry in Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if let Some(target) = entry.link_name_bytes() {
            content = target.into_owned();
            assert!(
                header.entry_type() == EntryType::Symlink
                    || tree.contains_key(std::str::from_utf8(&content).unwrap()),
                "{path} comes before its target"
            );
        }
        tree.insert(path, (header.entry_type(), header.mode().unwrap(), content));
    }
    tree
}

fn packed(packing: Packing) -> Vec<u8> {
    let about = layout::About { version: "1.2.3", architecture: "amd64", packing };
    layout::image(&contents(), about).unwrap()
}

fn image() -> Tree {
    tree(&packed(Packing::Compressed))
}

fn blob(image: &Tree, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = &image[&format!("blobs/sha256/{digest}")].2;
    let actual: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((actual.as_str(), bytes.len() as u64), (digest, descriptor["size"].as_u64().unwrap()));
    bytes.clone()
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Manifest and file system of the image.
fn opened() -> (Value, Tree) {
    let image = image();
    let index = parsed(&image["index.json"].2);
    let manifest = parsed(&blob(&image, &index["manifests"][0]));
    let config = parsed(&blob(&image, &manifest["config"]));
    let mut plain = Vec::new();
    GzDecoder::new(&blob(&image, &manifest["layers"][0])[..]).read_to_end(&mut plain).unwrap();
    let diff: String = Sha256::digest(&plain).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{diff}"));
    (config, tree(&plain))
}

#[test]
fn the_layout_leads_from_the_index_to_the_layer_by_digests_that_are_right() {
    let image = image();
    assert_eq!(parsed(&image["oci-layout"].2)["imageLayoutVersion"], "1.0.0");
    let descriptor = &parsed(&image["index.json"].2)["manifests"][0];
    assert_eq!(descriptor["annotations"]["io.containerd.image.name"], "ghcr.io/polynic/polynic:v1.2.3");
    assert_eq!(descriptor["platform"]["architecture"], "amd64");
    let (config, files) = opened();
    assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &"amd64".into()));
    assert_eq!(files[contents::PROGRAM], (EntryType::Regular, 0o755, PROGRAM.to_vec()));
    assert_eq!(files["tmp"].1, 0o1777);
    assert_eq!(files["var/run"], (EntryType::Symlink, 0o777, b"../run".to_vec()));
}

#[test]
fn the_same_program_gives_the_same_bytes() {
    let make = || packed(Packing::Compressed);
    assert_eq!(make(), make());
    let node =
        || layer::compressed(&contents::node(PROGRAM, &["macvlan", "multus"]), Packing::Compressed).unwrap();
    assert_eq!(node(), node());
}

/// The first word of every command in the published manifests of Multus (thin and thick, current and 4.0) and of kube-flannel, and what is
/// copied by them.
const PUBLISHED: [&str; 10] = [
    "/thin_entrypoint",
    "/install_multus",
    "/usr/src/multus-cni/bin/install_multus",
    "/usr/src/multus-cni/bin/multus-daemon",
    "/usr/src/multus-cni/bin/multus-shim",
    "/usr/src/multus-cni/bin/multus",
    "cp",
    "/flannel",
    "/opt/bin/flanneld",
    "/opt/bin/install-conf",
];

#[test]
fn the_commands_of_the_published_manifests_exist() {
    let (config, files) = opened();
    let path = config["config"]["Env"][0].as_str().unwrap().strip_prefix("PATH=").unwrap().to_owned();
    for command in PUBLISHED {
        let places = path.split(':').map(|directory| format!("{directory}/{command}"));
        let places: Vec<String> =
            if command.starts_with('/') { vec![command.to_owned()] } else { places.collect() };
        let found = places.iter().find_map(|place| files.get(place.trim_start_matches('/')));
        let (kind, mode, target) = found.unwrap_or_else(|| panic!("{command} is missing"));
        assert_eq!((*kind, *mode), (EntryType::Link, 0o755), "{command}");
        assert_eq!(target, contents::PROGRAM.as_bytes(), "{command}");
    }
}

#[test]
fn an_image_that_is_not_compressed_has_the_same_contents() {
    let image = tree(&packed(Packing::Plain));
    let manifest = parsed(&blob(&image, &parsed(&image["index.json"].2)["manifests"][0]));
    let config = parsed(&blob(&image, &manifest["config"]));
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    assert_eq!(tree(&blob(&image, &manifest["layers"][0])), opened().1);
}

#[test]
fn what_a_runtime_names_below_var_run_is_found_below_run() {
    let (_, files) = opened();
    assert_eq!(files["var/run"], (EntryType::Symlink, 0o777, b"../run".to_vec()));
}

#[test]
fn every_directory_comes_before_what_is_in_it() {
    let beside = [("lib64/ld-linux.so.2".to_owned(), vec![1]), ("usr/bin/more".to_owned(), vec![2])];
    let entries = contents::image(PROGRAM, &contents::links().collect::<Vec<_>>(), &beside);
    assert_eq!(entries.iter().filter(|entry| entry.path == "usr/bin").count(), 1);
    for (at, entry) in entries.iter().enumerate() {
        let Some((parent, _)) = entry.path.rsplit_once('/') else { continue };
        assert!(entries[..at].iter().any(|earlier| earlier.path == parent), "{}", entry.path);
    }
}

#[test]
fn the_nodes_archive_has_the_program_and_its_plugins() {
    let node = tree(&layer::archive(&contents::node(PROGRAM, &["macvlan"])).unwrap());
    assert_eq!(node.keys().collect::<Vec<_>>(), ["macvlan", "polynic"]);
    assert_eq!(node["macvlan"].2, b"polynic");
}

#[test]
fn the_machine_is_read_from_the_program() {
    assert_eq!(layout::architecture(PROGRAM).unwrap(), "amd64");
    assert!(layout::architecture(b"#!/bin/sh").is_err());
}
