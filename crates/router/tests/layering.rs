//! Dependencies point one way: ARCHITECTURE.md's arrows, held here.

use std::path::Path;

/// Who may use whom. Test-only dependencies are not looked at.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("format", &[]),
    ("text", &["format"]),
    ("hub", &[]),
    ("model", &["kernels", "format"]),
    ("convert", &["kernels", "format", "text", "model"]),
    ("engine", &["kernels", "format", "text", "model"]),
    ("router", &["convert", "engine", "hub"]),
    ("wasm", &["engine"]),
];

/// Our own crates in the `[dependencies]` of a manifest.
fn ours(manifest: &str) -> Vec<&str> {
    let section = manifest
        .split("\n[")
        .find_map(|part| part.strip_prefix("dependencies]\n"));
    let names = section
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix("llm-"));
    names
        .filter_map(|rest| rest.split(['.', ' ', '=']).next())
        .collect()
}

#[test]
fn every_crate_uses_only_those_below_it() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<String> = std::fs::read_dir(&crates)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut known: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(folders, known, "a new crate needs a place in the map");
    let mut found = 0;
    for (name, allowed) in ALLOWED {
        let manifest = std::fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap();
        for used in ours(&manifest) {
            found += 1;
            assert!(allowed.contains(&used), "{name} must not use {used}");
        }
        assert!(!manifest.contains("napi"), "{name} must build without Node");
    }
    assert!(
        found >= 8,
        "the manifests were not understood: {found} uses"
    );
}
