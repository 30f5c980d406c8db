// One stream: its events, and the rows that were made of it.

import { follow, get } from './api.js';
import { byId, h } from './dom.js';
import { payload } from './tail.js';
import { clock, count } from './words.js';

const PATIENCE = 40_000;
// Events that come close together are shown at once.
const GATHER = 300;
// How many events are shown, and how many of them before the one that is sought.
const MOST = 1000;
const BEFORE = 500;

let stop = null;

/** Shows a stream until `close`; `version` is the one to show first. */
export function open(id, version) {
  close();
  const box = byId('stream');
  box.hidden = false;
  const title = h('h2', { id: 'stream-title', tabindex: '-1' }, 'Stream ', h('span', { class: 'id' }, id));
  const events = h('div', { class: 'events' }, 'Loading …');
  const rows = h('div', null);
  box.replaceChildren(h('p', null, h('a', { href: '#/' }, '← Overview')), title, h('div', { class: 'sides' },
    h('section', { class: 'panel', 'aria-label': 'Its events' }, events),
    h('section', { class: 'panel', 'aria-labelledby': 'rows-title' }, h('h3', { id: 'rows-title' }, 'Rows made of it'), rows)));
  title.focus({ preventScroll: true });
  let ended = false;
  let timer = null;
  const from = Math.max(1, (Number(version) || 1) - BEFORE);
  const load = async (first) => {
    const path = `/streams/${encodeURIComponent(id)}`;
    const [stream, made, aside] = await Promise.allSettled([get(`${path}?from=${from}&limit=${MOST}`), get(`${path}/rows`), get('/parked?limit=1000')]);
    if (ended) return;
    const parked = (aside.value?.parked ?? []).filter((it) => it.stream_id === id);
    events.replaceChildren(...(stream.value ? ofEvents(stream.value, version, parked) : [refused(stream.reason)]));
    rows.replaceChildren(...(made.value ? ofRows(made.value) : [refused(made.reason)]));
    if (first && version) events.querySelector('.sought')?.scrollIntoView({ block: 'center' });
  };
  load(true);
  const away = follow(`/events/live?stream=${encodeURIComponent(id)}`, {
    patience: PATIENCE,
    failed: () => {},
    heard: () => {
      timer ??= setTimeout(() => {
        timer = null;
        load(false);
      }, GATHER);
    },
  });
  stop = () => {
    ended = true;
    clearTimeout(timer);
    away();
  };
}

export function close() {
  stop?.();
  stop = null;
  byId('stream').hidden = true;
}

const refused = (problem) => h('p', { class: 'problem' }, problem.message);

function ofEvents({ version, events }, sought, parked) {
  const kind = events[0]?.stream_type;
  const note = (it) => parked.filter((aside) => aside.version === it.version)
    .map((aside) => h('p', { class: 'problem' }, `${aside.state} in ${aside.projection}${aside.error ? `: ${aside.error.message}` : ', behind an earlier one'}`));
  return [
    h('h3', null, `${kind ? `${kind}, ` : ''}version ${count(version)}`),
    events.length > 0 && events.length < version && h('p', { class: 'quiet' }, `Events ${count(events[0].version)} to ${count(events.at(-1).version)} of ${count(version)}.`),
    h('ol', { class: 'history' }, events.map((it) => h('li', { class: String(it.version) === sought && 'sought' },
      h('header', null, h('span', { class: 'number version' }, it.version), h('strong', null, it.type),
        it.position !== undefined && h('span', { class: 'quiet number' }, `event ${count(it.position)}`),
        h('time', { class: 'quiet number', datetime: it.recorded_at }, clock(it.recorded_at))),
      note(it), h('div', { class: 'whole' }, payload(it))))),
  ].filter(Boolean);
}

function ofRows({ rows, not_searched: left = [] }) {
  const without = left.length > 0 && h('p', { class: 'quiet' }, 'Not searched, for want of an index on a large table: ', h('code', null, left.join(', ')));
  if (rows.length === 0) return [h('p', { class: 'quiet' }, 'No live read model has a row with this UUID in a column.'), without].filter(Boolean);
  const found = rows.map(({ projection, table, row }) => h('div', { class: 'row' },
    h('h4', null, h('code', null, `${projection}.${table}`)),
    h('dl', null, Object.entries(row).map(([column, value]) => h('div', null, h('dt', null, column), h('dd', null, typeof value === 'string' ? value : JSON.stringify(value)))))));
  return [...found, without].filter(Boolean);
}
