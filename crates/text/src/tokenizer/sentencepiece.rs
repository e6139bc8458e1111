use std::collections::HashMap;

/// The longest piece (in characters) whose splits are considered; SentencePiece trains pieces of at most 16.
const MAX_PIECE_CHARS: usize = 64;

/// Merge rules that make byte-pair encoding join the same pieces as SentencePiece does by score.
///
/// SentencePiece joins the adjacent pair whose union has the highest score. So every way to cut a piece into two pieces
/// is a merge, ranked by the score of the whole; of one score, longer left parts come first, as in the conversion from
/// SentencePiece models to tokenizer.json.
pub(crate) fn merges_by_score(pieces: &HashMap<&str, f32>) -> Vec<(String, String)> {
    let mut merges: Vec<(f32, &str, &str)> = Vec::new();
    for (piece, &score) in pieces {
        let cuts = piece.char_indices().map(|(at, _)| at).skip(1);
        for (left, right) in cuts.take(MAX_PIECE_CHARS).map(|at| piece.split_at(at)) {
            if pieces.contains_key(left) && pieces.contains_key(right) {
                merges.push((score, left, right));
            }
        }
    }
    merges.sort_unstable_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then_with(|| b.1.len().cmp(&a.1.len()))
            .then_with(|| b.2.len().cmp(&a.2.len()))
            .then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
    });
    merges
        .into_iter()
        .map(|(_, left, right)| (left.to_owned(), right.to_owned()))
        .collect()
}
