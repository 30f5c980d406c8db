// With the keyboard alone: pause and resume, a rebuild to its swap, undo, the tail, a stream and back.

import { append, order } from './shop.mjs';
import { until } from './until.mjs';

/** Comes to a button of a projection, presses it, and says yes; both with Enter. */
async function does({ watched }, name, verb) {
  await watched.tabTo(`${verb}`, `article:has(#p-${name})`);
  await watched.page.keyboard.press('Enter');
  await watched.page.locator('#ask[open]').waitFor();
  await watched.page.keyboard.press('Enter');
  await watched.page.locator('#ask').waitFor({ state: 'hidden' });
}

export const keyboard = {
  'pause and resume': async (night) => {
    const { watched, servers } = night;
    await does(night, 'orders', 'Pause');
    await watched.is('orders', 'Paused');
    await order(servers);
    await watched.shows('orders', '1 event');
    await does(night, 'orders', 'Resume');
    await watched.is('orders', 'Live');
  },

  'a rebuild that is held, compared and swapped in': async (night) => {
    const { watched, kept } = night;
    const { page } = watched;
    kept.generation = Number(/generation (\d+)/.exec(await watched.card('customers').locator('.generation').textContent())[1]);
    await watched.tabTo('Rebuild', 'article:has(#p-customers)');
    await page.keyboard.press('Enter');
    await page.locator('#ask .plan').filter({ hasText: 'event' }).waitFor();
    // From the button back to the choices, which the arrows move through.
    const chosen = () => page.evaluate(() => document.activeElement.value);
    for (let presses = 0; presses < 10 && (await chosen()) !== 'beside'; presses++) await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    const next = kept.generation + 1;
    await watched.shows('customers', `Generation ${next} is built and held`, 60);
    await watched.tabTo('Compare', 'article:has(#p-customers)');
    await page.keyboard.press('Enter');
    await watched.shows('customers', 'All rows are the same');
    await does(night, 'customers', 'Swap in');
    await watched.isGeneration('customers', next);
    await watched.says('Everything is all right');
  },

  'undo goes back': async (night) => {
    const { watched, kept } = night;
    await does(night, 'customers', 'Undo');
    await watched.isGeneration('customers', kept.generation);
    await watched.is('customers', 'Live');
  },

  'the tail shows only what it is asked for': async ({ watched, servers }) => {
    const { page } = watched;
    await watched.tabTo('Type', '#tail-filter');
    await page.keyboard.type('Status*');
    await page.keyboard.press('Enter');
    const stream = await order(servers);
    await append(servers, stream, { type: 'StatusChanged', data: { status: 'sent' } });
    await page.locator('#tail .event').filter({ hasText: stream.slice(-8) }).waitFor();
    const types = await page.locator('#tail .event .type').allTextContents();
    if (types.some((it) => it !== 'StatusChanged')) throw new Error(`the tail shows ${types}`);
  },

  'a stream has its events and the rows made of them': async ({ watched, servers }) => {
    const { page } = watched;
    await page.locator('#tail').focus();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.locator('#tail .event[open]').waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.locator('#stream h2').waitFor();
    await page.locator('#stream .history li').nth(1).waitFor();
    await page.locator('#stream').filter({ hasText: 'orders.orders' }).waitFor();
    await watched.axe('a stream');
    const stream = /#\/stream\/([^/]+)/.exec(page.url())[1];
    await append(servers, stream, { type: 'StatusChanged', data: { status: 'delivered' } });
    await page.locator('#stream').filter({ hasText: 'delivered' }).waitFor();
    await watched.tabTo('← Overview');
    await page.keyboard.press('Enter');
    await page.locator('#overview').waitFor();
  },

  'of a long stream the version is shown that a link leads to': async ({ watched, servers }) => {
    const { page } = watched;
    const stream = await order(servers);
    for (let nth = 0; nth < 3; nth++) await append(servers, stream, ...Array.from({ length: 400 }, () => ({ type: 'Looked', data: {} })));
    await page.evaluate((to) => (location.hash = to), `#/stream/${stream}/1150`);
    await page.locator('#stream .history li.sought').filter({ hasText: '1,150' }).or(page.locator('#stream .history li.sought').filter({ hasText: '1150' })).waitFor();
    await page.locator('#stream').filter({ hasText: 'Events 650 to' }).waitFor();
    await page.evaluate(() => (location.hash = '#/'));
    await page.locator('#overview').waitFor();
  },

  'the colours are chosen': async ({ watched }) => {
    const { page } = watched;
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const before = await ground();
    await page.reload();
    await watched.tabTo('Colours', '.tools');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Enter');
    await until('it is dark', async () => (await ground()) !== before, 2);
    await page.reload();
    await until('it stays dark', async () => (await ground()) !== before, 5);
    await page.evaluate(() => localStorage.clear());
    await page.reload();
  },
};
