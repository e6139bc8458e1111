//! Sources against folders as bitnet.cpp, Hugging Face tools and users leave them.

use std::fs;
use std::path::{Path, PathBuf};

use llm_hub::{HubError, Query, Resolved, SearchPaths, Via, resolve};
use tempfile::TempDir;

const ID: &str = "microsoft/BitNet-b1.58-2B-4T";
const NAME: &str = "BitNet-b1.58-2B-4T";

/// A bitnet.cpp folder, a Hugging Face cache and a demo model in one temporary folder.
struct Places {
    root: TempDir,
    paths: SearchPaths,
}

impl Places {
    fn new() -> Self {
        let root = TempDir::new().expect("temporary folder");
        let paths = SearchPaths {
            bitnet_dirs: vec![root.path().join("bitnet-repo")],
            hf_cache: Some(root.path().join("hub")),
            demo: None,
        };
        Self { root, paths }
    }

    /// Puts an empty file at a path below the root, with its folders.
    fn put(&self, path: &str) -> PathBuf {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("folders");
        fs::write(&path, "").expect("file");
        path
    }

    /// Puts a folder of Hugging Face weights at a path below the root.
    fn put_hf(&self, folder: &str) -> PathBuf {
        self.put(&format!("{folder}/model.safetensors"));
        self.put(&format!("{folder}/tokenizer.json"));
        let config = self.put(&format!("{folder}/config.json"));
        config.parent().map(Path::to_owned).expect("folder")
    }

    fn put_text(&self, path: &str, text: &str) {
        fs::write(self.put(path), text).expect("text");
    }

    fn find(&self, source: &str, quant_type: Option<&str>) -> Option<(PathBuf, Via)> {
        let Resolved { path, via } = resolve(query(source, quant_type), &self.paths).ok()?;
        Some((path, via))
    }

    fn error(&self, source: &str, quant_type: Option<&str>) -> HubError {
        resolve(query(source, quant_type), &self.paths).expect_err("no such model")
    }
}

