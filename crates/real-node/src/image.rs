//! The container image of the tests: one static program that waits, as an OCI layout in a tar file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

/// The image's name; it is in no registry, so pods need `imagePullPolicy: Never`.
pub const IMAGE: &str = "localhost/pause:1";

/// Writes the image into `directory`, and answers the file's path.
pub(crate) fn write(directory: &Path) -> PathBuf {
    let file = directory.join("pause.tar");
    let layer = layer(&fs::read(compile(directory)).unwrap());
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    entry["annotations"] = json!({"io.containerd.image.name": IMAGE});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let mut tar = Builder::new(fs::File::create(&file).unwrap());
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644);
    append(&mut tar, "index.json", index.as_bytes(), 0o644);
    for blob in [layer.as_slice(), config.as_bytes(), manifest.as_bytes()] {
        append(&mut tar, &format!("blobs/{}", digest(blob).replace(':', "/")), blob, 0o644);
    }
    tar.finish().unwrap();
    file
}

/// Writes what the image has into a directory, for those who run containers without images.
///
/// # Panics
/// It cannot be written.
pub fn write_root(directory: &Path) {
    fs::create_dir(directory).unwrap();
    compile(directory);
}

/// Static, because the image has nothing else in it.
fn compile(directory: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/pause/main.rs");
    let program = directory.join("pause");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc)
        .args(["--edition=2024", "-Ctarget-feature=+crt-static", "-Cpanic=abort", "-Cstrip=symbols", "-o"])
        .arg(&program)
        .arg(source)
        .status()
        .expect("rustc can be started");
    assert!(compiled.success(), "the pause program does not compile");
    program
}

fn layer(program: &[u8]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    append(&mut tar, "pause", program, 0o755);
    tar.into_inner().unwrap()
}

fn append<W: std::io::Write>(tar: &mut Builder<W>, name: &str, content: &[u8], mode: u32) {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, name, content).unwrap();
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn digest(blob: &[u8]) -> String {
    let bytes: Vec<String> = Sha256::digest(blob).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", bytes.concat())
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
