// What goes wrong at night, and what the operator does in the page about it.

import { randomUUID } from 'node:crypto';
import { append, order, repairs } from './shop.mjs';
import { until } from './until.mjs';

/** How soon the page must show what has gone wrong. */
const SOON = 5;

export const incidents = {
  'all is well, and the page says so': async ({ watched, servers }) => {
    await watched.says('Everything is all right', 60);
    await watched.is('orders', 'Live');
    const stream = await order(servers);
    await watched.page.locator('#tail .event').filter({ hasText: stream.slice(-8) }).waitFor();
  },

  'a text with a separator of lines in it comes through': async ({ watched, servers }) => {
    const stream = await order(servers, { note: 'one\u2028two\u2029three' });
    await watched.page.locator('#tail .event').filter({ hasText: stream.slice(-8) }).waitFor();
  },

  'a poison event halts a projection, and the page says so within 5 s': async ({ watched, servers }) => {
    const poison = await order(servers, { user_id: 'seven' });
    await watched.says('orders is halted at event', SOON);
    const card = watched.card('orders');
    for (const part of ['Halted', 'invalid input syntax', '22P02', 'OrderCreated.sql:1', poison]) await card.filter({ hasText: part }).waitFor({ timeout: 2000 });
    await watched.page.locator('#remedy').filter({ hasText: 'What to do' }).waitFor();
    await watched.is('customers', 'Live');
    await until('the tab says it', async () => (await watched.page.title()).startsWith('orders is halted'), 2);
  },

  'it is right with axe while halted, and in its dialogs, in light and dark': async ({ watched }) => {
    for (const colorScheme of ['light', 'dark']) {
      await watched.page.emulateMedia({ colorScheme });
      await watched.axe(`halted, ${colorScheme}`);
      await watched.card('orders').getByRole('button', { name: /^Skip/ }).click();
      await watched.axe(`dialog, ${colorScheme}`);
      await watched.page.keyboard.press('Escape');
    }
    await watched.page.emulateMedia({ colorScheme: 'light' });
  },

  'a try without a repair halts again, and says so': async ({ watched, servers }) => {
    await watched.does('orders', /^Try again/);
    await watched.card('orders').locator('.said').filter({ hasText: 'orders will go on' }).waitFor();
    // To resume takes the reason away: that it is there again is another try's doing.
    await until('it was tried', () => servers.sql("select error is not null from projectord.projections where name = 'orders'") === 't');
    await watched.is('orders', 'Halted');
    await watched.card('orders').locator('.failure').waitFor();
    await watched.says('orders is halted at event');
  },

  'the operator mends the handler and reloads: it is rebuilt, swapped in, and live': async ({ watched, servers }) => {
    repairs.orders(servers);
    servers.reload();
    await watched.isGeneration('orders', 2, 60);
    await watched.is('orders', 'Live');
    await watched.says('Everything is all right');
  },

  'a function is missing: the operator installs it and tries again in the page': async ({ watched, servers }) => {
    repairs.forgetFunction(servers);
    await order(servers);
    await watched.says('customers is halted', SOON);
    await watched.shows('customers', '42883');
    repairs.customers(servers);
    await watched.does('customers', /^Try again/);
    await watched.is('customers', 'Live');
    await watched.says('Everything is all right');
  },

  'parked events are shown with their reason, and retried in the page': async ({ watched, servers }) => {
    const stream = await order(servers, { total: -5 });
    await append(servers, stream, { type: 'Dunned', data: {} });
    await watched.says('2 events of invoices are parked', SOON);
    const rows = watched.page.locator('#parked-rows tbody tr');
    await rows.filter({ hasText: 'is below nothing' }).waitFor();
    await rows.filter({ hasText: 'waits behind an earlier event' }).waitFor();
    repairs.invoices(servers);
    await watched.does('invoices', /^Retry parked/);
    await watched.says('Everything is all right');
    await watched.page.locator('#parked').waitFor({ state: 'hidden' });
  },

  'an event is left out for good, after a dialog that says so': async ({ watched, servers }) => {
    const stream = randomUUID();
    await append(servers, stream, { type: 'OrderCreated', data: { user_id: 1, total: 'a lot' } });
    await watched.says('orders is halted at event', SOON);
    await watched.card('orders').getByRole('button', { name: /^Skip/ }).click();
    await watched.page.locator('#ask').filter({ hasText: 'This cannot be taken back' }).waitFor();
    await watched.page.locator('#ask-yes').click();
    await watched.is('orders', 'Live');
    await watched.shows('orders', '1 skipped');
    await watched.page.locator('#operations').filter({ hasText: 'skip' }).waitFor();
    // Where it was parked, the row of the list has the button.
    await watched.page.locator('#parked-rows tbody tr').filter({ hasText: 'parked' }).getByRole('button', { name: /^Skip/ }).click();
    await watched.page.locator('#ask-yes').click();
    await watched.says('Everything is all right');
  },
};
