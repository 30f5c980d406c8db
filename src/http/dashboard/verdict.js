// What is wrong, the most urgent first, each with its remedy; or that all is well.

import { byId, h, icon, mark, prose, redraw, say } from './dom.js';
import { clock, count, many, rate, secondsSince, span } from './words.js';

// Lag that is worth a word, and how long something odd must stand before it is one.
const LATE = 30;
const PATIENCE = 6000;
const NOBODY = 'A daemon takes it within 10 s. Where none does, look at the log of the daemons.';

/** Problems of a status. Their text has no figure that changes by itself, so that it is read out once. */
export function problems(status) {
  const found = [];
  const add = (level, what, why, remedy, where = null, patient = false) => found.push({ level, what, why, remedy, where, patient });
  const { daemons, ingest, projections } = status;
  if (daemons.length === 0) {
    add('bad', 'No daemon is seen', 'Nothing below moves.', 'Start one: `projectord run`. Where one runs, PostgreSQL refuses what it writes: look at its log.');
  }
  if (ingest?.state === 'halted') {
    add('bad', 'Ingest is halted', ingest.error, 'The runbook of ingest has this text. Writers and projections go on; events wait in the store. It looks again every 10 s.');
  } else if (ingest?.state === 'backoff') {
    add('bad', 'Ingest waits for a server', ingest.error, 'Bring the server back, or correct its user or password. Ingest goes on by itself.');
  } else if (ingest && daemons.length > 0 && (ingest.state === 'stopped' || ingest.owner === null)) {
    add('bad', 'Nobody does ingest', 'New events do not reach the log.', NOBODY, null, true);
  }
  projections.forEach((it) => ofProjection(it, daemons, add));
  for (const { host, pid, reasons, refused_reloads: refused } of daemons) {
    const ours = reasons.filter((reason) => !projections.some((it) => reason.startsWith(`${it.name} is halted`)));
    if (ours.length > 0) add('bad', `The daemon at ${host}, pid ${pid}, is not ready`, ours.join('; '), 'It goes on by itself when that is put right.');
    if (refused > 0) add('warn', `The daemon at ${host}, pid ${pid}, refused files at a reload`, 'What ran before still runs.', '`projectord check` says what is wrong with them.');
  }
  if (new Set(daemons.map((it) => it.version)).size > 1) {
    add('note', 'Daemons of different versions run', null, 'Bring all to the same one, or their files rebuild each other’s read models in turn.');
  }
  const order = { bad: 0, warn: 1, note: 2 };
  return found.sort((a, b) => order[a.level] - order[b.level]);
}

/** The daemon's hint says what to do; PostgreSQL's own, what it thinks of the statement. */
function toDo(error) {
  const ours = 'Correct the handler and reload, or repair the database; then try again, below.';
  if (error?.hint?.includes('projectord')) return error.hint;
  return error?.hint ? `${ours} PostgreSQL’s hint: ${error.hint}` : ours;
}

function ofProjection(it, daemons, add) {
  const { name, error } = it;
  const here = (level, what, why, remedy, patient) => add(level, what, why, remedy, name, patient);
  if (it.state === 'halted') {
    const at = error?.event ? ` at event ${count(error.event.position)}` : '';
    here('bad', `${name} is halted${at}`, error?.message ?? 'No reason is on record.', toDo(error));
  } else if (it.state === 'backoff') {
    here('bad', `${name} waits for PostgreSQL`, error?.message, error?.hint ?? 'Put PostgreSQL right. The projection goes on by itself.');
  } else if (it.wanted === 'paused') {
    here('note', `${name} is paused`, null, 'Its rows grow old until somebody resumes it.');
  } else if (daemons.length > 0 && it.owner === null) {
    here('bad', `Nobody works on ${name}`, null, NOBODY, true);
  } else if (it.state === 'rebuilding') {
    here('warn', `${name} is rebuilt in place`, 'Readers see a part of its rows.', 'Wait until it has caught up.');
  } else if (it.lag_seconds > LATE) {
    const moves = it.events_per_second > 0;
    here('warn', `${name} is late`, moves ? 'It is catching up.' : 'It does not move.', moves ? 'Wait. Where its lag grows, the handlers are slow, often for want of an index.' : 'Is PostgreSQL out of disk, or does a lock stand in its way?');
  }
  if (it.rebuild_error) here('warn', `A rebuild of ${name} could not begin`, it.rebuild_error.message, it.rebuild_error.hint ?? 'Run `projectord check`, correct, reload with SIGHUP. The live rows go on.');
  for (const { generation, state, held, caught_up_at: done, error: failed } of it.generations) {
    if (state !== 'building') continue;
    if (failed) here('warn', `Generation ${generation} of ${name} cannot be built on`, failed.message, failed.hint ?? 'Correct the handlers and reload with SIGHUP, or cancel the rebuild. The live rows go on.');
    else if (held && done) here('note', `Generation ${generation} of ${name} is built and waits for you`, null, 'Compare it with the live rows, then swap it in or cancel.');
  }
  if (it.parked > 0) here('warn', `${many(it.parked, 'event')} of ${name} ${it.parked === 1 ? 'is' : 'are'} parked`, null, 'Correct the cause, then retry them; everything else goes on.');
}

