// The page: one stream of the daemon's status, shown in every part; and the way between overview and streams.

import { Problem, follow, get, token } from './api.js';
import { onDone } from './actions.js';
import { Card } from './card.js';
import { byId, mark, say } from './dom.js';
import * as history from './history.js';
import * as lists from './lists.js';
import * as picture from './picture.js';
import * as stream from './stream.js';
import * as tail from './tail.js';
import * as verdict from './verdict.js';
import { clock, many, span } from './words.js';

// The daemon says its status every second: silence for this long is a broken connection.
const PATIENCE = 4000;
// How often a page that nobody looks at asks, and lists are read again.
const RARELY = 10_000;

const cards = new Map();
let status = null;
let at = 0;
let broken = null;
let stop = () => {};
let aside = '';

/** Takes a status, and shows it. */
function take(text) {
  status = JSON.parse(text);
  at = Date.now();
  broken = null;
  askForToken(false);
  history.add(status);
  show();
  const now = JSON.stringify(status.projections.map((it) => [it.name, it.parked, it.skipped]));
  if (now !== aside) {
    aside = now;
    lists.parked(status).catch(() => (aside = ''));
  }
}

function show() {
  verdict.show(status, broken);
  mark(byId('link'), 'data-state', broken ? 'broken' : status ? 'open' : 'wait');
  say(byId('link-text'), broken ? linkLost() : status ? 'connected' : 'connecting');
  document.body.classList.toggle('old', Boolean(broken && status));
  if (!status) return;
  byId('overview').hidden = onStream();
  picture.draw(status, Boolean(broken));
  lists.daemons(status);
  const names = status.projections.map((it) => it.name);
  for (const [name, card] of cards) if (!names.includes(name)) card.element.remove(), cards.delete(name);
  status.projections.forEach((it, nth) => {
    if (!cards.has(it.name)) {
      cards.set(it.name, new Card(it.name));
      byId('projections').insertBefore(cards.get(it.name).element, byId('projections').children[nth] ?? null);
    }
    const owner = status.daemons.length > 1 ? status.daemons.find((one) => one.id === it.owner)?.host : null;
    cards.get(it.name).update(it, { down: status.daemons.length === 0, old: Boolean(broken), owner });
  });
  say(byId('graphs'), `Graphs show the last ${many(Math.round(history.shown() / 60), 'minute')}.`);
  byId('none').hidden = status.projections.length > 0;
}

/** How old what is shown is. */
const linkLost = () => (at ? `${broken.link ?? 'connection lost'}; ${span((Date.now() - at) / 1000)} old` : (broken.link ?? 'no connection'));

/** What is shown is old, or there is nothing to show. */
function lost(problem) {
  if (problem.wantsToken || problem.status === 403) {
    askForToken(true, problem);
    broken = { what: problem.wantsToken ? 'A token is needed' : 'This token may not read', why: null, remedy: 'Ask whoever runs the daemon for one, and put it in above.' };
  } else if (problem.status >= 500) {
    broken = { what: 'The daemon cannot say how things are', why: problem.message, link: 'connected, no news', remedy: 'PostgreSQL is away, or refuses. Put it right; this page goes on by itself.' };
  } else {
    const old = at ? ` What is shown is old: it is from ${clock(at)}.` : '';
    broken = { what: 'The connection to the daemon is lost', why: `${problem.message}${old}`, remedy: 'Is it running? Its log says why it ended. This page goes on by itself.' };
  }
  show();
}

function askForToken(wanted, problem) {
  const form = byId('token');
  if (form.hidden === wanted && wanted) setTimeout(() => byId('token-text').focus());
  form.hidden = !wanted;
  say(byId('token-problem'), wanted && token.get() ? problem.message : '');
  byId('forget').hidden = !token.get();
}

/** One event of the stream: how things are, or that PostgreSQL does not say. */
function heard({ event, data }) {
  if (event === 'status') take(data);
  if (event === 'problem') lost(new Problem(503, JSON.parse(data)));
}

/** Begins anew: with a token, or since somebody looks at the page again. */
function start() {
  stop();
  const hidden = document.hidden;
  history.load().catch(() => {});
  // What was refused for want of a token is asked for again.
  if (onStream()) hidden ? stream.close() : go();
  // A browser opens few connections to one host: a page that nobody sees holds none.
  if (hidden) {
    tail.end();
    const look = () => get('/status').then((it) => take(JSON.stringify(it))).catch(lost);
    const timer = setInterval(look, RARELY);
    stop = () => clearInterval(timer);
    return;
  }
  const away = follow('/status/live', { patience: PATIENCE, failed: lost, heard });
  stop = away;
  tail.start();
  lists.operations().catch(() => {});
}

const onStream = () => location.hash.startsWith('#/stream/');

/** Where the address leads: `#/`, `#/projection/NAME`, `#/parked`, `#/stream/UUID/VERSION`. */
function go() {
  const [, where, name, version] = location.hash.split('/').map(decodeURIComponent);
  byId('overview').hidden = where === 'stream' || !status;
  if (where === 'stream') {
    stream.open(name, version);
    scrollTo(0, 0);
    return;
  }
  stream.close();
  if (status) show();
  const to = where === 'projection' ? byId(`p-${name}`) : where === 'parked' ? byId('parked') : null;
  to?.scrollIntoView({ block: 'start' });
  to?.focus({ preventScroll: true });
}

byId('token').addEventListener('submit', (event) => {
  event.preventDefault();
  token.keep(byId('token-text').value.trim());
  byId('token-text').value = '';
  start();
});
byId('forget').addEventListener('click', () => {
  token.forget();
  location.reload();
});
document.addEventListener('visibilitychange', start);
addEventListener('hashchange', go);
// A link to where one is already still leads there.
document.addEventListener('click', (event) => event.target.closest?.('a')?.hash === location.hash && location.hash && go());
onDone(() => {
  lists.operations().catch(() => {});
  if (status) lists.parked(status).catch(() => {});
});
new ResizeObserver(() => status && picture.draw(status, Boolean(broken))).observe(byId('loops'));
setInterval(() => !document.hidden && lists.operations().catch(() => {}), RARELY);
setInterval(() => broken && say(byId('link-text'), linkLost()), 1000);
tail.prepare();
start();
if (!onStream()) go();
