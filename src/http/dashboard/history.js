// The last fifteen minutes, as the daemon remembers them, and from then on as we see them; and their graphs.

import { get } from './api.js';
import { h, mark, say, svg } from './dom.js';
import { clock } from './words.js';

// What is kept, in seconds; and the least that is drawn, where not so much is known yet.
const WINDOW = 900;
const LEAST = 120;
const HEIGHT = 40;

let every = 5;
// By projection, and '' for the log: [unix seconds, lag or head, events a second].
const points = new Map();

/** Asks the daemon; where it has no memory, the graphs begin empty. */
export async function load() {
  const { every_seconds: seconds, ingest, projections } = await get('/history');
  every = seconds;
  points.clear();
  points.set('', ingest);
  Object.entries(projections).forEach(([name, of]) => points.set(name, of));
}

/** Adds what is so now, as often as the daemon does. */
export function add({ log, projections }) {
  const now = Date.now() / 1000;
  const before = points.get('')?.at(-1);
  const passed = before ? now - before[0] : every;
  if (passed < every) return;
  put('', [now, log.head, before ? Math.max(0, log.head - before[1]) / passed : 0]);
  projections.forEach((it) => put(it.name, [now, it.lag_events, it.events_per_second]));
}

function put(name, point) {
  const of = points.get(name) ?? [];
  of.push(point);
  while (of.length > 0 && of[0][0] < point[0] - WINDOW) of.shift();
  points.set(name, of);
}

/** How many seconds the graphs show: all that is known, on one scale. */
export function shown() {
  const first = points.get('')?.[0]?.[0] ?? Infinity;
  return Math.min(WINDOW, Math.max(LEAST, Date.now() / 1000 - first));
}

/** How fast the log grows: what came within the last quarter of a minute. */
export function growth({ log }) {
  const now = Date.now() / 1000;
  const from = (points.get('') ?? []).find((it) => it[0] >= now - 15);
  return from && now - from[0] > 1 ? Math.max(0, log.head - from[1]) / (now - from[0]) : 0;
}

/** A graph of one figure: `which` is its place in a point. */
export class Graph {
  constructor(label, which, write) {
    Object.assign(this, { label, which, write });
    this.value = h('span', { class: 'peak' });
    this.area = svg('path', { class: 'area' });
    this.curve = svg('path', { class: 'curve' });
    this.at = svg('path', { class: 'at' });
    const parts = [svg('path', { class: 'base', d: `M0 ${HEIGHT - 0.5}H${WINDOW}` }), this.area, this.curve, this.at];
    this.picture = svg('svg', { viewBox: `0 0 ${WINDOW} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' }, parts);
    this.picture.addEventListener('pointermove', (event) => this.point(event));
    this.picture.addEventListener('pointerleave', () => this.point(null));
    this.element = h('figure', { class: 'graph' }, h('figcaption', null, h('span', null, label), this.value), this.picture);
  }

  draw(name, now) {
    const end = Date.now() / 1000;
    const width = shown();
    this.shown = [...(points.get(name) ?? []), [end, now, now]].filter((it) => it[0] > end - width);
    Object.assign(this, { end, width });
    const most = Math.max(...this.shown.map((it) => it[this.which]));
    // A little lag is no mountain: the scale goes up to ten at least.
    const scale = Math.max(most, 10);
    const place = ([time, ...it]) => [this.across(time), HEIGHT - 1 - (it[this.which - 1] / scale) * (HEIGHT - 4)];
    let line = '';
    let area = '';
    let before = null;
    for (const point of this.shown) {
      const [x, y] = place(point).map((it) => Math.round(it * 10) / 10);
      const broken = before === null || point[0] - before[0] > every * 4;
      if (broken && before !== null) area += `V${HEIGHT}Z`;
      line += `${broken ? 'M' : 'L'}${x} ${y}`;
      area += broken ? `M${x} ${HEIGHT}V${y}` : `L${x} ${y}`;
      before = point;
    }
    mark(this.curve, 'd', line);
    mark(this.area, 'd', `${area}V${HEIGHT}Z`);
    mark(this.picture, 'aria-label', `${this.label}: now ${this.write(now)}, at most ${this.write(most)}`);
    this.peak = `at most ${this.write(most)}`;
    if (!this.pointed) say(this.value, this.peak);
  }

  /** Where a time is drawn. */
  across(time) {
    return WINDOW * (1 - (this.end - time) / this.width);
  }

  /** What it was where somebody points. */
  point(event) {
    this.pointed = event !== null && this.shown.length > 0;
    if (!this.pointed) {
      mark(this.at, 'd', null);
      say(this.value, this.peak ?? '');
      return;
    }
    const { left, width } = this.picture.getBoundingClientRect();
    const time = this.end - this.width * (1 - (event.clientX - left) / width);
    const near = this.shown.reduce((a, b) => (Math.abs(b[0] - time) < Math.abs(a[0] - time) ? b : a));
    mark(this.at, 'd', `M${this.across(near[0])} 0V${HEIGHT}`);
    say(this.value, `${this.write(near[this.which])} at ${clock(near[0] * 1000)}`);
  }
}
