//! Keys and values of finished requests, kept so that the next turn of a conversation starts where the last one ended.
//!
//! A cache depends on its tokens alone, bit for bit, so reuse never changes an answer.

use llm_model::KvCache;

/// Conversations that are kept.
const MAX_KEPT: usize = 4;

/// The caches of the last few requests, oldest first.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    kept: Vec<Kept>,
    /// Positions that all kept caches may hold together: one full context.
    max_positions: usize,
}

#[derive(Debug)]
struct Kept {
    /// As many as `cache` holds positions.
    tokens: Vec<u32>,
    /// How many of them were the prompt.
    n_prompt: usize,
    cache: KvCache,
}

impl Kept {
    /// How many tokens of `prompt` its cache saves. None when most of what was asked here would be lost: conversations
    /// that merely share a system prompt must not take each other's caches in turn.
    fn saves(&self, prompt: &[u32]) -> Option<usize> {
        let common = self
            .tokens
            .iter()
            .zip(prompt)
            .take_while(|(a, b)| a == b)
            .count();
        (common > 0 && common * 2 >= self.n_prompt).then_some(common)
    }
}

impl PrefixCache {
    /// An empty one that holds at most `max_positions` positions.
    pub(crate) fn new(max_positions: usize) -> Self {
        Self {
            kept: Vec::new(),
            max_positions,
        }
    }

    /// The cache that holds most of the beginning of `prompt`, and nothing else. The last token of the prompt is never in
    /// it, as its logits are needed.
    pub(crate) fn take(&mut self, prompt: &[u32]) -> Option<KvCache> {
        let usable = &prompt[..prompt.len().saturating_sub(1)];
        let saves = |(at, kept): (usize, &Kept)| kept.saves(usable).map(|len| (len, at));
        let (len, at) = self.kept.iter().enumerate().filter_map(saves).max()?;
        let mut cache = self.kept.remove(at).cache;
        cache.truncate(len);
        Some(cache)
    }

    /// Keeps `cache`, whose positions hold the beginning of `tokens`, of which `n_prompt` were the prompt; unless another
    /// one says more. Older ones that say no more are dropped, and then the oldest until all fit.
    pub(crate) fn put(&mut self, mut tokens: Vec<u32>, n_prompt: usize, cache: KvCache) {
        tokens.truncate(cache.len());
        let known = self
            .kept
            .iter()
            .any(|kept| kept.tokens.starts_with(&tokens));
        if known || tokens.len() > self.max_positions {
            return;
        }
        self.kept.retain(|kept| !tokens.starts_with(&kept.tokens));
        let n_prompt = n_prompt.min(tokens.len());
        self.kept.push(Kept {
            tokens,
            n_prompt,
            cache,
        });
        while self.kept.len() > MAX_KEPT || self.positions() > self.max_positions {
            self.kept.remove(0);
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.kept.iter().map(|kept| kept.cache.bytes()).sum()
    }

    fn positions(&self) -> usize {
        self.kept.iter().map(|kept| kept.tokens.len()).sum()
    }
}
