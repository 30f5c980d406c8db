// The daemon is away, and comes back; and it wants a token.

export const away = {
  'a lost connection is said, and that what is shown is old': async ({ watched, servers }) => {
    watched.mayFail = true;
    await servers.stopDaemon();
    await watched.says('The connection to the daemon is lost', 8);
    await watched.page.locator('#why').filter({ hasText: 'What is shown is old' }).waitFor();
    await watched.shows('orders', 'when last seen');
  },

  'the page goes on by itself when the daemon is back': async ({ watched, servers }) => {
    await servers.daemon();
    await watched.says('Everything is all right', 30);
    watched.mayFail = false;
  },

  'a daemon that wants a token is told one, and it is kept in the tab alone': async ({ watched, servers }) => {
    const { page } = watched;
    watched.mayFail = true;
    await servers.stopDaemon();
    servers.token = 'a-token-for-this-test-alone-0123456789';
    await servers.daemon({ PROJECTORD_HTTP__TOKENS: `operate anna ${servers.token}\nread rita ${servers.token}-read` });
    await watched.says('A token is needed', 20);
    await page.evaluate(() => (location.hash = '#/stream/6763e85f-f8d5-5bee-ad04-4ed1d6d49798'));
    await page.locator('#stream').filter({ hasText: 'a token is needed' }).waitFor();
    await page.locator('#token-text').fill('not this one');
    await page.keyboard.press('Enter');
    await page.locator('#token-problem').filter({ hasText: 'token' }).waitFor();
    await page.locator('#token-text').fill(`${servers.token}-read`);
    await page.keyboard.press('Enter');
    await watched.says('Everything is all right');
    await page.locator('#stream').filter({ hasText: 'No live read model has a row' }).waitFor();
    await page.evaluate(() => (location.hash = '#/'));
    const kept = await page.evaluate((token) => [...Object.values(localStorage), document.cookie, location.href].join().includes(token), servers.token);
    if (kept) throw new Error('the token is kept where it should not be');
  },

  'what a token may not do is said in the dialog': async ({ watched, servers }) => {
    const { page } = watched;
    await watched.card('orders').getByRole('button', { name: /^Pause/ }).click();
    await page.locator('#ask-yes').click();
    await page.locator('#ask-problem').filter({ hasText: 'rita may read' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Forget the token' }).click();
    await page.locator('#token-text').fill(servers.token);
    await page.keyboard.press('Enter');
    await watched.says('Everything is all right');
    await watched.does('orders', /^Pause/);
    await watched.is('orders', 'Paused');
    await watched.page.locator('#operations').filter({ hasText: 'anna' }).waitFor();
    await watched.does('orders', /^Resume/);
    await watched.is('orders', 'Live');
    watched.mayFail = false;
  },
};
