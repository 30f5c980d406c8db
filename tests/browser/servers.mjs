// A private PostgreSQL and a daemon, in a folder of their own. Both end when this process does, however it ends.

import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './until.mjs';

const REPOSITORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const TARGET = path.resolve(REPOSITORY, process.env.CARGO_TARGET_DIR ?? 'target');
// A shell holds the server, and stops it when its own standard input ends.
const HOLD = '"$@" </dev/null & pid=$!; read -r word; kill -INT $pid 2>/dev/null; wait $pid';

/** The folder that has initdb, as src/private_server.rs looks for it. */
function programs() {
  const packaged = '/usr/lib/postgresql';
  const versions = fs.existsSync(packaged) ? fs.readdirSync(packaged).sort().reverse() : [];
  const folders = [process.env.PROJECTORD_PG_BIN, ...versions.map((it) => path.join(packaged, it, 'bin')), ...process.env.PATH.split(':')];
  const found = folders.find((it) => it && fs.existsSync(path.join(it, 'initdb')) && fs.existsSync(path.join(it, 'postgres')));
  if (!found) throw new Error("PostgreSQL's server programs were not found; make setup installs them");
  return found;
}

/** PostgreSQL refuses to run as root; then it runs as postgres, or as nobody. */
function serverUser() {
  if (process.getuid() !== 0) return {};
  const users = fs.readFileSync('/etc/passwd', 'utf8').split('\n').map((line) => line.split(':'));
  const [, , uid, gid] = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  return { uid: Number(uid), gid: Number(gid) };
}

/** A port that was free a moment ago. */
export const freePort = () => new Promise((resolve, reject) => {
  const server = net.createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

export class Servers {
  static async start() {
    const it = new Servers();
    it.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'projectord-browser-'));
    fs.chmodSync(it.folder, 0o755);
    it.programs = programs();
    const user = serverUser();
    const home = path.join(it.folder, 'postgres');
    fs.mkdirSync(home);
    if (user.uid) fs.chownSync(home, user.uid, user.gid);
    const data = path.join(home, 'data');
    execFileSync(path.join(it.programs, 'initdb'), ['--no-sync', '--encoding=UTF8', '--locale=C', '--auth=trust', '--username=projectord', '-D', data], { ...user, cwd: home, stdio: 'pipe' });
    const port = await freePort();
    it.url = `postgres://projectord@127.0.0.1:${port}/postgres`;
    const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', `port=${port}`, 'fsync=off', 'synchronous_commit=off'];
    it.postgres = spawn('/bin/sh', ['-c', HOLD, 'postgres', path.join(it.programs, 'postgres'), '-D', data, ...settings.flatMap((one) => ['-c', one])],
      { ...user, cwd: home, stdio: ['pipe', 'ignore', fs.openSync(path.join(it.folder, 'postgres.log'), 'a')] });
    await until('PostgreSQL answers', () => it.sql('select 1') === '1', 60);
    it.http = await freePort();
    it.base = `http://127.0.0.1:${it.http}`;
    return it;
  }

  /** Runs SQL; the one value of its one row. */
  sql(text) {
    try {
      return execFileSync(path.join(this.programs, 'psql'), ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', text, this.url], { encoding: 'utf8', stdio: 'pipe' }).trim();
    } catch (error) {
      return String(error.stderr ?? error);
    }
  }

  /** Writes a file of a projection. */
  write(file, text) {
    const whole = path.join(this.folder, 'projections', file);
    fs.mkdirSync(path.dirname(whole), { recursive: true });
    fs.writeFileSync(whole, text);
  }

  /** Starts the daemon, and waits until it answers. */
  async daemon(settings = {}) {
    const environment = {
      PROJECTORD_POSTGRES__URL: this.url,
      PROJECTORD_HTTP__LISTEN: `127.0.0.1:${this.http}`,
      PROJECTORD_PROJECTOR__POLL_INTERVAL: '500ms',
      ...settings,
    };
    const log = fs.openSync(path.join(this.folder, 'daemon.log'), 'a');
    this.process = spawn(path.join(TARGET, 'debug/projectord'), ['run'], { cwd: this.folder, env: { ...process.env, ...environment }, stdio: ['ignore', log, log] });
    await until('the daemon answers', () => fetch(`${this.base}/livez`).then((it) => it.ok, () => false), 60);
  }

  reload() {
    this.process.kill('SIGHUP');
  }

  /** Ends the daemon, and waits until it has. */
  async stopDaemon() {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    await ended;
  }

  async stop() {
    await this.stopDaemon();
    const ended = new Promise((resolve) => this.postgres.once('exit', resolve));
    this.postgres.stdin.end();
    await ended;
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  log() {
    return fs.readFileSync(path.join(this.folder, 'daemon.log'), 'utf8');
  }
}
