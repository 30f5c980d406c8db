// A projection: what it does, how far it is, what is wrong with it, and what can be done.

import { ask } from './actions.js';
import { Builds } from './builds.js';
import { h, icon, mark, redraw, say } from './dom.js';
import { failure } from './failure.js';
import { Graph } from './history.js';
import { count, many, rate, span, stateInWords } from './words.js';

// How long an answer stands.
const SAID = 20_000;

export class Card {
  constructor(name) {
    this.name = name;
    const act = (verb, more) => ask(verb, this.now, (said) => this.tell(said), more);
    const button = (text, verb, more) => h('button', { type: 'button', onclick: () => act(verb, more?.()) }, text);
    this.buttons = {
      again: button('Try again…', 'resume'),
      skip: button('Skip the event…', 'skip', () => this.now.error.event),
      retry: button('Retry parked…', 'retry'),
      resume: button('Resume…', 'resume'),
      pause: button('Pause…', 'pause'),
      rebuild: button('Rebuild…', 'rebuild'),
    };
    for (const it of Object.values(this.buttons)) it.setAttribute('aria-label', `${it.textContent} ${name}`);
    this.buttons.again.classList.add('primary');
    this.state = h('p', { class: 'state' });
    this.title = h('h3', { id: `p-${name}`, tabindex: '-1' }, name);
    this.generation = h('p', { class: 'quiet generation' });
    this.figures = Object.fromEntries(['Position', 'Lag', 'Behind', 'Rate'].map((label) => [label, h('dd', { class: 'number' })]));
    this.graphs = [new Graph('Lag in events', 1, count), new Graph('Events a second', 2, rate)];
    this.wrong = h('div', { class: 'wrong' });
    this.aside = h('p', { class: 'aside' });
    this.builds = new Builds(act);
    this.said = h('p', { class: 'said', role: 'status' });
    const figure = ([label, value]) => h('div', null, h('dt', null, label), value);
    this.element = h('article', { class: 'card', 'aria-labelledby': `p-${name}` },
      h('header', null, this.title, this.state, this.generation),
      h('div', { class: 'buttons' }, Object.values(this.buttons)), this.said, this.wrong,
      h('dl', { class: 'figures' }, Object.entries(this.figures).map(figure)),
      h('div', { class: 'graphs' }, this.graphs.map((it) => it.element)),
      this.aside, this.builds.element);
  }

  update(p, { down, old, owner }) {
    this.now = p;
    const state = down && !['paused', 'halted'].includes(p.state) ? 'down' : p.state;
    const pausing = p.wanted === 'paused' && p.state !== 'paused';
    mark(this.element, 'data-state', state);
    redraw(this.state, [state, pausing, old], () => [icon(state), h('span', null, stateInWords(state) + (pausing ? ', will pause' : '') + (old ? ', when last seen' : ''))]);
    say(this.generation, `generation ${p.generation}${owner ? `, at ${owner}` : ''}`);
    say(this.figures.Position, `${count(p.position)} of ${count(p.head)}`);
    say(this.figures.Lag, many(p.lag_events, 'event'));
    say(this.figures.Behind, p.lag_events > 0 ? span(p.lag_seconds) : 'nothing');
    say(this.figures.Rate, rate(down ? 0 : p.events_per_second));
    this.graphs[0].draw(this.name, p.lag_events);
    this.graphs[1].draw(this.name, p.events_per_second);
    redraw(this.wrong, p.error, () => (p.error ? failure(p.error, `Why ${p.name} is ${stateInWords(p.state).toLowerCase()}`) : []));
    redraw(this.aside, [p.parked, p.skipped], () => p.parked + p.skipped > 0 && [`${count(p.parked)} parked, ${count(p.skipped)} skipped: `, h('a', { href: '#/parked' }, 'which, and why')]);
    this.builds.update(p);
    const failedEvent = p.state === 'halted' && Boolean(p.error?.event);
    const stopped = p.wanted === 'paused';
    this.offer({ again: p.state === 'halted' && !stopped, skip: failedEvent, retry: p.parked > 0, resume: stopped, pause: !stopped,
      rebuild: !p.rebuild_wanted && p.state !== 'rebuilding' && !p.generations.some((it) => it.state === 'building') });
  }

  /** Shows the buttons that make sense; the keyboard's place is not lost with one that goes. */
  offer(wanted) {
    for (const [verb, shown] of Object.entries(wanted)) {
      const button = this.buttons[verb];
      if (!shown && button === document.activeElement) this.title.focus({ preventScroll: true });
      button.hidden = !shown;
    }
  }

  tell(said) {
    clearTimeout(this.timer);
    say(this.said, said);
    this.timer = setTimeout(() => say(this.said, ''), SAID);
  }
}
