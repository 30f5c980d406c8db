// Making and changing elements. Text is only ever set as text, so that an event's data can be no markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An element of HTML: attributes, `on…` for what happens, then what is in it. Null and false are left out. */
export const h = (name, attributes, ...inside) => make(document.createElement(name), attributes, inside);

/** The same, of SVG. */
export const svg = (name, attributes, ...inside) => make(document.createElementNS(SVG, name), attributes, inside);

function make(element, attributes, inside) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...inside.flat(Infinity).filter((it) => it !== null && it !== undefined && it !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Sets text where it differs: what somebody has selected stays selected. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute where it differs; false takes it away. */
export function mark(element, name, value) {
  if (value === false || value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Draws what is in `element` anew only when `of` is no longer what it was drawn of. */
export function redraw(element, of, draw) {
  const now = JSON.stringify(of) ?? '';
  if (element.drawnOf === now) return;
  element.drawnOf = now;
  const inside = draw();
  element.replaceChildren(...[inside].flat(Infinity).filter((it) => it !== null && it !== undefined && it !== false));
}

/** The sign of a state; the word stands beside it. */
export const icon = (name) => svg('svg', { class: `icon i-${name}`, 'aria-hidden': 'true' }, svg('use', { href: `#i-${name}` }));

/** Text with commands between backticks, as the daemon writes its hints. */
export const prose = (text) =>
  text.split('`').map((part, nth) => (nth % 2 ? h('code', null, part) : part)).filter((part) => part !== '');

/** A table with a caption for those who hear it; on a phone each cell says its column. */
export function table(caption, columns, rows) {
  const head = h('tr', null, columns.map((it) => h('th', { scope: 'col' }, it)));
  const cell = (it, nth) => h('td', { 'data-label': columns[nth] }, it);
  const body = rows.map((row) => h('tr', null, row.map(cell)));
  return h('table', null, h('caption', null, caption), h('thead', null, head), h('tbody', null, body));
}
