// The figures as people read them: where and when, the machine's limits, one table of speeds, one of ratios.
import { spawnSync } from 'node:child_process';
import os from 'node:os';
import { isCheckout, ROOT } from '../support.js';

/** Below this many CPUs others hardly matter. */
const QUIET_CPUS = 0.1;

/** Processor, date and commit: what a figure means nothing without. */
export function whereAndWhen() {
  const git = isCheckout ? spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }) : null;
  return {
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cpus: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
    commit: git?.status === 0 ? git.stdout.trim() : null,
  };
}

const short = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

/** `12.3 [12.0-12.9]`, or `-` where there is no figure. */
function spread(value, range) {
  if (value === null || value === undefined) return '-';
  return range ? `${short(value)} [${short(range[0])}-${short(range[1])}]` : short(value);
}

const percent = (share) => (share === null ? '-' : `${Math.round(share * 100)} %`);

/** A table of text, columns aligned, in Markdown. */
function table(head, rows) {
  const widths = head.map((title, column) => Math.max(title.length, 3, ...rows.map((row) => row[column].length)));
  const line = (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`;
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join('\n');
}

function speedRows(one) {
  const rows = [];
  const { range } = one;
  const threads = String(one.threads);
  if (one.prefillTps !== null) {
    rows.push([threads, `prompt of ${one.prefillTokens}`, spread(one.prefillTps, range.prefillTps), one.gopPerSecond === null ? '-' : `${short(one.gopPerSecond)} GOP/s`, percent(one.shareOfPeak)]);
  }
  if (one.decodeTps !== null) {
    const what = `${one.decodeTokens} tokens after ${one.contextTokens}${one.batch > 1 ? `, ${one.batch} at a time` : ''}`;
    rows.push([threads, what, spread(one.decodeTps, range.decodeTps), one.gbPerSecond === null ? '-' : `${short(one.gbPerSecond)} GB/s`, percent(one.shareOfBandwidth)]);
  }
  return rows;
}

function startRow(one) {
  const { range } = one;
  const seconds = (name) => spread(one[name] === null ? null : one[name] / 1000, range[name]?.map((ms) => ms / 1000));
  return [String(one.threads), seconds('loadMs'), seconds('firstTokenMs'), seconds('coldFirstTokenMs'), `${Math.round(one.peakRssBytes / 2 ** 20)} MiB`];
}

function limitRow({ threads, isa, readGbPerSecond, int8GmacPerSecond, range }) {
  return [String(threads), isa, spread(readGbPerSecond, range.readGbPerSecond), spread(int8GmacPerSecond, range.int8GmacPerSecond)];
}

const headline = ({ model, kernel, rounds }, machine) => [
  `${model}, kernel ${kernel}, on ${machine.cpu} (${machine.cpus} CPUs), ${machine.date}${machine.commit ? `, commit ${machine.commit}` : ''}`,
  `Medians of ${rounds} rounds [lowest-highest]`,
];

const disturbed = (measurements) => {
  const others = Math.max(...measurements.map(({ otherCpus }) => otherCpus ?? 0));
  return others > QUIET_CPUS ? [`Other processes kept up to ${others.toFixed(1)} CPUs busy meanwhile: these figures are too low.`] : [];
};

/** Decoding with and without speculation as text. */
export function reportSpeculation({ machine, measurements }) {
  const row = ({ threads, decodeTokens, plainTps, speculativeTps, speedup, draftedTokens, acceptedTokens, range }) => [
    String(threads), `${decodeTokens} tokens`, spread(plainTps, range.plainTps), spread(speculativeTps, range.speculativeTps),
    spread(speedup, range.speedup), `${acceptedTokens} of ${draftedTokens}`,
  ];
  return [
    ...headline(measurements[0], machine),
    table(['threads', 'decoded', 'one by one, tokens/s', 'speculative, tokens/s', 'ratio', 'right guesses'], measurements.map(row)),
    ...disturbed(measurements),
  ].join('\n\n');
}

/** The whole report as text. */
export function report({ machine, measurements, limits, comparisons }) {
  if (measurements.length === 0) return 'Nothing to measure: every length is above the limit of the model.';
  const firsts = measurements.filter((one, index) => index === measurements.findIndex(({ threads }) => threads === one.threads));
  const parts = [
    ...headline(measurements[0], machine),
    table(['threads', 'measured', 'tokens/s', 'rate', 'of the limit'], measurements.flatMap(speedRows)),
    table(['threads', 'load, s', 'first token, s', 'the same, cold', 'peak memory'], firsts.map(startRow)),
    table(['threads', 'limits with', 'read, GB/s', 'int8, GMAC/s'], limits.map(limitRow)),
  ];
  if (comparisons.length > 0) {
    const row = ({ threads, test, rival, oursTps, rivalTps, ratio, range }) => [String(threads), test, rival, short(oursTps), short(rivalTps), spread(ratio, range)];
    parts.push(table(['threads', 'test', 'rival', 'ours, tokens/s', 'rival, tokens/s', 'ratio'], comparisons.map(row)));
  }
  return [...parts, ...disturbed(measurements)].join('\n\n');
}
