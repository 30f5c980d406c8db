// Talking to the daemon: requests, answers that are problems, and streams of events. Those are read with fetch,
// because EventSource sends no headers, and a token is one.

const KEY = 'projectord.token';
const ROOT = '/api/v1';
// How long to wait before trying again, at first and at most.
const FIRST = 500;
const MOST = 10_000;

export const token = {
  get: () => sessionStorage.getItem(KEY),
  keep: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/** An answer that is a problem (RFC 9457), or no answer at all: then its status is 0. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `the daemon answered ${status}`);
    this.status = status;
    this.body = body;
  }
  /** Whether a token is what is missing. */
  get wantsToken() {
    return this.status === 401;
  }
}

export const get = (path, signal) => request(path, { signal }).then((answer) => answer.json());

export const post = (path, body = {}) =>
  request(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  }).then((answer) => answer.json());

async function request(path, options) {
  const headers = { ...options.headers };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  let answer;
  try {
    answer = await fetch(ROOT + path, { ...options, headers, cache: 'no-store', redirect: 'error' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, { detail: 'The daemon does not answer.' });
  }
  if (answer.ok) return answer;
  throw new Problem(answer.status, await answer.json().catch(() => ({})));
}

/**
 * Reads a stream of events, and begins anew after the last one that came, until the answer is called. `heard` gets
 * {event, id, data}, `failed` a problem each time it broke. Silence for longer than `patience` counts as broken.
 */
export function follow(path, { heard, failed, patience }) {
  const ended = new AbortController();
  let last = null;
  let wait = FIRST;
  const run = async () => {
    while (!ended.signal.aborted) {
      try {
        await read(path, { last, patience, ended: ended.signal }, (event) => {
          wait = FIRST;
          last = event.id ?? last;
          heard(event);
        });
        throw new Problem(0, { detail: 'The daemon has ended the connection.' });
      } catch (problem) {
        if (ended.signal.aborted) return;
        failed(problem);
        if (problem.wantsToken) return;
      }
      await later(wait * (0.5 + Math.random() / 2), ended.signal);
      wait = Math.min(wait * 2, MOST);
    }
  };
  run();
  return () => ended.abort();
}

async function read(path, { last, patience, ended }, heard) {
  const silent = new AbortController();
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silent.abort(), patience);
  };
  alive();
  try {
    const headers = { accept: 'text/event-stream', ...(last === null ? {} : { 'last-event-id': last }) };
    const answer = await request(path, { headers, signal: AbortSignal.any([ended, silent.signal]) });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      text += value.replaceAll('\r', '');
      const blocks = text.split('\n\n');
      text = blocks.pop();
      blocks.map(parse).filter((event) => event.data !== '').forEach(heard);
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(0, { detail: silent.signal.aborted ? 'The daemon has fallen silent.' : 'The connection broke.' });
  } finally {
    clearTimeout(timer);
  }
}

/** One event of a stream; a comment is an event without data. U+2028 ends no line of it. */
function parse(block) {
  const event = { event: 'message', id: null, data: '' };
  for (const line of block.split('\n')) {
    const [, field, value] = /^(\w+): ?(.*)$/s.exec(line) ?? [];
    if (field === 'data') event.data += (event.data && '\n') + value;
    else if (field) event[field] = value;
  }
  return event;
}

function later(time, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, time);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
