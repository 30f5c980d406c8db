// `make browser`: the dashboard of a real daemon, on a private PostgreSQL, driven in Chromium. What it promises is
// tried in order, as one night would have it. Pictures are in target/browser.

import { away } from './away.mjs';
import { incidents } from './incidents.mjs';
import { keyboard } from './keyboard.mjs';
import { looks } from './looks.mjs';
import { Watched, launch } from './page.mjs';
import { Servers } from './servers.mjs';
import { projections } from './shop.mjs';

const servers = await Servers.start();
projections(servers);
await servers.daemon();
const browser = await launch();
const watched = await Watched.open(browser, servers.base);
const night = { browser, servers, watched, kept: {}, complaints: [] };
let failed = null;

const named = (chapter, promises) => Object.entries(promises).map(([promise, keep]) => [`${chapter}${promise}`, keep]);
const promises = [...named('', incidents), ...named('with the keyboard alone: ', keyboard), ...named('', looks), ...named('', away)];
for (const [promise, keep] of promises) {
  const begun = Date.now();
  try {
    await keep(night);
    const seen = [...watched.complaints(), ...night.complaints.splice(0)];
    if (seen.length > 0) throw new Error(`meanwhile there was\n  ${seen.join('\n  ')}`);
  } catch (error) {
    failed = error;
  }
  console.log(`${failed ? 'FAILED' : 'ok'}  ${promise} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
  if (failed) break;
}
if (failed) {
  console.error(`\n${failed.stack}\n\nThe daemon's log ends with\n${servers.log().split('\n').slice(-15).join('\n')}`);
  await watched.picture('failed', { fullPage: true }).catch(() => {});
}
await night.stop?.().catch(() => {});
await browser.close();
await servers.stop();
console.log(failed ? '\nbrowser: FAILED; the page as it was is target/browser/failed.png' : `\nbrowser: ${promises.length} promises kept, no error on the console, no request beyond the host`);
process.exit(failed ? 1 : 0);
