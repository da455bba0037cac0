//! Snapshots, whole and otherwise.

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::io::Write;

pub const META: &[u8] =
    br#"{"Version":1,"ID":"2-8419-17","Index":8419,"Term":2,"Size":20,"Format":"quorate","FormatVersion":1,
    "Datacenter":"dc1","Created":"2026-11-25T08:00:00Z"}"#;
/// Two chunks: eleven bytes, and one.
pub const STATE: &[u8] = b"\0\0\0\x0bhello world\0\0\0\x01!";

pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, bytes) in members {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend_from_slice(&[0; 1024]);
    tar
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn archive(meta: &[u8], state: &[u8]) -> Vec<u8> {
    let sums = format!("{}  meta.json\n{}  state.bin\n", sum(meta), sum(state));
    gzip(&tar(&[("meta.json", meta), ("state.bin", state), ("SHA256SUMS", sums.as_bytes())]))
}
