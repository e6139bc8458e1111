//! Keys and values of finished requests, kept so that the next turn of a conversation starts where the last one ended, and
//! conversations with the same beginning share it.
//!
//! A cache depends on its tokens alone, bit for bit, so reuse never changes an answer.

use llm_model::KvCache;

/// Conversations that are kept.
const MAX_KEPT: usize = 16;

/// The caches of the last few requests, oldest first.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    kept: Vec<Kept>,
    /// Positions that the memory of all kept caches may have room for: one full context.
    max_positions: usize,
}

#[derive(Debug)]
struct Kept {
    /// As many as `cache` holds positions.
    tokens: Vec<u32>,
    cache: KvCache,
}

impl PrefixCache {
    /// An empty one that holds at most `max_positions` positions, or one cache of no more than that.
    pub(crate) fn new(max_positions: usize) -> Self {
        Self {
            kept: Vec::new(),
            max_positions,
        }
    }

    /// The cache that holds most of the beginning of `prompt`, and nothing else. The last token of the prompt is never in
    /// it, as its logits are needed. A cache that holds more than the beginning stays here and shares it.
    pub(crate) fn take(&mut self, prompt: &[u32]) -> Option<KvCache> {
        let usable = &prompt[..prompt.len().saturating_sub(1)];
        let common = |(at, kept): (usize, &Kept)| {
            let same = kept.tokens.iter().zip(usable).take_while(|(a, b)| a == b);
            (same.count(), at)
        };
        let (len, at) = self.kept.iter().enumerate().map(common).max()?;
        if len == 0 {
            return None;
        }
        if len == self.kept[at].tokens.len() {
            return Some(self.kept.remove(at).cache);
        }
        Some(self.kept[at].cache.fork(len))
    }

    /// A cache of as much of the beginning of `tokens` as any holds, shared with it.
    pub(crate) fn find(&self, tokens: &[u32]) -> Option<KvCache> {
        let common = |kept: &Kept| {
            let same = kept.tokens.iter().zip(tokens).take_while(|(a, b)| a == b);
            same.count()
        };
        let best = self.kept.iter().max_by_key(|kept| common(kept))?;
        Some(best.cache.fork(common(best))).filter(|cache| !cache.is_empty())
    }

    /// Keeps `cache`, whose positions hold the beginning of `tokens`, unless another one says more. Older ones that say no
    /// more are dropped, and then the oldest until all fit.
    pub(crate) fn put(&mut self, mut tokens: Vec<u32>, cache: KvCache) {
        tokens.truncate(cache.len());
        let known = self
            .kept
            .iter()
            .any(|kept| kept.tokens.starts_with(&tokens));
        if known || tokens.len() > self.max_positions {
            return;
        }
        self.kept.retain(|kept| !tokens.starts_with(&kept.tokens));
        self.kept.push(Kept { tokens, cache });
        while self.kept.len() > 1 && self.is_too_much() {
            self.kept.remove(0);
        }
    }

    /// Drops the oldest; false when there is none.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        let is_any = !self.kept.is_empty();
        self.kept.drain(..usize::from(is_any));
        is_any
    }

    /// The caches kept.
    pub(crate) fn caches(&self) -> impl Iterator<Item = &KvCache> {
        self.kept.iter().map(|kept| &kept.cache)
    }

    fn is_too_much(&self) -> bool {
        self.kept.len() > MAX_KEPT || KvCache::usage(self.caches()).positions > self.max_positions
    }
}
