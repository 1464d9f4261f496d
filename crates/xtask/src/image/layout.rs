//! The image layout: blobs by their digests, and a few lines of JSON that lead to them (OCI image specification 1.1).

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Packing;
use super::contents::{self, Entry, What};
use super::layer;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Where images of the chart come from.
const REPOSITORY: &str = "ghcr.io/polynic/polynic";

/// A piece of the image.
struct Blob {
    media_type: &'static str,
    bytes: Vec<u8>,
}

impl Blob {
    fn json(media_type: &'static str, value: &Value) -> Self {
        Self { media_type, bytes: value.to_string().into_bytes() }
    }

    fn digest(&self) -> String {
        hex(&self.bytes)
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": format!("sha256:{}", self.digest()), "size": self.bytes.len()})
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the image specification calls the machine that a program runs on.
///
/// # Errors
/// It is no program for a machine that we build for.
pub fn architecture(program: &[u8]) -> Result<&'static str> {
    let machine = program.get(18..20).filter(|_| program.starts_with(b"\x7fELF"));
    match machine.context("the program is no ELF file")? {
        [0x3e, 0] => Ok("amd64"),
        [0xb7, 0] => Ok("arm64"),
        other => bail!("the program is for an unknown machine {other:?}"),
    }
}

/// What an image says about itself.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its version.
    pub version: &'a str,
    /// As [`architecture`] says.
    pub architecture: &'a str,
    /// How its layer is packed.
    pub packing: Packing,
}

/// The archive of the whole layout, of an image with these entries.
///
/// # Errors
/// An entry does not fit into an archive.
pub fn image(entries: &[Entry<'_>], about: About<'_>) -> Result<Vec<u8>> {
    let About { version, architecture, packing } = about;
    let plain = layer::archive(entries)?;
    let config = Blob::json(CONFIG, &config(version, architecture, &hex(&plain)));
    let layer = match packing {
        Packing::Compressed => Blob { media_type: LAYER, bytes: layer::compressed(entries, packing)? },
        Packing::Plain => Blob { media_type: PLAIN_LAYER, bytes: plain },
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": [layer.descriptor()],
    });
    let manifest = Blob::json(MANIFEST, &manifest);
    let index = index(&manifest, version, architecture).to_string();
    archive(&[layer, config, manifest], &index)
}

fn config(version: &str, architecture: &str, diff: &str) -> Value {
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            // By it a bare `cp` of a manifest is found.
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/src/multus-cni/bin:/opt/bin"],
            "Entrypoint": [format!("/{}", contents::PROGRAM)],
            "WorkingDir": "/",
            "Labels": {
                "org.opencontainers.image.title": "polynic",
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
    })
}

fn index(manifest: &Blob, version: &str, architecture: &str) -> Value {
    let mut descriptor = manifest.descriptor();
    descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
    descriptor["annotations"] = json!({
        "io.containerd.image.name": format!("{REPOSITORY}:v{version}"),
        "org.opencontainers.image.ref.name": format!("v{version}"),
    });
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [descriptor]})
}

fn archive(blobs: &[Blob], index: &str) -> Result<Vec<u8>> {
    let directory = |path: &str| Entry { path: path.to_owned(), what: What::Directory, mode: 0o755 };
    let file = |path: String, content| Entry { path, what: What::File(content), mode: 0o644 };
    let mut entries = vec![
        file("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#),
        file("index.json".to_owned(), index.as_bytes()),
        directory("blobs"),
        directory("blobs/sha256"),
    ];
    entries.extend(blobs.iter().map(|blob| file(format!("blobs/sha256/{}", blob.digest()), &blob.bytes)));
    layer::archive(&entries)
}
