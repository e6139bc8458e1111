//! How probable the model held what was chosen.

/// The log-probabilities of one choice.
#[derive(Debug)]
pub(crate) struct Record {
    /// What was chosen.
    pub(crate) chosen: (u32, f64),
    /// The likeliest ids, likeliest first, equal ones by id.
    pub(crate) top: Vec<(u32, f64)>,
}

/// The log-probabilities of `id` and of the `top` likeliest tokens by the model itself, before penalties, temperature, bias and
/// grammar: the softmax of `logits`, whose sum is taken in f64 in the order of the ids.
pub(super) fn record(logits: &[f32], id: u32, top: usize) -> Record {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let relative = |logit: f32| f64::from(logit) - f64::from(max);
    let total: f64 = logits.iter().map(|&logit| libm::exp(relative(logit))).sum();
    let logprob = |logit: f32| relative(logit) - libm::log(total);
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(top + 1);
    for (id, &logit) in (0..).zip(logits) {
        if top > 0 && (best.len() < top || best[top - 1].1 < logit) {
            let at = best.partition_point(|&(_, better)| better >= logit);
            best.insert(at, (id, logit));
            best.truncate(top);
        }
    }
    Record {
        chosen: (id, logprob(logits[id as usize])),
        top: best
            .into_iter()
            .map(|(id, logit)| (id, logprob(logit)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_and_the_likeliest_come_first() {
        let logits: Vec<f32> = (0..50).map(|i| ((i * 37) % 11) as f32 * 0.7).collect();
        let all = record(&logits, 3, 50);
        let sum: f64 = all.top.iter().map(|(_, logprob)| logprob.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        let mut sorted = all.top.clone();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        assert_eq!(all.top, sorted);
        assert_eq!(
            all.top.iter().find(|(id, _)| *id == 3).unwrap().1,
            all.chosen.1
        );
        assert_eq!(record(&logits, 3, 4).top, sorted[..4]);
        assert!(record(&logits, 3, 0).top.is_empty());
    }
}
