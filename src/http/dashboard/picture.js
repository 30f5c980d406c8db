// The two loops, drawn: where events come from, where they go, how fast, and where they are stuck.

import { byId, icon, redraw, say, svg } from './dom.js';
import { growth } from './history.js';
import { count, rate, span, stateInWords } from './words.js';

const ROW = 46;
// So many projections are drawn one by one; of more, those that are not live come first.
const MOST = 12;
const NARROW = 620;
const STUCK = ['halted', 'backoff', 'paused', 'down', 'stopped', 'unknown'];

// Texts that change without the picture being drawn anew, each with how to write it.
let changing = [];

/** Draws `status`; anew only where more than a figure has changed, so that what flows does not jump. */
export function draw(status, stale) {
  const box = byId('loops');
  const width = Math.round(box.clientWidth);
  if (width === 0) return;
  const seen = look(status, stale ? 'unknown' : status.daemons.length === 0 ? 'down' : null, width < NARROW);
  const shape = [width, seen.source.title, seen.source.lines, seen.source.does, seen.source.way, seen.more, seen.rows.map((it) => [it.name, it.way, it.builds])];
  redraw(box, shape, () => {
    changing = [];
    return (width < NARROW ? narrow : wide)(width, seen);
  });
  changing.forEach(([element, write]) => say(element, write(seen)));
}

/** What there is to draw; `instead` is the state of everything where nothing moves, or nobody knows. */
function look(status, instead, brief) {
  const { ingest, store, log } = status;
  const grows = instead ? null : growth(status);
  const copied = store.kind === 'rethinkdb';
  const state = instead ?? ingest?.state ?? 'live';
  const source = {
    title: copied ? 'RethinkDB' : 'Writers',
    lines: copied ? place(store.url) : ['append to the log'],
    does: ingest ? `ingest: ${stateInWords(state).toLowerCase()}` : 'append',
    way: way(state, grows),
    rate: grows,
  };
  const all = status.projections;
  const sorted = all.length > MOST ? all.toSorted((a, b) => (a.state === 'live') - (b.state === 'live')) : all;
  const rows = sorted.slice(0, MOST).map((it) => {
    const now = instead && !['paused', 'halted'].includes(it.state) ? instead : it.state;
    const speed = instead ? null : it.events_per_second;
    const building = it.generations.some((one) => one.state === 'building');
    return { name: it.name, state: now, way: way(now, speed), said: behind(it, now, brief), rate: speed, builds: building };
  });
  return { source, head: log.head, rows, more: all.length - rows.length };
}

function behind(it, state, brief) {
  const word = stateInWords(state);
  if (it.lag_events < 20 && it.lag_seconds < 2) return word;
  return `${word}, ${count(it.lag_events)} behind${brief ? '' : `, ${span(it.lag_seconds)}`}`;
}

