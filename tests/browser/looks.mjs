// How it looks: pictures in light, dark and on a phone, each held against axe.

import { Watched } from './page.mjs';
import { repairs, trade } from './shop.mjs';

const PHONE = { viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true };
const PAGES = { light: {}, dark: { colorScheme: 'dark' }, phone: PHONE };

/** Does it with a page of each kind, and keeps what was seen that should not be. */
async function each({ browser, servers, complaints }, says, look) {
  for (const [name, options] of Object.entries(PAGES)) {
    const watched = await Watched.open(browser, servers.base, options);
    await watched.says(says);
    await look(watched, name);
    complaints.push(...watched.complaints());
    await watched.page.context().close();
  }
}

export const looks = {
  'in light, in dark and on a phone it is whole, and axe finds nothing serious': async (night) => {
    night.stop = trade(night.servers);
    await night.watched.page.locator('#tail .event').nth(150).waitFor({ timeout: 60_000 });
    await each(night, 'Everything is all right', async (watched, name) => {
      await watched.page.locator('#tail .event').nth(12).waitFor();
      const wide = await watched.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) throw new Error(`${name}: it is ${wide} px wider than the screen`);
      await watched.axe(name);
      await watched.picture(name);
    });
  },

  'so it is while a projection is halted': async (night) => {
    const { watched, servers } = night;
    repairs.forgetFunction(servers);
    await watched.says('customers is halted');
    await each(night, 'customers is halted', async (page, name) => {
      await page.axe(`halted, ${name}`);
      await page.picture(`halted-${name}`);
    });
    repairs.customers(servers);
    await watched.does('customers', /^Try again/);
    await watched.says('Everything is all right');
    await night.stop();
  },
};