fn query<'a>(source: &'a str, quant_type: Option<&'a str>) -> Query<'a> {
    Query {
        source,
        quant_type,
        ..Query::default()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_path_to_a_file_is_taken_as_it_is() {
    let places = Places::new();
    let file = places.put("some/model.gguf");
    let found = places.find(text(&file), Some("tl2"));
    assert_eq!(found, Some((file.clone(), Via::Path)));
    let padded = format!(" {} ", text(&file));
    assert_eq!(
        places.find(&padded, None),
        Some((file, Via::Path)),
        "white space is trimmed"
    );
}

#[test]
fn in_a_folder_the_wanted_type_is_picked() {
    let places = Places::new();
    let folder = places.root.path().join("m");
    let source = text(&folder);
    let i2_s = places.put("m/ggml-model-i2_s.gguf");
    let f32 = places.put("m/ggml-model-f32.gguf");
    let q4 = places.put("m/falcon-Q4_K_M.gguf");
    assert_eq!(places.find(source, None), Some((i2_s.clone(), Via::Path)));
    assert_eq!(
        places.find(source, Some("i2_s")),
        Some((i2_s.clone(), Via::Path))
    );
    assert_eq!(
        places.find(source, Some("I2_S")),
        Some((i2_s.clone(), Via::Path))
    );
    assert_eq!(places.find(source, Some("f32")), Some((f32, Via::Path)));
    assert_eq!(places.find(source, Some("q4_k_m")), Some((q4, Via::Path)));
    assert_eq!(
        places.find(source, Some("_m")),
        None,
        "half a type's name is no type"
    );
    assert_eq!(places.find(source, Some("tl2")), None);

    fs::remove_file(i2_s).expect("removed");
    let left = places.find(source, None).map(|(path, _)| path);
    assert_eq!(
        left,
        Some(folder),
        "two files and no default: the reader lists them"
    );
}

#[test]
fn the_only_gguf_file_needs_no_type_and_other_weights_serve_where_they_may_be_converted() {
    let places = Places::new();
    let only = places.put("one/whatever.gguf");
    let source = only.parent().map(text).expect("folder");
    assert_eq!(places.find(source, None), Some((only.clone(), Via::Path)));

    let folder = places.put_hf("hf");
    for (source, expected) in [(text(&folder), &folder), (source, &only)] {
        assert_eq!(places.find(source, Some("tl2")), None);
        let tl2 = Query {
            may_convert: true,
            ..query(source, Some("TL2"))
        };
        let found = resolve(tl2, &places.paths).expect("something to convert");
        assert_eq!((&found.path, found.via), (expected, Via::Path));
    }
    let found = places.find(text(&folder), None);
    assert_eq!(found, Some((folder.clone(), Via::Path)));
    let i2_s = places.put("hf/ggml-model-i2_s.gguf");
    let found = places.find(text(&folder), None);
    assert_eq!(found, Some((i2_s, Via::Path)));
}

#[test]
fn a_file_of_the_type_goes_before_one_that_is_to_be_converted_wherever_it_lies() {
    let places = Places::new();
    places.put(&format!("bitnet-repo/models/{NAME}/ggml-model-i2_s.gguf"));
    let tl2 = Query {
        may_convert: true,
        ..query(ID, Some("tl2"))
    };
    let found = resolve(tl2, &places.paths).expect("something to convert");
    assert_eq!(found.via, Via::BitnetDir);
    let file = places.put(&format!("other-repo/models/{NAME}/ggml-model-tl2.gguf"));
    let paths = SearchPaths {
        bitnet_dirs: ["bitnet-repo", "other-repo"]
            .map(|dir| places.root.path().join(dir))
            .into(),
        ..places.paths
    };
    assert_eq!(resolve(tl2, &paths).expect("a file of the type").path, file);
}

#[test]
fn a_folder_without_a_model_is_a_path_only_when_written_like_one() {
    let places = Places::new();
    let folder = places
        .put("m/config.json")
        .parent()
        .map(Path::to_owned)
        .expect("folder");
    for quant_type in [None, Some("i2_s")] {
        let found = places.find(text(&folder), quant_type);
        assert_eq!(
            found,
            Some((folder.clone(), Via::Path)),
            "the reader tells what is missing"
        );
    }
    // Tests run in the crate's folder, which has a folder `src` that holds no model.
    assert_eq!(
        places.find("./src", None),
        Some((PathBuf::from("./src"), Via::Path))
    );
    assert_eq!(places.find("src", None), None);
}

#[test]
fn an_id_is_found_in_the_bitnet_folders_in_order() {
    let mut places = Places::new();
    let file = places.put(&format!("bitnet-repo/models/{NAME}/ggml-model-i2_s.gguf"));
    assert_eq!(
        places.find(ID, Some("i2_s")),
        Some((file.clone(), Via::BitnetDir))
    );
    assert_eq!(
        places.find(NAME, None),
        Some((file.clone(), Via::BitnetDir))
    );

    let folder = places.put_hf(&format!("earlier/models/{NAME}"));
    places
        .paths
        .bitnet_dirs
        .insert(0, places.root.path().join("earlier"));
    assert_eq!(
        places.find(ID, None),
        Some((folder.clone(), Via::BitnetDir))
    );
    fs::remove_file(folder.join("model.safetensors")).expect("removed");
    let found = places.find(ID, None);
    assert_eq!(
        found,
        Some((file, Via::BitnetDir)),
        "a folder without weights is passed by"
    );

    let plain = places.put("bitnet-repo/models/tiny.gguf");
    assert_eq!(
        places.find("tiny.gguf", None),
        Some((plain, Via::BitnetDir))
    );
}

#[test]
fn an_id_is_found_in_the_hugging_face_cache_by_its_main_branch() {
    let places = Places::new();
    let repo = "hub/models--microsoft--BitNet-b1.58-2B-4T";
    places.put_hf(&format!("{repo}/snapshots/aaa"));
    places.put_hf(&format!("{repo}/snapshots/bbb"));
    let snapshot = |commit: &str| places.root.path().join(repo).join("snapshots").join(commit);
    for commit in ["aaa", "bbb"] {
        places.put_text(&format!("{repo}/refs/main"), &format!("{commit}\n"));
        assert_eq!(
            places.find(ID, None),
            Some((snapshot(commit), Via::HfCache))
        );
    }
    let gguf = places.put(&format!("{repo}/snapshots/aaa/ggml-model-tl2.gguf"));
    fs::remove_file(snapshot("bbb").join("config.json")).expect("removed");
    let found = places.find(ID, Some("tl2"));
    assert_eq!(
        found,
        Some((gguf, Via::HfCache)),
        "another snapshot has the file"
    );
    assert_eq!(places.find("other/BitNet-b1.58-2B-4T", None), None);
}

#[test]
fn a_cache_whose_main_branch_points_out_of_it_is_not_followed() {
    let places = Places::new();
    places.put_hf("outside");
    places.put("hub/models--a--b/snapshots/x/README.md");
    for commit in ["../../../outside", "..", "", "/outside"] {
        places.put_text("hub/models--a--b/refs/main", commit);
        assert_eq!(places.find("a/b", None), None, "{commit}");
    }
}

#[test]
fn the_bitnet_folder_goes_before_the_cache() {
    let places = Places::new();
    places.put_hf("hub/models--a--b/snapshots/x");
    assert_eq!(
        places.find("a/b", None).map(|(_, via)| via),
        Some(Via::HfCache)
    );
    places.put_hf("bitnet-repo/models/b");
    assert_eq!(
        places.find("a/b", None).map(|(_, via)| via),
        Some(Via::BitnetDir)
    );
}

#[test]
fn demo_means_the_shipped_model() {
    let mut places = Places::new();
    assert_eq!(places.find("demo", None), None);
    let folder = places.put_hf("shipped");
    places.paths.demo = Some(folder.clone());
    assert_eq!(places.find("demo", Some("i2_s")), Some((folder, Via::Demo)));
    assert_eq!(places.find("demo2", None), None);
}

#[test]
fn a_model_that_is_not_there_is_reported_with_places_names_and_remedy() {
    let places = Places::new();
    places.put("bitnet-repo/models/Falcon3-7B/config.json");
    places.put("bitnet-repo/models/bitnet-b1.58-2b-4t/config.json");
    places.put("hub/models--1bitLLM--bitnet_b1_58-3B/refs/main");
    let error = places.error(ID, Some("i2_s"));
    let message = error.to_string();
    let HubError::NotFound {
        name,
        looked_in,
        present,
        remedy,
    } = error
    else {
        panic!("{message}");
    };
    let root = places.root.path();
    assert_eq!(name, ID);
    let expected = [
        PathBuf::from(ID),
        root.join("bitnet-repo/models").join(NAME),
        root.join("hub/models--microsoft--BitNet-b1.58-2B-4T"),
    ];
    assert_eq!(looked_in, expected);
    assert_eq!(
        present,
        [
            "bitnet-b1.58-2b-4t",
            "1bitLLM/bitnet_b1_58-3B",
            "Falcon3-7B"
        ]
    );
    let place = root.join("bitnet-repo/models").join(NAME);
    assert!(remedy.contains("HF_HUB_OFFLINE"), "{remedy}");
    let place = format!("put its files into {}", place.display());
    assert!(remedy.ends_with(&place), "{remedy}");
    assert!(
        message.starts_with(&format!("Model not found: {ID}. Looked in: {ID}, ")),
        "{message}"
    );
    for part in [
        "; there is: bitnet-b1.58-2b-4t, 1bit",
        "; downloads are off",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_folder_without_the_wanted_type_is_reported_with_the_files_it_has() {
    let places = Places::new();
    places.put(&format!("bitnet-repo/models/{NAME}/ggml-model-i2_s.gguf"));
    let HubError::NotFound { present, .. } = places.error(ID, Some("tl1")) else {
        panic!("found");
    };
    assert_eq!(present, [format!("{NAME}/ggml-model-i2_s.gguf")]);
}

#[test]
fn a_mistyped_path_is_reported_with_its_neighbours_and_no_download() {
    let places = Places::new();
    places.put("models/tiny-i2_s.gguf");
    places.put("models/notes.txt");
    let source = places.root.path().join("models/tiny-i2s.gguf");
    let error = places.error(text(&source), None);
    let message = error.to_string();
    let HubError::NotFound {
        present, remedy, ..
    } = error
    else {
        panic!("{message}")
    };
    assert_eq!(
        (present, &*remedy),
        (
            vec!["tiny-i2_s.gguf".to_owned()],
            "give the path of a file or folder, or a Hugging Face id (owner/name)"
        )
    );
}

#[test]
fn at_most_ten_names_are_listed() {
    let places = Places::new();
    for i in 0..30 {
        places.put(&format!("bitnet-repo/models/model-{i}/config.json"));
    }
    let HubError::NotFound { present, .. } = places.error("model-x7", None) else {
        panic!("found");
    };
    assert_eq!(present.len(), 10);
    assert!(
        present.iter().take(3).any(|name| name == "model-7"),
        "{present:?}"
    );
}

#[test]
fn an_empty_source_is_no_model() {
    let places = Places::new();
    assert!(matches!(places.error("  ", None), HubError::EmptySource));
}

#[test]
fn a_download_that_was_stopped_is_no_model() {
    let places = Places::new();
    let snapshot = "hub/models--a--b/snapshots/x";
    places.put_hf(snapshot);
    let remove = |name: &str| {
        fs::remove_file(places.root.path().join(snapshot).join(name)).expect("removed");
    };
    remove("model.safetensors");
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    places.put_text(&format!("{snapshot}/model.safetensors.index.json"), index);
    places.put(&format!("{snapshot}/model-1.safetensors"));
    assert_eq!(places.find("a/b", None), None, "a shard is missing");
    places.put(&format!("{snapshot}/model-2.safetensors"));
    assert!(places.find("a/b", None).is_some());
    remove("tokenizer.json");
    assert_eq!(places.find("a/b", None), None, "the tokenizer is missing");
}

#[test]
fn a_revision_is_looked_for_in_the_cache_alone() {
    let places = Places::new();
    let repo = "hub/models--a--b";
    let [main, old] = ["aaa", "bbb"].map(|commit| {
        let folder = format!("{repo}/snapshots/{commit}");
        (places.put_hf(&folder), commit)
    });
    places.put_hf("bitnet-repo/models/b");
    places.put_text(&format!("{repo}/refs/main"), main.1);
    places.put_text(&format!("{repo}/refs/refs/pr/1"), old.1);
    let find = |revision| {
        let query = Query {
            revision: Some(revision),
            ..query("a/b", None)
        };
        resolve(query, &places.paths).ok().map(|found| found.path)
    };
    assert_eq!(find("main"), Some(main.0));
    assert_eq!(find("bbb").as_ref(), Some(&old.0));
    assert_eq!(find("refs/pr/1"), Some(old.0));
    for unknown in ["other", "../aaa", "/", ""] {
        assert_eq!(find(unknown), None, "{unknown}");
    }
    let path = Query {
        revision: Some("main"),
        ..query("./b", None)
    };
    let error = resolve(path, &places.paths).expect_err("no id");
    assert!(matches!(error, HubError::RevisionOfPath { .. }), "{error}");
}

#[test]
fn one_file_of_a_repository_has_a_name_of_three_parts() {
    let places = Places::new();
    let file = places.put("hub/models--a--b/snapshots/x/sub/m-Q8_0.gguf");
    assert_eq!(
        places.find("a/b/sub/m-Q8_0.gguf", None),
        Some((file, Via::HfCache))
    );
    for other in ["a/b/m-Q8_0.gguf", "a/b/../m.gguf", "a/b/sub"] {
        assert_eq!(places.find(other, None), None, "{other}");
    }
}