// When something odd was first seen.
const seen = new Map();

/** Those that have stood for long enough. */
function standing(found) {
  const now = Date.now();
  const names = new Set(found.map((it) => it.what));
  [...seen.keys()].filter((it) => !names.has(it)).forEach((it) => seen.delete(it));
  found.forEach((it) => seen.has(it.what) || seen.set(it.what, now));
  return found.filter((it) => !it.patient || now - seen.get(it.what) >= PATIENCE);
}

/** Shows it. `broken` is why what is shown is old, or null; an old picture's other problems are still told. */
export function show(status, broken) {
  const found = status ? standing(problems(status)) : [];
  if (broken) found.unshift({ level: 'bad', ...broken, where: null });
  const worst = found[0];
  const level = worst?.level === 'note' ? 'good' : (worst?.level ?? (status ? 'good' : 'wait'));
  const first = level === 'good' ? null : worst;
  mark(byId('verdict'), 'data-level', level);
  mark(byId('headline-icon'), 'href', `#i-${{ good: 'live', bad: 'halted', warn: 'warn', wait: 'backoff' }[level]}`);
  redraw(byId('headline'), [level, first?.what], () => (first ? linked(first) : status ? 'Everything is all right' : 'Connecting'));
  redraw(byId('why'), first?.why ?? null, () => prose(first?.why ?? ''));
  redraw(byId('remedy'), first?.remedy ?? null, () => (first ? [h('strong', null, 'What to do: '), prose(first.remedy)] : []));
  say(byId('facts'), status && !broken ? facts(status) : '');
  const rest = first ? found.slice(1) : found;
  redraw(byId('others'), rest, () => rest.map((it) => h('li', { class: it.level }, icon(it.level === 'bad' ? 'halted' : it.level),
    h('span', null, h('strong', null, linked(it)), '. ', it.why && [prose(it.why), /[.!?]$/.test(it.why) ? ' ' : '. '], prose(it.remedy)))));
  tab(level, first?.what);
}

const linked = ({ what, where }) => (where ? h('a', { href: `#/projection/${where}` }, what) : what);

function facts({ daemons, log, projections }) {
  const live = projections.filter((it) => it.state === 'live').length;
  const age = log.newest_at && secondsSince(log.newest_at);
  const newest = log.newest_at ? `, the newest ${age < 1 ? 'just now' : `${span(age)} ago`}` : '';
  const late = projections.filter((it) => it.wanted !== 'paused').sort((a, b) => b.lag_seconds - a.lag_seconds)[0];
  const lag = late && late.lag_seconds > 1 ? ` · most behind: ${late.name}, ${span(late.lag_seconds)}` : '';
  const applied = projections.reduce((sum, it) => sum + it.events_per_second, 0);
  const up = daemons[0] ? ` · ${many(daemons.length, 'daemon')}, up since ${clock(daemons[0].started_at)}` : '';
  return `${live} of ${many(projections.length, 'projection')} live · ${many(log.head, 'event')}${newest} · ${rate(applied)} applied${lag}${up}`;
}

/** The tab says it too: its title, and its sign in colour and shape. */
function tab(level, what) {
  const title = what ? `${what} · projectord` : level === 'good' ? 'All right · projectord' : 'projectord';
  if (document.title !== title) document.title = title;
  const shape = {
    good: "<circle cx='8' cy='8' r='6' fill='%231d7a46'/>",
    bad: "<path d='M5 1h6l4 4v6l-4 4H5l-4-4V5z' fill='%23c2261b'/>",
    warn: "<path d='M8 1l7 13H1z' fill='%23b07400'/>",
    wait: "<circle cx='8' cy='8' r='5' fill='none' stroke='%23777' stroke-width='2'/>",
  }[level];
  mark(byId('tab-icon'), 'href', `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>${shape}</svg>`);
}
