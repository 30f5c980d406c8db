// Why something failed: what PostgreSQL said, at which event, in which file, and what to do. All of it can be selected.

import { h, prose } from './dom.js';
import { count } from './words.js';

/** A failure as the daemon has it on record. */
export function failure(it, label = 'What is wrong') {
  const rows = [];
  const line = (name, ...of) => rows.push(h('div', null, h('dt', null, name), h('dd', null, of)));
  if (it.event) {
    const { position, type, stream_id: stream, version } = it.event;
    line('Event', h('span', { class: 'number' }, count(position)), `, ${type}, version ${version} of stream `, streamLink(stream, version));
  }
  if (it.file) line('Handler', h('code', null, it.file));
  if (it.sqlstate) line('SQLSTATE', h('code', null, it.sqlstate));
  if (it.detail) line('Detail', it.detail);
  if (it.sql) line('SQL', h('pre', null, it.sql));
  if (it.hint) line('Hint', prose(it.hint));
  return h('div', { class: 'failure', role: 'group', 'aria-label': label }, h('p', { class: 'what' }, it.message), rows.length > 0 && h('dl', null, rows));
}

/** A way to a stream, and to one event of it. */
export const streamLink = (stream, version = null, text = stream) =>
  h('a', { href: `#/stream/${stream}${version === null ? '' : `/${version}`}`, class: 'id', title: stream }, text);
