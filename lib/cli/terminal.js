// What the user sees: answers on stdout, talk on stderr, colours and bars only where they can be shown.
import { environmentVariable } from '../paths.js';

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };
const CLEAR_LINE = '\r\x1b[K';
const BAR_WIDTH = 24;
/** Rates are of the last seconds, so that a bar shows what goes on now. */
const RATE_MS = 3000;

/** `1.2 GB`. */
export function bytes(count) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `1 h 5 min`, `3 min 20 s`, `9 s`. */
export function duration(seconds) {
  const [h, min, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.round(seconds) % 60];
  if (h > 0) return `${h} h ${min} min`;
  return min > 0 ? `${min} min ${s} s` : `${s} s`;
}

function hasColor(stream, wanted) {
  if (!wanted || environmentVariable('NO_COLOR') || environmentVariable('TERM') === 'dumb') return false;
  const forced = environmentVariable('FORCE_COLOR');
  return forced ? forced !== '0' : stream.isTTY === true;
}

/** Bytes a second of the last seconds. */
function rateMeter() {
  const marks = [];
  return (done) => {
    const now = performance.now();
    marks.push([now, done]);
    while (marks.length > 2 && now - marks[0][0] > RATE_MS) marks.shift();
    const [[since, before]] = marks;
    return now > since ? ((done - before) * 1000) / (now - since) : 0;
  };
}

/** The line of a running download. */
function barLine({ loadedBytes, totalBytes, file }, rate) {
  const share = totalBytes > 0 ? loadedBytes / totalBytes : 1;
  const filled = Math.round(share * BAR_WIDTH);
  const bar = `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`;
  const left = rate > 0 ? `, ${duration((totalBytes - loadedBytes) / rate)} left` : '';
  const what = file.waiting ? 'another process is fetching it' : `${bytes(rate)}/s${left}`;
  return `${bar} ${String(Math.floor(share * 100)).padStart(3)}%  ${bytes(loadedBytes)} of ${bytes(totalBytes)}  ${what}  ${file.name}`;
}

/**
 * @param {{ color?: boolean, quiet?: boolean, stdout?: object, stderr?: object }} [options]
 */
export function terminal({ color = true, quiet = false, stdout = process.stdout, stderr = process.stderr } = {}) {
  const painter = (stream) => {
    const isColored = hasColor(stream, color);
    return (style, text) => (isColored ? `\x1b[${CODES[style]}m${text}\x1b[0m` : text);
  };
  const showsBar = stderr.isTTY === true && !quiet && environmentVariable('TERM') !== 'dumb' && !environmentVariable('HF_HUB_DISABLE_PROGRESS_BARS');
  let isBarShown = false;
  let meter = rateMeter();

  const endProgress = () => {
    if (isBarShown) stderr.write(CLEAR_LINE);
    isBarShown = false;
    meter = rateMeter();
  };
  const line = (text) => {
    isBarShown = true;
    stderr.write(CLEAR_LINE + text.slice(0, (stderr.columns ?? 80) - 1));
  };
  /** For `onProgress`: nothing at all where there is no terminal. */
  const progress = (report) => {
    if (!showsBar) return;
    if (report.phase === 'download' || report.phase === 'convert') line(barLine(report, meter(report.loadedBytes)));
    else if (report.phase === 'weights') line(`Loading weights: ${bytes(report.loadedBytes)} of ${bytes(report.totalBytes)}`);
    else if (report.phase === 'ready') endProgress();
  };
  const paintError = painter(stderr);
  return {
    paint: painter(stdout),
    paintTalk: paintError,
    isInteractive: process.stdin.isTTY === true && stderr.isTTY === true,
    /** An answer. */
    print: (text) => stdout.write(`${text}\n`),
    write: (text) => stdout.write(text),
    json: (value) => stdout.write(`${JSON.stringify(value)}\n`),
    /** Talk. */
    say: (text) => {
      endProgress();
      if (!quiet) stderr.write(`${text}\n`);
    },
    fail: ({ message }) => stderr.write(`${paintError('red', 'Error:')} ${message}\n`),
    progress,
    /** One line about what is going on, where there is a terminal. */
    status: (text) => {
      if (showsBar) line(text);
    },
    endProgress,
  };
}
