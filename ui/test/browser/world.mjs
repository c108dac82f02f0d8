// A real server on the embedded engine and a real browser, for the tests and the pictures.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
export const LIMIT_MS = 20_000;

/** The binary under test: `MARATHON_BIN`, or the newest one that cargo built. */
export function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const all = [process.env.MARATHON_BIN, join(target, 'debug/marathon')].filter(Boolean);
  const found = all.find((it) => existsSync(it));
  if (!found) throw new Error(`no marathon at ${all.join(' or ')}: cargo build -p marathon-server`);
  return found;
}

export function browserPath() {
  const all = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].filter(Boolean);
  return all.find((it) => existsSync(it));
}

export async function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Until `look` gives something true; its last error tells why it never did. */
export async function until(what, look, limit = LIMIT_MS) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      const found = await look();
      if (found) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${limit} ms${last ? `: ${last.message}` : ''}`);
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
}

export class Server {
  constructor(flags = [], master = 'local') {
    this.flags = flags;
    this.master = master;
    this.data = mkdtempSync(join(tmpdir(), 'marathon-ui-'));
  }

  async start() {
    this.port ??= await freePort();
    this.api = `http://127.0.0.1:${this.port}`;
    this.root ??= process.env.UI_FROM_DISK ? await this.fromDisk() : this.api;
    const flags = [
      '--master', this.master, '--hostname', '127.0.0.1', '--http_address', '127.0.0.1', '--http_port', String(this.port),
      '--data_dir', this.data, ...this.flags,
    ];
    const env = { ...process.env, RUST_BACKTRACE: '1' };
    this.log = '';
    this.process = spawn(binary(), flags, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const it of [this.process.stdout, this.process.stderr]) it.on('data', (text) => (this.log = (this.log + text).slice(-20_000)));
    await until('the server is up', async () => {
      if (!this.isUp()) throw new Error(`it ended: ${this.log}`);
      const { status } = await fetch(`${this.api}/v2/info`);
      return status === 200 || status === 401;
    });
    return this;
  }

  /** What `npm run build` made, without building the binary anew: for working on the interface. */
  async fromDisk() {
    const port = await freePort();
    this.dev = spawn(process.execPath, [join(root, 'ui/scripts/dev.mjs'), this.api, String(port)], { stdio: 'ignore' });
    await until('the files are served', async () => (await fetch(`http://127.0.0.1:${port}/ui/`)).ok);
    return `http://127.0.0.1:${port}`;
  }

  isUp() {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  async kill(signal = 'SIGKILL') {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill(signal);
    await ended;
  }

  async call(method, path, body) {
    const init = { method, headers: { Accept: 'application/json' } };
    if (body !== undefined) {
      init.headers['Content-Type'] = 'application/json';
      init.body = JSON.stringify(body);
    }
    const response = await fetch(this.api + path, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  async settled() {
    await until('all deployments are done', async () => (await this.call('GET', '/v2/deployments')).length === 0);
  }

  /** Tasks outlive a server, so they are stopped first. */
  async clean() {
    await this.call('DELETE', '/v2/groups?force=true');
    await until('all tasks are gone', async () => (await this.call('GET', '/v2/tasks')).tasks.length === 0);
  }

  async stop() {
    try {
      // Tasks outlive their server: one that was killed is started again, to stop them.
      if (!this.isUp()) await this.start();
      await this.clean().catch(() => undefined);
      await this.kill('SIGTERM');
    } finally {
      this.dev?.kill();
      rmSync(this.data, { recursive: true, force: true });
    }
  }
}

/** Another program of a test, known to be up by what `isUp` finds. */
export class Program {
  async start(command, args, isUp) {
    this.log = '';
    this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const it of [this.process.stdout, this.process.stderr]) it.on('data', (text) => (this.log = (this.log + text).slice(-20_000)));
    this.process.on('error', (error) => (this.log += error.message));
    await until(`${command} is up`, async () => {
      if (this.process.exitCode !== null) throw new Error(`it ended: ${this.log}`);
      return isUp();
    }, 60_000);
    return this;
  }

  async stop() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGKILL');
    await ended;
  }
}

/** Whether somebody listens there. */
export async function listens(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });
}

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

export class Browser {
  static async start() {
    const it = new Browser();
    it.folder = mkdtempSync(join(tmpdir(), 'marathon-ui-browser-'));
    it.context = await chromium.launchPersistentContext(it.folder, {
      executablePath: browserPath(), headless: true, args: FLAGS, viewport: { width: 1280, height: 800 },
    });
    it.context.setDefaultTimeout(LIMIT_MS);
    return it;
  }

  async stop() {
    await this.context.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async page(url) {
    const page = await this.context.newPage();
    page.problems = [];
    page.on('pageerror', (error) => page.problems.push(error.message));
    page.on('console', (it) => {
      // A refused or failed request is something the tests provoke; a blocked script or style is not.
      if (it.type() === 'error' && !/Failed to load resource|net::ERR/.test(it.text())) page.problems.push(it.text());
    });
    if (url) await page.goto(url);
    return page;
  }
}
