// What is set aside, what operators did, and who does the work: three tables.

import { get } from './api.js';
import { ask } from './actions.js';
import { byId, h, redraw, table } from './dom.js';
import { streamLink } from './failure.js';
import { clock, count, short } from './words.js';

/** Events that were set aside, each with its reason. */
export async function parked(status) {
  const some = status.projections.some((it) => it.parked + it.skipped > 0);
  byId('parked').hidden = !some;
  if (!some) return;
  const { parked: rows } = await get('/parked?limit=200');
  redraw(byId('parked-rows'), rows, () => {
    const of = (name) => status.projections.find((it) => it.name === name) ?? { name, parked: 0 };
    const list = table('Events that are not in the rows, and why', ['Projection', 'Event', 'Stream', 'Since', 'Why', 'Do'], rows.map((it) => {
      const told = (said) => answer.replaceChildren(said);
      const answer = h('span', { class: 'said', role: 'status' });
      const button = (text, label, verb, more) => h('button', { type: 'button', 'aria-label': label, onclick: () => ask(verb, of(it.projection), told, more) }, text);
      const why = it.error ? [h('span', { class: 'what' }, it.error.message), it.error.file && [' ', h('code', null, it.error.file)], it.error.sqlstate && [' ', h('code', null, it.error.sqlstate)]] : it.state === 'parked' ? 'waits behind an earlier event of its stream' : '';
      return [it.projection, [h('span', { class: 'number' }, count(it.position)), ` ${it.type}`],
        [streamLink(it.stream_id, it.version, short(it.stream_id)), ` v${it.version}`],
        [it.state === 'parked' ? 'parked ' : `${it.state} `, h('time', { class: 'number', datetime: it.since }, clock(it.since))], why,
        it.state === 'parked' ? h('div', { class: 'buttons' }, it.error && button('Retry the stream…', `Retry the stream… of event ${it.position}`, 'retry', { stream: it.stream_id }),
          button('Skip…', `Skip… event ${it.position}`, 'skip', { position: it.position, type: it.type }), answer) : ''];
    }));
    return rows.length < 200 ? list : [list, h('p', { class: 'quiet' }, 'These are the first 200. All: ', h('code', null, 'projectord parked'))];
  });
}

/** What operators did. */
export async function operations() {
  const { operations: rows } = await get('/operations?limit=50');
  redraw(byId('operations'), rows, () => rows.length === 0 ? h('p', { class: 'quiet' }, 'Nothing is on record yet.') :
    table('Pauses, rebuilds and the like, the newest first', ['When', 'Who', 'What', 'Projection', 'Detail'], rows.map(({ at, who, what, projection, detail }) =>
      [h('time', { class: 'number', datetime: at }, clock(at)), who ?? '', what, projection ?? '', inWords(detail)])));
}

/** `{"position": 5, "held": true}` as `position 5, held`. */
function inWords(detail) {
  if (detail === null || typeof detail !== 'object') return detail ?? '';
  const said = Object.entries(detail).filter(([, value]) => value !== null && value !== false);
  return said.map(([name, value]) => `${name.replaceAll('_', ' ')}${value === true ? '' : ` ${typeof value === 'object' ? JSON.stringify(value) : value}`}`).join(', ');
}

/** Who does the work. */
export function daemons(status) {
  const owned = (id) => [...(status.ingest?.owner === id ? ['ingest'] : []), ...status.projections.filter((it) => it.owner === id).map((it) => it.name)].join(', ');
  const seen = status.daemons.map((it) => ({ ...it, owned: owned(it.id) }));
  redraw(byId('daemons'), seen, () => seen.length === 0 ? h('p', { class: 'problem' }, 'None was seen within the last 10 s.') :
    table('Those that were seen within the last 10 s', ['Host', 'Process', 'Version', 'Since', 'Health', 'Has'], seen.map((it) =>
      [it.host, h('span', { class: 'number' }, it.pid), it.version, h('time', { class: 'number', datetime: it.started_at }, clock(it.started_at)),
        it.ready ? 'ready' : h('span', { class: 'problem' }, `not ready: ${it.reasons.join('; ')}`), it.owned || 'nothing'])));
}
