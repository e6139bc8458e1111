// What a command tells the shell.

export const EXIT = { ok: 0, failed: 1, usage: 2, unavailable: 69, interrupted: 130 };

/** In words, for the help. */
export const EXIT_MEANINGS = {
  [EXIT.ok]: 'done',
  [EXIT.failed]: 'it failed',
  [EXIT.usage]: 'the command or an option is wrong',
  [EXIT.unavailable]: 'there is no such model, or it cannot be fetched',
  [EXIT.interrupted]: 'interrupted',
};

const UNAVAILABLE = new Set(['MODEL_NOT_FOUND', 'MODEL_GATED', 'UNAUTHORIZED', 'RATE_LIMITED', 'DOWNLOAD_FAILED', 'CHECKSUM_MISMATCH']);
const WRONG_USE = new Set(['INVALID_OPTION', 'INVALID_ARGUMENT', 'UNSUPPORTED_QUANT', 'ISA_UNAVAILABLE']);

export function exitCodeOf({ code = '' }) {
  if (code === 'ABORTED') return EXIT.interrupted;
  if (UNAVAILABLE.has(code)) return EXIT.unavailable;
  return WRONG_USE.has(code) || String(code).startsWith('ERR_PARSE_ARGS') ? EXIT.usage : EXIT.failed;
}
