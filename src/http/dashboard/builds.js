// What stands beside the live rows: being built, held to be compared, or kept to go back to.

import { get } from './api.js';
import { reason } from './actions.js';
import { failure } from './failure.js';
import { h, mark, redraw, say } from './dom.js';
import { clock, count, many, rate, span } from './words.js';

/** The part of a projection's card that says it; `act` asks for a verb. */
export class Builds {
  constructor(act) {
    this.act = act;
    this.frame = h('div');
    this.compared = h('div', { class: 'compared', 'aria-live': 'polite' });
    this.element = h('div', { class: 'builds', hidden: true }, this.frame, this.compared);
  }

  update(p) {
    const building = p.generations.find((it) => it.state === 'building');
    const kept = p.generations.findLast((it) => it.state === 'retired' && it.keep_until);
    const inPlace = p.state === 'rebuilding';
    const ready = Boolean(building?.held && building.caught_up_at);
    const now = { name: p.name, live: p.generation, wanted: p.rebuild_wanted, cannot: p.rebuild_error, inPlace, ready,
      next: building?.generation, failed: building?.error, held: building?.held,
      old: kept?.generation, until: kept?.keep_until, oldFailed: kept?.error };
    this.element.hidden = !(building || kept || inPlace || p.rebuild_wanted || p.rebuild_error);
    redraw(this.frame, now, () => this.draw(p, now));
    // What was compared is no longer so when one of the two is another.
    const pair = `${p.generation} ${now.next ?? now.old}`;
    if (pair !== this.pair) this.compared.replaceChildren();
    this.pair = pair;
    const at = building ? [building.position, p.head, building.events_per_second] : [p.position, p.rebuild_to ?? p.head, p.events_per_second];
    if (this.bar) this.move(...at);
  }

  draw(p, now) {
    const { next, held, failed, ready, inPlace, old, until, oldFailed } = now;
    const button = (text, verb, more) => h('button', { type: 'button', onclick: () => this.act(verb, more) }, text);
    const parts = [];
    this.bar = null;
    if (p.rebuild_wanted) parts.push(h('p', null, `A rebuild is asked for (${p.rebuild_wanted.replace('_', ' ')}) and begins soon.`), button('Cancel the rebuild…', 'cancel', {}));
    if (p.rebuild_error) parts.push(h('p', null, 'A rebuild could not begin; the live rows go on.'), failure(p.rebuild_error, 'Why a rebuild could not begin'), button('Take it back…', 'cancel', {}));
    if (next || inPlace) {
      const title = inPlace && !next ? 'Rebuilding in place' : ready ? `Generation ${next} is built and held` : `Generation ${next} is being built beside`;
      this.bar = h('progress', { max: 1, value: 0, 'aria-label': `How far the rebuild of ${p.name} is` });
      this.far = h('p', { class: 'far number' });
      parts.push(h('h4', null, title));
      if (failed) parts.push(failure(failed, 'Why it cannot be built on'));
      parts.push(this.bar, this.far);
      if (ready) parts.push(h('p', null, `Readers still see generation ${p.generation}. Compare the rows, then swap or cancel.`));
      else if (held) parts.push(h('p', { class: 'quiet' }, 'It will wait before the swap, so that it can be compared.'));
      parts.push(h('div', { class: 'buttons' },
        ready && this.comparer(p.name, true),
        ready && button(`Swap in generation ${next}…`, 'swap', { generation: next }),
        failed && button('Try again…', 'resume', {}),
        next && button('Cancel the rebuild…', 'cancel', { generation: next })));
    }
    if (old) {
      parts.push(oldFailed
        ? h('details', { class: 'quiet' }, h('summary', null, `Generation ${old} cannot be gone back to`), failure(oldFailed, 'Why it cannot be gone back to'))
        : h('div', { class: 'kept' }, h('p', null, `Generation ${old} is kept and fed until ${clock(until)}.`),
          !next && this.comparer(p.name, false), button(`Undo: back to generation ${old}…`, 'undo', { generation: old, until })));
    }
    return parts;
  }

  /** How far it is, and how long it will take at this rate. */
  move(position, to, pace) {
    const done = Math.min(position, to);
    mark(this.bar, 'max', Math.max(to, 1));
    this.bar.value = done;
    const left = to - done;
    const time = left > 0 && pace >= 1 ? `, about ${span(left / pace)} left` : '';
    const part = to > 0 ? Math.floor((done / to) * 100) : 100;
    say(this.far, `${part} %, ${count(done)} of ${many(to, 'event')}${left > 0 ? `, ${rate(pace)}` : ''}${time}`);
  }

  comparer(name, first) {
    return h('button', { type: 'button', class: first && 'primary', onclick: (event) => this.compare(name, event.target) }, 'Compare the rows');
  }

  async compare(name, pressed) {
    pressed.disabled = true;
    this.compared.replaceChildren(h('p', null, 'Comparing row by row …'));
    try {
      const found = await get(`/projections/${encodeURIComponent(name)}/differences`);
      this.compared.replaceChildren(...differences(found));
    } catch (problem) {
      this.compared.replaceChildren(h('p', { class: 'problem' }, reason(problem)));
    } finally {
      pressed.disabled = false;
    }
  }
}

function differences({ generation, position, tables }) {
  const same = tables.every((it) => isSame(it));
  const verdict = same ? 'All rows are the same.' : 'The rows differ.';
  return [h('p', null, h('strong', null, verdict), ` Generation ${generation}, compared at event ${count(position)}.`), ...tables.map((it) => ofTable(it, generation))];
}

const columns = (it) => [...it.columns_gone.map((name) => `− ${name}`), ...it.columns_new.map((name) => `+ ${name}`)];
const isSame = (it) => it.different === 0 && columns(it).length === 0 && it.rows !== null && it.rows_beside !== null;

function ofTable(it, generation) {
  const { rows: live, rows_beside: next } = it;
  const counts = live === null ? `a new table, ${many(next, 'row')}` : next === null ? 'is not there any more' : `${many(it.different, 'row')} of ${count(Math.max(live, next))} ${it.different === 1 ? 'differs' : 'differ'}`;
  if (isSame(it)) return h('p', null, h('code', null, it.table), `: ${many(live, 'row')}, the same`);
  const changed = columns(it);
  const examples = it.examples.flatMap((row) => values(row, it.key));
  return h('details', { open: true }, h('summary', null, h('code', null, it.table), `: ${counts}`),
    changed.length > 0 && h('p', null, 'Columns: ', changed.map((column) => h('code', { class: 'column' }, column))),
    examples.length > 0 && h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Rows of ${it.table} that differ` }, h('table', null,
      h('thead', null, h('tr', null, ['Row', 'Column', 'Live', `Generation ${generation}`].map((head) => h('th', { scope: 'col' }, head)))),
      h('tbody', null, examples.map((row) => h('tr', null, row.map((cell) => h('td', null, cell))))))));
}

/** A line for each value that differs. */
function values(row, key) {
  const { live, beside: next } = row;
  const whole = live ?? next;
  const name = key.length > 0 ? key.map((column) => text(whole[column])).join(' ') : text(whole);
  if (!live || !next) return [[name, 'the whole row', live ? 'there' : 'not there', next ? 'there' : 'not there']];
  const differing = Object.keys(live).filter((column) => text(live[column]) !== text(next[column]));
  return differing.map((column) => [name, column, text(live[column]), text(next[column])]);
}

const text = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
