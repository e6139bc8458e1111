//! The bound on memory against what loading then takes, for every model that is here.

use std::path::{Path, PathBuf};

use llm_kernels::{Compute, Isa, Kernels};
use llm_model::{LoadOptions, resident_bound};

fn models() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = vec![root.join("demo/bitnet-demo")];
    for folder in ["testdata/oracle/models", "testdata/oracle/gguf"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        paths.extend(entries.map(|entry| entry.unwrap().path()));
    }
    paths
}

#[test]
fn no_model_takes_more_memory_than_its_file_promises() {
    for kernels in [Kernels::detect(), Kernels::for_isa(Isa::Scalar).unwrap()] {
        let compute = Compute::new(kernels, 1).unwrap();
        let mut loaded = 0;
        for path in models() {
            let Ok(file) = llm_format::open(&path) else {
                continue; // notes beside the models
            };
            let bound = resident_bound(&file, kernels);
            let options = LoadOptions::default();
            let Ok(model) = llm_model::load(&file, &compute, &options, &mut |_, _| ()) else {
                continue; // what is no decoder is tested elsewhere
            };
            let resident = model.config().resident_bytes;
            assert!(
                resident <= bound,
                "{}: {resident} above {bound}",
                path.display()
            );
            loaded += 1;
        }
        assert!(loaded >= 8, "only {loaded} models were loaded");
    }
}

#[test]
fn the_bound_is_near_for_a_ternary_model() {
    let path = models().remove(0);
    let file = llm_format::open(&path).unwrap();
    // 3,538,944 ternary weights at two bits, 524,288 of the embedding at two bytes, 7,936 of norms at four.
    let expected = 3_538_944 / 4 + 524_288 * 2 + 7_936 * 4;
    let bound = resident_bound(&file, Kernels::for_isa(Isa::Scalar).unwrap());
    assert!(
        bound >= expected && bound < expected + 10_000,
        "{bound}, not {expected}"
    );
}
