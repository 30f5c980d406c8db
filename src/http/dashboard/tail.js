// Events as they come, the newest first; held still where somebody reads.

import { follow, get } from './api.js';
import { byId, h, mark, say } from './dom.js';
import { streamLink } from './failure.js';
import { clock, count, rate, short } from './words.js';

const FIRST = 30;
const MOST = 200;
// How long a pointer may stand still and hold the lines.
const REST = 4000;
// The daemon says something at least every 15 s.
const PATIENCE = 40_000;

let stop = null;
// Held by the button; or because somebody points at a line, or is there with the keyboard.
let held = false;
let near = false;
let waiting = [];
let came = [];
const types = new Set();

/** Follows the log with the filter that stands in the form. */
export async function start() {
  end();
  byId('tail').replaceChildren();
  say(byId('tail-problem'), '');
  const filter = new URLSearchParams();
  const [type, stream] = ['type', 'stream'].map((it) => byId(`tail-${it}`).value.trim());
  if (type) filter.set('type', type);
  if (stream) filter.set('stream', stream);
  // What another start has ended meanwhile shows nothing.
  let ended = false;
  stop = () => (ended = true);
  const broken = (why) => !ended && say(byId('tail-problem'), why);
  let after = null;
  while (after === null && !ended) {
    try {
      const newest = new URLSearchParams([...filter, ['newest', 'true'], ['limit', FIRST]]);
      const { events, read_to: read } = await get(`/events?${newest}`);
      if (ended) return;
      events.forEach(show);
      after = read;
    } catch (problem) {
      broken(problem.wantsToken ? '' : problem.message);
      if (problem.status !== 0 && problem.status < 500) return;
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
  if (ended) return;
  filter.set('after', after);
  const away = follow(`/events/live?${filter}`, {
    patience: PATIENCE,
    failed: (problem) => broken(problem.wantsToken ? '' : `${problem.message} Trying again.`),
    heard: ({ event, data }) => {
      if (event === 'problem') broken(JSON.parse(data).detail);
      if (event !== 'event') return;
      say(byId('tail-problem'), '');
      take(JSON.parse(data));
    },
  });
  stop = () => ((ended = true), away());
}

export function end() {
  stop?.();
  stop = null;
  waiting = [];
}

function take(event) {
  came.push(Date.now());
  if (waiting.length === 0) requestAnimationFrame(release);
  waiting.push(event);
  if (waiting.length > MOST) waiting.shift();
}

function release() {
  if (held || near) return;
  waiting.forEach(show);
  waiting = [];
}

function show(event) {
  const list = byId('tail');
  list.prepend(line(event));
  while (list.childElementCount > MOST) list.lastElementChild.remove();
  if (!types.has(event.type) && types.size < 200) {
    types.add(event.type);
    byId('types').append(h('option', { value: event.type }));
  }
}

/** One event; its summary is a line, the rest is a click away. */
function line(event) {
  const { position, stream_id: stream, version, type, data, recorded_at: at } = event;
  return h('details', { class: 'event' },
    h('summary', null,
      h('span', { class: 'number position' }, count(position)),
      h('span', { class: 'type' }, type),
      h('span', { class: 'quiet stream' }, `${short(stream)} v${version}`),
      h('span', { class: 'data' }, JSON.stringify(data)),
      h('time', { class: 'quiet number', datetime: at }, clock(at))),
    whole(event));
}

/** All of an event, as text that can be selected. */
const whole = (event) => h('div', { class: 'whole' },
  h('p', null, `Version ${event.version} of ${event.stream_type} `, streamLink(event.stream_id, event.version)), payload(event));

/** What an event says. */
export function payload({ data, metadata, commit_id: commit }) {
  const line = JSON.stringify(data);
  const more = metadata && Object.keys(metadata).length > 0;
  return [
    h('pre', null, line.length < 72 ? line : JSON.stringify(data, null, 2)),
    (commit || more) && h('p', { class: 'quiet' }, commit && ['commit ', h('span', { class: 'id' }, commit)], commit && more && ', ',
      more && ['metadata ', h('code', null, JSON.stringify(metadata))]),
  ];
}

function hold(wanted) {
  held = wanted;
  mark(byId('tail-hold'), 'aria-pressed', String(held));
  pace();
  release();
}

function come(is) {
  near = is;
  pace();
  release();
}

/** How fast they come, or how many wait. */
function pace() {
  const now = Date.now();
  came = came.filter((it) => it > now - 10_000);
  say(byId('tail-rate'), held || near ? `held still; ${count(waiting.length)}${waiting.length === MOST ? ' or more' : ''} wait` : came.length > 0 ? rate(came.length / 10) : '');
}

/** Wires the form; `start` begins. */
export function prepare() {
  byId('tail-filter').addEventListener('submit', (event) => {
    event.preventDefault();
    start();
  });
  byId('tail-hold').addEventListener('click', () => hold(!held));
  // Whoever has opened one, reads.
  byId('tail').addEventListener('toggle', (event) => event.target.open && hold(true), true);
  // Lines do not run away from under a pointer that moves, nor from under the keyboard. A pointer that rests holds nothing.
  const list = byId('tail');
  let rests;
  const left = () => come(list.contains(document.activeElement));
  list.addEventListener('pointermove', ({ pointerType, movementX, movementY }) => {
    if (pointerType !== 'mouse' || (movementX === 0 && movementY === 0)) return;
    if (!near) come(true);
    clearTimeout(rests);
    rests = setTimeout(left, REST);
  });
  list.addEventListener('pointerleave', left);
  list.addEventListener('focusin', () => come(true));
  list.addEventListener('focusout', (event) => come(list.contains(event.relatedTarget)));
  setInterval(pace, 1000);
}
