// A page in Chromium that is watched: errors of the console, requests beyond the host, breaches of the policy.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { TARGET } from './servers.mjs';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const PICTURES = path.join(TARGET, 'browser');

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: FLAGS });

export class Watched {
  static async open(browser, base, options = {}) {
    const it = new Watched();
    it.found = [];
    // While a daemon is away on purpose, the browser says so on the console.
    it.mayFail = false;
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light', reducedMotion: 'reduce', ...options });
    await context.addInitScript(() => addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)));
    context.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && url.origin !== base) it.found.push(`a request to ${url.origin}`);
    });
    it.page = await context.newPage();
    it.page.on('pageerror', (error) => it.found.push(`an error: ${error.stack}`));
    it.page.on('console', (line) => {
      const network = line.text().startsWith('Failed to load resource');
      if (['error', 'warning'].includes(line.type()) && !(network && it.mayFail)) it.found.push(`on the console: ${line.text()} ${line.location().url}`);
    });
    await it.page.goto(`${base}/`);
    return it;
  }

  card(name) {
    return this.page.locator(`article:has(#p-${name})`);
  }

  /** Waits until the card of a projection has this text. */
  async shows(name, text, seconds = 30) {
    await this.card(name).filter({ hasText: text }).waitFor({ timeout: seconds * 1000 });
  }

  /** Waits until a projection is in this state, as it reads. */
  async is(name, state, seconds = 30) {
    await this.card(name).locator('.state').getByText(state, { exact: true }).waitFor({ timeout: seconds * 1000 });
  }

  /** Waits until readers see this generation. */
  async isGeneration(name, generation, seconds = 30) {
    await this.card(name).locator('.generation').getByText(`generation ${generation}`, { exact: true }).waitFor({ timeout: seconds * 1000 });
  }

  /** Waits until the line at the top reads so. */
  async says(text, seconds = 30) {
    await this.page.locator('#headline').filter({ hasText: text }).waitFor({ timeout: seconds * 1000 });
  }

  /** Does what a button offers, with mouse and dialog. */
  async does(name, verb) {
    await this.card(name).getByRole('button', { name: verb }).click();
    await this.page.locator('#ask-yes').click();
    await this.page.locator('#ask').waitFor({ state: 'hidden' });
  }

  /** Goes there with the keyboard alone: Tab until what has the focus is named so. */
  async tabTo(name, within = 'body') {
    for (let presses = 0; presses < 300; presses++) {
      await this.page.keyboard.press('Tab');
      const there = await this.page.evaluate(([wanted, place]) => {
        const it = document.activeElement;
        const called = it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent ?? it.textContent;
        return called.trim().startsWith(wanted) && Boolean(it.closest(place)) && it.matches(':focus-visible');
      }, [name, within]);
      if (there) return;
    }
    throw new Error(`the keyboard does not come to “${name}”`);
  }

  /** What axe finds that is serious. */
  async axe(where) {
    await this.page.evaluate(AXE);
    const { violations } = await this.page.evaluate(() => globalThis.axe.run());
    const serious = violations.filter((it) => ['serious', 'critical'].includes(it.impact));
    const told = serious.flatMap((it) => it.nodes.map((node) => `${it.id}: ${node.html.slice(0, 120)} ${node.any[0]?.message ?? ''}`));
    if (told.length > 0) throw new Error(`axe, ${where}:\n  ${told.join('\n  ')}`);
  }

  async picture(name, options = {}) {
    fs.mkdirSync(PICTURES, { recursive: true });
    await this.page.screenshot({ path: path.join(PICTURES, `${name}.png`), ...options });
  }

  /** What was seen that should not be; and forgets it. */
  complaints() {
    return this.found.splice(0);
  }
}