/** Host and database of the store. */
function place(url) {
  const [, host, database] = /@?([^@/]+)\/([^/]*)$/.exec(url?.replace(/^\w+:\/\//, '') ?? '') ?? [];
  return host ? [database, host] : [];
}

/** How fast, where that is known. */
const pace = (of) => (of === null ? '' : rate(of));

/** How a way looks: its state, how thick, and whether something flows. */
const way = (state, pace) => [state, pace >= 1000 ? 3 : pace >= 50 ? 2 : 1, pace > 0.05 && !STUCK.includes(state)];

const text = (x, y, kind, anchor, of) => {
  const element = svg('text', { x, y, class: kind, 'text-anchor': anchor });
  if (typeof of === 'function') changing.push([element, of]);
  else element.append(of);
  return element;
};
const sign = (x, y, state) => svg('svg', { x: x - 8, y: y - 8, width: 16, height: 16 }, icon(['stopped', 'unknown'].includes(state) ? 'down' : state));

/** A way of events, broken where they do not go on. */
function line(path, [state, thick, flows], broken) {
  const stuck = STUCK.includes(state);
  const parts = [svg('path', { class: `way thick-${thick} ${stuck ? `stuck ${state}` : ''}`, d: path })];
  if (flows) parts.push(svg('path', { class: `flow thick-${thick}`, d: path }));
  if (stuck && broken) {
    const [x, y] = broken;
    parts.push(svg('circle', { class: 'gap', cx: x, cy: y, r: 11 }), sign(x, y, state));
  }
  return parts;
}

function node(x, y, width, title, lines) {
  const height = 34 + lines.length * 18;
  const top = y - height / 2;
  return [
    svg('rect', { class: 'node', x, y: top, width, height, rx: 8 }),
    text(x + width / 2, top + 23, 'title', 'middle', title),
    lines.map((it, nth) => text(x + width / 2, top + 42 + nth * 18, typeof it === 'function' ? 'figure' : 'quiet', 'middle', it)),
  ];
}

function wide(width, { source, rows, more }) {
  const listed = rows.length + (more > 0 ? 1 : 0);
  const height = Math.max(listed * ROW, 120) + 8;
  const middle = height / 2;
  const box = 150;
  const log = Math.round(width * 0.32);
  const right = Math.round(Math.max(log + box + 110, width * 0.62));
  const top = middle - (listed * ROW) / 2 + ROW / 2;
  const between = (box + log) / 2;
  const parts = [
    line(`M${box} ${middle}H${log}`, source.way, [between, middle]),
    text(between, middle - 16, 'quiet', 'middle', source.does),
    text(between, middle + 26, 'figure', 'middle', (now) => pace(now.source.rate)),
    node(1, middle, box - 1, source.title, source.lines),
  ];
  rows.forEach((it, nth) => {
    const y = top + nth * ROW;
    const bend = (log + box + right) / 2;
    parts.push(line(`M${log + box} ${middle}C${bend} ${middle} ${bend - 30} ${y} ${right} ${y}`, it.way, [right - 34, y]));
    parts.push(row(it, nth, right, y, width));
  });
  if (more > 0) parts.push(text(right + 32, top + rows.length * ROW + 5, 'quiet', 'start', `and ${more} more`));
  parts.push(node(log, middle, box, 'Log', [(now) => count(now.head), 'events']));
  return picture(width, height, parts);
}

function narrow(width, { source, rows, more }) {
  const x = 24;
  const step = ROW + 4;
  const top = 176;
  const height = top + (rows.length + (more > 0 ? 1 : 0)) * step;
  const parts = [
    line(`M${x} 50V108`, source.way, [x, 80]),
    text(x + 26, 76, 'quiet', 'start', source.does),
    text(x + 26, 95, 'figure', 'start', (now) => pace(now.source.rate)),
    svg('rect', { class: 'node', x: 1, y: 2, width: width - 2, height: 46, rx: 8 }),
    text(14, 22, 'title', 'start', source.title),
    text(14, 39, 'quiet', 'start', source.lines.join(' at ')),
  ];
  rows.forEach((it, nth) => {
    const y = top + nth * step;
    parts.push(line(`M${x} 150V${y - 14}Q${x} ${y} ${x + 14} ${y}H${x + 22}`, it.way, null), row(it, nth, x + 22, y, width));
  });
  if (more > 0) parts.push(text(x + 54, top + 5 + rows.length * step, 'quiet', 'start', `and ${more} more`));
  parts.push(
    svg('rect', { class: 'node', x: 1, y: 110, width: width - 2, height: 42, rx: 8 }),
    text(14, 136, 'title', 'start', 'Log'),
    text(width - 14, 136, 'figure', 'end', (now) => `${count(now.head)} events`),
  );
  return picture(width, height, parts);
}

/** A projection at the end of its way. */
function row(it, nth, x, y, width) {
  const end = width - 2;
  return svg('a', { href: `#/projection/${it.name}` },
    svg('rect', { class: 'hit', x, y: y - ROW / 2 + 1, width: Math.max(end - x, 0), height: ROW - 2, rx: 8 }),
    sign(x + 16, y, it.state),
    text(x + 32, y - 3, 'title', 'start', it.name),
    text(x + 32, y + 15, 'quiet', 'start', (now) => now.rows[nth].said + (it.builds ? '; being rebuilt' : '')),
    text(end - 8, y - 3, 'figure', 'end', (now) => pace(now.rows[nth].rate)));
}

const picture = (width, height, parts) =>
  svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'group', 'aria-label': 'Store, log and projections' }, parts);
