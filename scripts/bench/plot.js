// The figures as a chart: bars of tokens per second with the range of the rounds, one panel for prompts, one for decoding.

const COLORS = ['#2563eb', '#f59e0b', '#10b981', '#ef4444', '#8b5cf6', '#64748b', '#0891b2', '#d946ef'];
const PANEL = { width: 640, height: 300, left: 64, top: 48, bottom: 56, gap: 24 };

const escape = (text) => String(text).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const text = (x, y, content, more = '') => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escape(content)}</text>`;

/** Groups of bars: `{ label, bars: [{ series, value, range }] }`. */
function groupsOf(measurements, label, value) {
  const groups = new Map();
  for (const one of measurements.filter((each) => each[value] !== null)) {
    const name = label(one);
    const bar = { series: one.threads, value: one[value], range: one.range[value] };
    groups.set(name, [...(groups.get(name) ?? []), bar]);
  }
  return [...groups].map(([name, bars]) => ({ label: name, bars }));
}

/** A round number at or above `value` for the top of the axis. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((step) => step * power >= value) * power;
}

function bar({ value, range }, x, width, y, color) {
  const parts = [`<rect x="${x.toFixed(1)}" y="${y(value).toFixed(1)}" width="${width.toFixed(1)}" height="${(y(0) - y(value)).toFixed(1)}" fill="${color}"/>`];
  const middle = (x + width / 2).toFixed(1);
  if (range) parts.push(`<path d="M${middle} ${y(range[0]).toFixed(1)}V${y(range[1]).toFixed(1)}" stroke="#111"/>`);
  parts.push(text(x + width / 2, y(Math.max(value, range?.[1] ?? 0)) - 4, value >= 100 ? value.toFixed(0) : value.toPrecision(3), 'text-anchor="middle" font-size="10"'));
  return parts.join('');
}

function panel(title, groups, series, top) {
  const { width, height, left, bottom } = PANEL;
  const highest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ value, range }) => Math.max(value, range?.[1] ?? 0))));
  const limit = roundUp(highest * 1.05);
  const y = (value) => top + height - bottom - (value / limit) * (height - bottom - 24);
  const parts = [text(left, top + 8, title, 'font-weight="bold"')];
  for (let tick = 0; tick <= 4; tick += 1) {
    const value = (limit * tick) / 4;
    parts.push(`<path d="M${left} ${y(value).toFixed(1)}H${width - 8}" stroke="#ddd"/>`, text(left - 6, y(value) + 4, Number(value.toPrecision(3)), 'text-anchor="end"'));
  }
  const room = (width - left - 8) / groups.length;
  groups.forEach((group, index) => {
    const start = left + index * room + room * 0.1;
    const each = (room * 0.8) / Math.max(series.length, 1);
    for (const one of group.bars) {
      const at = series.indexOf(one.series);
      parts.push(bar(one, start + at * each, each * 0.9, y, COLORS[at % COLORS.length]));
    }
    parts.push(text(left + (index + 0.5) * room, top + height - bottom + 18, group.label, 'text-anchor="middle"'));
  });
  return parts.join('\n');
}

/**
 * The chart as SVG.
 * @param {{ machine: object, measurements: object[] }} results
 */
export function plotSvg({ machine, measurements }) {
  const series = [...new Set(measurements.map(({ threads }) => threads))];
  const panels = [
    ['Prompt, tokens/s, by its length', groupsOf(measurements, (one) => String(one.prefillTokens), 'prefillTps')],
    ['Decoding, tokens/s, by context and calls at a time', groupsOf(measurements, (one) => `${one.contextTokens}${one.batch > 1 ? ` x ${one.batch}` : ''}`, 'decodeTps')],
  ].filter(([, groups]) => groups.length > 0);
  const { width, height, left, top, gap } = PANEL;
  const total = top + panels.length * (height + gap);
  const { model, kernel } = measurements[0];
  const legend = series.map((threads, index) => {
    const x = left + index * 96;
    return `<rect x="${x}" y="28" width="10" height="10" fill="${COLORS[index % COLORS.length]}"/>${text(x + 14, 37, `${threads} thread${threads > 1 ? 's' : ''}`)}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${total}" width="${width}" height="${total}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${total}" fill="#fff"/>`,
    text(left, 18, `${model}, ${kernel}, ${machine.cpu}, ${machine.date}${machine.commit ? `, ${machine.commit}` : ''}`),
    ...legend,
    ...panels.map(([title, groups], index) => panel(title, groups, series, top + index * (height + gap) + 12)),
    '</svg>\n',
  ].join('\n');
}

/** The same in a page. */
export const plotHtml = (results) =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>Benchmark of ${escape(results.measurements[0].model)}</title><body>${plotSvg(results)}</body></html>\n`;
