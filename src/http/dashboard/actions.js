// What an operator can have done, each after a dialog that says what will happen; the answer is said in place.

import { Problem, get, post } from './api.js';
import { byId, h, prose, say } from './dom.js';
import { count, clock, many } from './words.js';

/** What each verb says before it is done. `p` is the projection, `more` what the button knows besides. */
const VERBS = {
  pause: ({ name }) => ({
    title: `Pause ${name}?`,
    says: ['The batch in hand is finished, and nothing more is applied. Readers keep the rows as they are; those grow old.', 'Events wait in the log. Resuming goes on where it stopped: nothing is lost.'],
    yes: 'Pause',
  }),
  resume: (p) => ({
    title: p.state === 'halted' ? `Try ${p.name} again?` : `Resume ${p.name}?`,
    says: p.state === 'halted'
      ? ['The same event is tried again. Where its cause is still there, the projection halts again at once, and no row has changed.']
      : [`It goes on after event ${count(p.position)}.`],
    yes: p.state === 'halted' ? 'Try again' : 'Resume',
  }),
  rebuild: (p) => ({ title: `Rebuild ${p.name}?`, says: [], yes: 'Rebuild', extra: () => rebuildChoices(p) }),
  swap: (p, { generation }) => ({
    title: `Let readers of ${p.name} see generation ${generation}?`,
    says: [`One transaction puts generation ${generation} in the place of generation ${p.generation}. Readers do not wait.`, 'The old rows are kept and fed for a while: undo goes back to them.'],
    yes: 'Swap',
  }),
  cancel: (p, { generation }) => ({
    title: `Cancel the rebuild of ${p.name}?`,
    says: [generation ? `Generation ${generation} is dropped, with all that was built of it.` : 'What was asked for is taken back.', 'The live rows stay, and readers notice nothing.'],
    yes: 'Cancel the rebuild',
    careful: true,
  }),
  undo: (p, { generation, until }) => ({
    title: `Go back to generation ${generation} of ${p.name}?`,
    says: [`Readers see generation ${generation} again, in one transaction. It was fed meanwhile, so its rows are as new as the live ones.`, `It is kept until ${clock(until)}. Generation ${p.generation} takes its place: undoing this is possible too.`],
    yes: 'Go back',
  }),
  retry: (p, { stream }) => ({
    title: stream ? 'Try this stream’s parked events again?' : `Try ${many(p.parked, 'parked event')} of ${p.name} again?`,
    says: [stream ? `Stream ${stream}, in ${p.name}.` : null, 'They are applied in order. One that fails again stays parked, with what follows in its stream.'],
    yes: 'Retry',
    body: { stream: stream ?? null },
  }),
  skip: (p, { position, type }) => ({
    title: `Leave event ${count(position)} out of ${p.name}?`,
    says: [`It is ${type}. It is left out for good, also when ${p.name} is rebuilt, and this goes on record. It stays in the log, and other projections apply it.`, 'This cannot be taken back. Where the handler or the database is wrong, correct that instead, and try again.'],
    yes: `Skip event ${count(position)}`,
    body: { position },
    careful: true,
  }),
};

let after = () => {};
/** Calls `then` with the projection's name after something was done. */
export const onDone = (then) => (after = then);

/** Asks, does it, and gives what the daemon said to `told`. */
export function ask(verb, projection, told, more = {}) {
  const { title, says, yes, careful, body, extra } = VERBS[verb](projection, more);
  const dialog = byId('ask');
  const form = byId('ask-form');
  const go = byId('ask-yes');
  const choices = extra?.();
  say(byId('ask-title'), title);
  say(byId('ask-problem'), '');
  say(go, yes);
  go.classList.toggle('careful', Boolean(careful));
  byId('ask-body').replaceChildren(...says.filter(Boolean).map((it) => h('p', null, it)), ...(choices ? [choices.element] : []));
  form.onsubmit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      const answer = await post(`/projections/${encodeURIComponent(projection.name)}/${verb}`, choices?.body() ?? body ?? {});
      dialog.close();
      told(answer.said ?? 'Done.');
      after(projection.name);
    } catch (problem) {
      byId('ask-problem').replaceChildren(...reason(problem));
    } finally {
      go.disabled = false;
    }
  };
  byId('ask-no').onclick = () => dialog.close();
  dialog.showModal();
  // What cannot be taken back is not done by an Enter too many.
  (careful ? byId('ask-no') : go).focus();
}

/** Why it was refused, and what that means for whoever asked. */
export function reason(problem) {
  if (!(problem instanceof Problem)) return [String(problem.message ?? problem)];
  if (problem.status === 0) return [`${problem.message} Nothing is known of whether it was done: look at the state.`];
  if (problem.status === 403) return [`${problem.message}. This needs a token that may operate.`];
  return prose(problem.message);
}

function rebuildChoices(p) {
  const ways = [
    ['beside', 'Beside the live rows', 'A new generation is built next to the live one and swapped in when it has caught up. Readers notice nothing. Needs disk for both.'],
    ['held', 'Beside, and held', 'The same, but it waits before the swap, so that you can compare the rows first.'],
    ['in_place', 'In place', 'The live rows are dropped and replayed: readers see a part of them until it has caught up. Only for when disk is short.'],
  ];
  const option = ([value, title, says], nth) => h('label', { class: 'choice' },
    h('input', { type: 'radio', name: 'way', value, checked: nth === 0 }), h('span', null, h('strong', null, title), h('br'), says));
  const force = h('input', { type: 'checkbox', name: 'force' });
  const plan = h('pre', { class: 'plan', tabindex: '0', 'aria-label': 'What it will take' }, 'Looking what it will take …');
  get(`/projections/${encodeURIComponent(p.name)}/plan`)
    .then(({ lines }) => say(plan, lines.join('\n')))
    .catch((problem) => plan.replaceWith(h('p', { class: 'problem' }, 'What it will take is not known: ', reason(problem))));
  const element = h('div', null, h('fieldset', null, h('legend', null, 'How'), ways.map(option)), plan,
    h('label', { class: 'choice' }, force, h('span', null, 'Although views or keys outside depend on its tables: they go with the old rows (force).')));
  const chosen = () => element.querySelector('input[name=way]:checked').value;
  return { element, body: () => ({ in_place: chosen() === 'in_place', held: chosen() === 'held', force: force.checked }) };
}
