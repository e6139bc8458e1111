//! Models that embed.

use llm_engine::Isa;

use crate::support::{assert_none, ids, list, number, open, path, read_json, text};

#[test]
fn texts_become_the_golden_vectors() {
    let mut complaints = Vec::new();
    for name in ["qwen3-embed", "gemma3-embed"] {
        for (place, goldens, key) in [
            (
                format!("models/{name}"),
                format!("models/{name}/goldens.json"),
                "/embeddings",
            ),
            (
                format!("gguf/{name}.I2_S.gguf"),
                format!("gguf/{name}.I2_S.goldens.json"),
                "/modes/a8",
            ),
        ] {
            let engine = open(&path(&format!("testdata/oracle/{place}")), Isa::best(), 2);
            let goldens = read_json(&path(&format!("testdata/oracle/{goldens}")));
            let goldens = list(goldens.pointer(key).unwrap());
            for golden in goldens {
                let found = engine.tokenize(text(&golden["text"]), true).unwrap();
                if found != ids(&golden["ids"]) {
                    complaints.push(format!("{place}, {}: tokens {found:?}", golden["text"]));
                }
            }
            let texts: Vec<&str> = goldens.iter().map(|golden| text(&golden["text"])).collect();
            let vectors = engine.embed(&texts).unwrap().wait().unwrap();
            let mut within = 0;
            for (golden, vector) in goldens.iter().zip(&vectors) {
                let expected = list(&golden["embedding"]).iter().map(number);
                let pairs: Vec<(f64, f64)> =
                    vector.iter().map(|&x| x.into()).zip(expected).collect();
                let worst = pairs.iter().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                let cosine: f64 = pairs.iter().map(|(a, b)| a * b).sum();
                within += usize::from(worst <= number(&golden["tol"]));
                if vector.len() != list(&golden["embedding"]).len() || cosine < 0.998 {
                    complaints.push(format!("{place}, {}: cosine {cosine}", golden["text"]));
                }
            }
            if within * 4 < goldens.len() * 3 {
                complaints.push(format!(
                    "{place}: {within} of {} within tolerance",
                    goldens.len()
                ));
            }
        }
    }
    assert_none(&complaints);
}
