// How figures and times are written.

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const TENTH = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });

export const count = (number) => WHOLE.format(number);

/** `1 event`, `2 events`. */
export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** Events a second; tenths where they tell something. */
export const rate = (number) => `${(number >= 0.05 && number < 100 ? TENTH : WHOLE).format(number)}/s`;

/** A length of time, in two units at most. */
export function span(seconds) {
  const whole = Math.max(0, seconds);
  if (whole < 10) return `${TENTH.format(whole)} s`;
  if (whole < 60) return `${Math.round(whole)} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(whole % 60) % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export const secondsSince = (time) => (Date.now() - new Date(time).getTime()) / 1000;

/** The time of day where it is today's, or the day with it. */
export function clock(time) {
  const then = new Date(time);
  const day = then.toDateString() === new Date().toDateString() ? '' : `${DAY.format(then)}, `;
  return day + CLOCK.format(then);
}

/** The end of a UUID tells as much as the whole. */
export const short = (id) => `…${id.slice(-8)}`;

const STATES = {
  live: 'Live',
  catching_up: 'Catching up',
  backoff: 'Waiting for PostgreSQL',
  paused: 'Paused',
  halted: 'Halted',
  rebuilding: 'Rebuilding in place',
  down: 'Down',
  unknown: 'Not known',
};

export const stateInWords = (state) => STATES[state] ?? state.replaceAll('_', ' ');
