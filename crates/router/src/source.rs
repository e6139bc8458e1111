//! What a caller writes as the source of a model.

/// Prefixes that say what kind of source follows; the place is found the same way for all.
const PREFIXES: [&str; 5] = ["bitnet:", "local:", "file:", "huggingface:", "hf:"];

/// `source` without its prefix. A drive letter (`C:\models`) is none.
pub(crate) fn strip_prefix(source: &str) -> &str {
    let source = source.trim();
    let rest = PREFIXES
        .iter()
        .find_map(|prefix| source.strip_prefix(prefix));
    rest.map_or(source, |rest| rest.strip_prefix("//").unwrap_or(rest))
}

/// A short name for the model at `source`: its last part, without the ending of a file.
pub(crate) fn short_name(source: &str) -> &str {
    let last = source
        .trim_end_matches(['/', '\\'])
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default();
    let name = last
        .strip_suffix(".gguf")
        .or(last.strip_suffix(".safetensors"))
        .unwrap_or(last);
    if name.trim_matches('.').is_empty() {
        "model"
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_go_and_drive_letters_stay() {
        for (source, expected) in [
            (
                "bitnet:microsoft/BitNet-b1.58-2B-4T",
                "microsoft/BitNet-b1.58-2B-4T",
            ),
            ("hf:org/name", "org/name"),
            ("huggingface:org/name", "org/name"),
            ("local:./model.gguf", "./model.gguf"),
            ("file:///models/m.gguf", "/models/m.gguf"),
            ("file:/models/m.gguf", "/models/m.gguf"),
            ("C:\\models\\m.gguf", "C:\\models\\m.gguf"),
            ("  demo ", "demo"),
        ] {
            assert_eq!(strip_prefix(source), expected, "{source}");
        }
    }

    #[test]
    fn short_names_are_the_last_part() {
        for (source, expected) in [
            ("microsoft/BitNet-b1.58-2B-4T", "BitNet-b1.58-2B-4T"),
            ("/models/falcon/", "falcon"),
            ("C:\\models\\m.gguf", "m"),
            ("./x/model.safetensors", "model"),
            ("..", "model"),
            ("/", "model"),
        ] {
            assert_eq!(short_name(source), expected, "{source}");
        }
    }
}
