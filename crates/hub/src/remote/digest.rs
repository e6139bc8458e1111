//! Whether what arrived is what the hub has.

use std::io::Read;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// Computes what an etag says: the SHA-256 of a large file, git's name (a SHA-1) of a small one.
pub(crate) struct Digest {
    context: Context,
    pub(crate) algorithm: &'static str,
}

impl Digest {
    /// For a file of `size` bytes with this etag; `None` when the etag is no hash of the content.
    pub(crate) fn for_etag(etag: &str, size: u64) -> Option<Self> {
        if !etag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        match etag.len() {
            64 => Some(Self {
                context: Context::new(&SHA256),
                algorithm: "SHA-256",
            }),
            40 => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {size}\0").as_bytes());
                Some(Self {
                    context,
                    algorithm: "git SHA-1",
                })
            }
            _ => None,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Takes in what `reader` gives, `len` bytes at most; tells how many there were.
    pub(crate) fn update_from(&mut self, reader: impl Read, len: u64) -> std::io::Result<u64> {
        let mut reader = reader.take(len);
        let mut buffer = vec![0; 1 << 18];
        let mut done = 0;
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                return Ok(done);
            }
            self.update(&buffer[..read]);
            done += read as u64;
        }
    }

    /// In hexadecimal.
    pub(crate) fn finish(self) -> String {
        let digest = self.context.finish();
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_sha_256_or_the_name_that_git_gives() {
        let of = |etag: &str, content: &[u8]| {
            let mut digest = Digest::for_etag(etag, content.len() as u64).expect("a hash");
            digest.update_from(content, u64::MAX).expect("in memory");
            digest.finish()
        };
        // `printf 'hello' | sha256sum` and `printf 'hello\n' | git hash-object --stdin`.
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(of(sha256, b"hello"), sha256);
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(of(git, b"hello\n"), git);
        for other in ["", "abc", "1234-5", &"g".repeat(64)] {
            assert!(Digest::for_etag(other, 1).is_none(), "{other}");
        }
    }
}
