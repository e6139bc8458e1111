//! Small random damage, the same for the same seed.

/// Numbers that break careless arithmetic.
const EXTREMES: [u64; 10] = [
    0,
    1,
    3,
    255,
    1 << 31,
    1 << 32,
    1 << 61,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX,
];

/// Pieces of JSON and Jinja that parsers trip over.
const PIECES: [&[u8]; 12] = [
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"[[[[[[[[",
    b"{\"a\":",
    b"\"\\ud800\"",
    b"\xff\xfe",
    b"{% for i in range(99999999) %}",
    b"{{ messages }}",
    b"{% endfor %}",
    b"../../",
];

/// A source of damage (xorshift64*).
#[derive(Debug)]
pub struct Damage {
    state: u64,
}

impl Damage {
    /// Damage of its own for each seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// A number below `end`, 0 for an `end` of 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end.max(1)
    }

    /// Changes `bytes` in one to four places.
    pub fn apply(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = bytes.len().min(at + 1 + self.below(40));
            match self.below(6) {
                0 => overwrite(bytes, at, &[self.next() as u8]),
                1 => overwrite(bytes, at, &(self.below(64) as u32).to_le_bytes()),
                2 => overwrite(
                    bytes,
                    at,
                    &EXTREMES[self.below(EXTREMES.len())].to_le_bytes(),
                ),
                3 => bytes.truncate(at),
                4 => drop(bytes.drain(at..end)),
                _ => drop(bytes.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())),
            }
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (old, new) in bytes.iter_mut().skip(at).zip(new) {
        *old = *new;
    }
}
