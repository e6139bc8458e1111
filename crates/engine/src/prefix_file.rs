//! Keys and values of a conversation in a file, to go on with in another process.
//!
//! A file belongs to one model: its first positions are computed again when it is read, and have to be the same bit for bit. As they depend
//! on every layer, a file of another model, or of other weights, is told from its own so, and recomputed as if it were not there.
//!
//! Layout, little-endian: magic, version (u32), numbers of a row (u32), rows of a position (u32), tokens (u64), their ids (u32 each), the
//! rows ([`KvCache::save`]), and the SHA-256 of all that.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use llm_model::KvCache;
use ring::digest::{Context, SHA256};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::inbox::Command;
use crate::request::Prompt;
use crate::task::{Reply, task};

const MAGIC: [u8; 8] = *b"LLMRKVPX";
const VERSION: u32 = 1;

/// Positions that are computed again to see whether a file is of this model.
pub(crate) const PROOF: usize = 8;

/// Work of the engine's thread on what it keeps of finished requests.
#[derive(Debug)]
pub(crate) enum PrefixWork {
    /// What there is of the beginning of these tokens.
    Find(Vec<u32>, Reply<Option<KvCache>>),
    /// Keep a cache of these tokens if it proves to be this model's; tells whether it did.
    Adopt(Vec<u32>, KvCache, Reply<bool>),
}

impl PrefixWork {
    pub(crate) fn fail(self, error: EngineError) {
        match self {
            Self::Find(_, reply) => reply.send(Err(error)),
            Self::Adopt(_, _, reply) => reply.send(Err(error)),
        }
    }
}

impl Engine {
    /// Writes the keys and values that are kept of the beginning of `prompt`; gives the number of tokens, 0 (and no file) where there are
    /// none. Waits for the disk.
    ///
    /// # Errors
    /// [`EngineError::PrefixFile`]; what tokenizer and template say; [`EngineError::Closed`].
    pub fn save_prefix(&self, prompt: Prompt, path: &Path) -> Result<usize, EngineError> {
        let mut tokens = self.vocabulary.encode_prompt(prompt)?;
        let (reply, found) = task();
        let work = PrefixWork::Find(tokens.clone(), reply);
        self.inbox.send(Command::Prefix(Box::new(work)))?;
        let Some(cache) = found.wait()? else {
            return Ok(0);
        };
        tokens.truncate(cache.len());
        write(path, &tokens, &cache).map_err(|source| EngineError::PrefixFile {
            path: path.to_owned(),
            source,
        })?;
        Ok(tokens.len())
    }

    /// Reads what [`save_prefix`](Self::save_prefix) has written, so that the next prompt of this beginning need not be computed; gives the
    /// number of tokens, 0 where the file is not there, damaged, of another version or of another model.
    ///
    /// # Errors
    /// [`EngineError::Closed`]; what the proof fails with.
    pub fn load_prefix(&self, path: &Path) -> Result<usize, EngineError> {
        let Ok((tokens, cache)) = read(path, self.model.new_cache(), self.context_size) else {
            return Ok(0);
        };
        let (n, n_vocab) = (tokens.len(), self.model.config().n_vocab);
        if n == 0 || tokens.iter().any(|&id| id as usize >= n_vocab) {
            return Ok(0);
        }
        let (reply, adopted) = task();
        let work = PrefixWork::Adopt(tokens, cache, reply);
        self.inbox.send(Command::Prefix(Box::new(work)))?;
        Ok(if adopted.wait()? { n } else { 0 })
    }
}

/// Counts what goes by into a checksum.
struct Summed<T> {
    inner: T,
    sum: Context,
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sum.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(bytes)?;
        self.sum.update(&bytes[..n]);
        Ok(n)
    }
}

fn header(cache: &KvCache) -> [u8; 20] {
    let (width, planes) = cache.row_shape();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut header = [0; 20];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&number(width));
    header[16..].copy_from_slice(&number(planes));
    header
}

/// Writes a file beside `path` and then in its place: a reader sees the old one or the new one.
fn write(path: &Path, tokens: &[u32], cache: &KvCache) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let sum = Context::new(&SHA256);
    let mut out = Summed {
        inner: BufWriter::new(File::create(&name)?),
        sum,
    };
    let written = write_all(&mut out, tokens, cache).and_then(|()| {
        let Summed { mut inner, sum } = out;
        inner.write_all(sum.finish().as_ref())?;
        inner.flush()?;
        std::fs::rename(&name, path)
    });
    if written.is_err() {
        // The error that is told is the first one.
        let _ = std::fs::remove_file(&name);
    }
    written
}

fn write_all(out: &mut impl Write, tokens: &[u32], cache: &KvCache) -> io::Result<()> {
    out.write_all(&header(cache))?;
    out.write_all(&(tokens.len() as u64).to_le_bytes())?;
    for id in tokens {
        out.write_all(&id.to_le_bytes())?;
    }
    cache.save(out)
}

/// Reads a file of at most `most` tokens into `cache`, which is empty.
fn read(path: &Path, mut cache: KvCache, most: usize) -> io::Result<(Vec<u32>, KvCache)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut input = Summed {
        inner: BufReader::new(File::open(path)?),
        sum: Context::new(&SHA256),
    };
    let mut found = [0; 20];
    input.read_exact(&mut found)?;
    let mut count = [0; 8];
    input.read_exact(&mut count)?;
    let count = usize::try_from(u64::from_le_bytes(count)).map_err(|_| invalid())?;
    if found != header(&cache) || count > most {
        return Err(invalid());
    }
    let mut tokens = Vec::with_capacity(count);
    for _ in 0..count {
        let mut id = [0; 4];
        input.read_exact(&mut id)?;
        tokens.push(u32::from_le_bytes(id));
    }
    cache.restore(count, &mut input)?;
    let Summed { mut inner, sum } = input;
    let mut expected = [0; 32];
    inner.read_exact(&mut expected)?;
    if sum.finish().as_ref() != expected {
        return Err(invalid());
    }
    Ok((tokens, cache))
}
