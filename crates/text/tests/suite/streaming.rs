//! Text that arrives token by token, and stop strings in it.

use std::sync::OnceLock;

use llm_text::{DecodeStream, StopMatcher, Tokenizer};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{MODELS, entries, goldens, ids, model, report, text};

#[test]
fn streamed_pieces_join_to_the_golden_text_and_never_show_half_a_character() {
    let mut failures = Vec::new();
    for name in MODELS {
        let tokenizer = Tokenizer::from_folder(&model(name)).expect(name);
        for case in entries(&goldens(name)["streaming"]) {
            let prefixes = entries(&case["prefix_decodes"]);
            let whole = text(prefixes.last().expect("a prefix"));
            let mut stream = tokenizer.decode_stream_with(false);
            let mut shown = String::new();
            for (id, prefix) in ids(&case["ids"]).into_iter().zip(prefixes) {
                shown += &stream.step(id).unwrap_or_default();
                if shown.contains('\u{FFFD}')
                    || !text(prefix).starts_with(&shown) && !whole.starts_with(&shown)
                {
                    failures.push(format!("{name}: {shown:?} at {prefix}"));
                }
                // Byte tokens of SentencePiece wait for the end of their run, all else is shown at once.
                let complete = !text(prefix).contains('\u{FFFD}');
                if complete && tokenizer.token_to_id("<0x00>").is_none() && shown != text(prefix) {
                    failures.push(format!("{name}: {shown:?} lags behind {prefix}"));
                }
            }
            shown += &stream.finish().unwrap_or_default();
            if shown != whole {
                failures.push(format!("{name}: {shown:?} for {whole:?}"));
            }
        }
    }
    report(&failures);
}

#[test]
fn an_emoji_over_several_tokens_arrives_whole() {
    let tokenizer = Tokenizer::from_folder(&model("bitnet-2b4t")).expect("a tokenizer");
    let tokens = tokenizer.encode("🚀", false).expect("ids");
    assert!(tokens.len() > 1, "{tokens:?}");
    let mut stream = tokenizer.decode_stream();
    let pieces: Vec<_> = tokens.iter().map(|&id| stream.step(id)).collect();
    let (last, others) = pieces.split_last().expect("pieces");
    assert_eq!(last.as_deref(), Some("🚀"));
    assert!(others.iter().all(Option::is_none), "{pieces:?}");
}

#[test]
fn invalid_bytes_end_as_replacement_characters() {
    for name in ["bitnet-2b4t", "bitnet158-legacy"] {
        let tokenizer = Tokenizer::from_folder(&model(name)).expect(name);
        let tokens = tokenizer.encode("🚀", false).expect("ids");
        let cut_short = &tokens[..tokens.len() - 1];
        let mut stream = tokenizer.decode_stream();
        let mut shown: String = cut_short.iter().filter_map(|&id| stream.step(id)).collect();
        assert!(!shown.contains('\u{FFFD}'), "{name}: {shown:?}");
        shown += &stream.finish().expect("the rest");
        assert!(shown.ends_with('\u{FFFD}'), "{name}: {shown:?}");
        assert_eq!(shown, tokenizer.decode(cut_short, true), "{name}");
    }
}

/// The reference: the `tokenizers` crate's own decoder over all ids at once.
fn decoded_by_library(library: &tokenizers::Tokenizer, ids: &[u32], skip_special: bool) -> String {
    library.decode(ids, skip_special).expect("a text")
}

fn tokenizers_of_all_models() -> &'static [(Tokenizer, tokenizers::Tokenizer)] {
    static ALL: OnceLock<Vec<(Tokenizer, tokenizers::Tokenizer)>> = OnceLock::new();
    ALL.get_or_init(|| {
        MODELS
            .iter()
            .map(|name| {
                let library = tokenizers::Tokenizer::from_file(model(name).join("tokenizer.json"));
                (
                    Tokenizer::from_folder(&model(name)).expect(name),
                    library.expect(name),
                )
            })
            .collect()
    })
}

fn all_pieces(mut stream: DecodeStream, ids: &[u32]) -> Vec<String> {
    let mut pieces: Vec<String> = ids.iter().filter_map(|&id| stream.step(id)).collect();
    pieces.extend(stream.finish());
    pieces
}

/// Cuts `text` at the given positions, those within a character left out.
fn cut(text: &str, positions: &[usize]) -> Vec<String> {
    let mut borders: Vec<usize> = positions
        .iter()
        .map(|&at| at % (text.len() + 1))
        .filter(|&at| text.is_char_boundary(at))
        .chain([0, text.len()])
        .collect();
    borders.sort_unstable();
    borders
        .windows(2)
        .map(|pair| text[pair[0]..pair[1]].to_owned())
        .collect()
}

/// What is left of `text` when the stop string that ends first ends it.
fn naive_stop<'a>(text: &'a str, stops: &[String]) -> (&'a str, bool) {
    for end in 0..=text.len() {
        let ending = stops
            .iter()
            .filter(|stop| !stop.is_empty() && text.as_bytes()[..end].ends_with(stop.as_bytes()));
        if let Some(longest) = ending.map(String::len).max() {
            return (&text[..end - longest], true);
        }
    }
    (text, false)
}

proptest! {
    #[test]
    fn any_ids_stream_to_what_the_library_decodes(
        ids in vec(0_u32..680, 0..60),
        skip_special: bool,
    ) {
        for (tokenizer, library) in tokenizers_of_all_models() {
            let expected = decoded_by_library(library, &ids, skip_special);
            prop_assert_eq!(&tokenizer.decode(&ids, skip_special), &expected);
            let pieces = all_pieces(tokenizer.decode_stream_with(skip_special), &ids);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert_eq!(pieces.concat(), expected);
        }
    }

    #[test]
    fn any_text_survives_encoding_and_decoding(text in "[a-z ,.é🚀日\n0-9]{0,40}") {
        for (tokenizer, _) in tokenizers_of_all_models() {
            let ids = tokenizer.encode(&text, false).expect("ids");
            prop_assert_eq!(&tokenizer.decode(&ids, true), &text);
        }
    }

    #[test]
    fn stop_strings_are_found_however_the_text_is_cut(
        text in "[abc\u{e9}\u{1f680}]{0,30}",
        stops in vec("[abc\u{e9}\u{1f680}]{0,4}", 0..4),
        positions in vec(any::<usize>(), 0..8),
    ) {
        let (expected, stops_early) = naive_stop(&text, &stops);
        let mut matcher = StopMatcher::new(stops.clone());
        let mut shown = String::new();
        let mut stopped = false;
        for piece in cut(&text, &positions) {
            let step = matcher.push(&piece);
            shown += &step.emit;
            stopped |= step.stopped;
            // All that is withheld begins a stop string.
            let seen = &text[..shown.len()];
            prop_assert_eq!(&shown, seen);
        }
        if !stopped {
            shown += &matcher.finish();
        }
        prop_assert_eq!(stopped, stops_early);
        prop_assert_eq!(shown, expected);
    }

    #[test]
    fn nothing_is_withheld_that_cannot_become_a_stop_string(text in "[ab]{0,12}", stop in "[ab]{1,4}") {
        let mut matcher = StopMatcher::new(vec![stop.clone()]);
        let step = matcher.push(&text);
        if !step.stopped {
            let withheld = &text[step.emit.len()..];
            prop_assert!(stop.starts_with(withheld) && withheld.len() < stop.len());
        }
    }
}

#[test]
fn tokenizers_and_streams_go_from_thread_to_thread() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send + 'static>() {}
    shared::<Tokenizer>();
    moved::<DecodeStream>();
    moved::<StopMatcher>();
}
