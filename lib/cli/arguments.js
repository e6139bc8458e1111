// What was typed: numbers, and errors of whoever typed it.

/** A command, an argument or an option is wrong: the exit code says so. */
export class UsageError extends Error {
  code = 'ERR_PARSE_ARGS_USAGE';
}

/** The number that was given as `--flag`; undefined where none was. */
export function toNumber(flag, text) {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (text.trim() === '' || Number.isNaN(number)) throw new UsageError(`--${flag} takes a number; "${text}" was given`);
  return number;
}

/** The same for one that counts something. */
export function toCount(flag, text, least = 1, most = 1_000_000) {
  const number = toNumber(flag, text);
  if (number === undefined || (Number.isInteger(number) && number >= least && number <= most)) return number;
  throw new UsageError(`--${flag} takes a whole number from ${least} to ${most}; "${text}" was given`);
}
