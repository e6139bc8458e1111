/// The replacements of transformers' `clean_up_tokenization`, in its order: spaces before punctuation and contractions go.
const REPLACEMENTS: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// `clean_up_tokenization` over text that arrives in pieces: the same result as over the whole text.
#[derive(Clone, Debug)]
pub(crate) struct CleanUp {
    stages: [String; REPLACEMENTS.len()],
}

impl CleanUp {
    pub(crate) fn new() -> Self {
        Self {
            stages: Default::default(),
        }
    }

    /// Takes a piece; gives the cleaned text that no later piece can change.
    pub(crate) fn push(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (withheld, (from, to)) in self.stages.iter_mut().zip(REPLACEMENTS) {
            withheld.push_str(&text);
            text = replace_settled(withheld, from, to);
        }
        text
    }

    /// The end of the text: gives what was withheld.
    pub(crate) fn finish(&mut self) -> String {
        let mut text = String::new();
        for (withheld, (from, to)) in self.stages.iter_mut().zip(REPLACEMENTS) {
            withheld.push_str(&text);
            text = std::mem::take(withheld).replace(from, to);
        }
        text
    }
}

/// Replaces `from` in `buffer`, leaving behind the longest tail that begins another `from`.
fn replace_settled(buffer: &mut String, from: &str, to: &str) -> String {
    let done = buffer
        .match_indices(from)
        .last()
        .map_or(0, |(at, _)| at + from.len());
    let keep = (1..from.len())
        .rev()
        .find(|&length| buffer[done..].ends_with(&from[..length]))
        .unwrap_or(0);
    let tail = buffer.split_off(buffer.len() - keep);
    std::mem::replace(buffer, tail).replace(from, to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_cleaned_as_the_whole_text_is(pieces in proptest::collection::vec("[ .,'!nmsvetr]{0,4}", 0..20)) {
            let mut expected = pieces.concat();
            for (from, to) in REPLACEMENTS {
                expected = expected.replace(from, to);
            }
            let mut clean_up = CleanUp::new();
            let mut cleaned: String = pieces.iter().map(|piece| clean_up.push(piece)).collect();
            cleaned += &clean_up.finish();
            prop_assert_eq!(cleaned, expected);
        }
    }
}
