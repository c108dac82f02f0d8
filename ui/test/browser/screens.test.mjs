// Every screen: it shows what it should, nothing serious is found by axe in either theme, it fits a phone, and the
// keyboard reaches everything.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { demo } from '../../scripts/demo.mjs';
import { Browser, Server, until } from './world.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
let server, browser, page, task;
before(async () => {
  [server, browser] = await Promise.all([new Server().start(), Browser.start()]);
  await demo(server);
  task = (await server.call('GET', '/v2/apps//shop/cart')).app.tasks[0].id;
  page = await browser.page(`${server.root}/ui/`);
});
after(async () => {
  await browser?.stop();
  await server?.stop();
});

const dialog = () => page.getByRole('dialog');

test('pods: their containers, logs and definition; created and destroyed', async () => {
  await page.goto(`${server.root}/ui/#/pods`);
  await page.getByRole('link', { name: '/blog' }).click();
  await page.locator('section', { hasText: 'cache' }).first().waitFor();
  await page.getByRole('link', { name: 'stdout of web' }).first().click();
  await page.locator('.log-text', { hasText: 'page view' }).waitFor();
  await page.goto(`${server.root}/ui/#/create-pod`);
  const json = page.getByLabel('Definition as JSON');
  const spec = JSON.parse(await json.inputValue());
  await json.fill(JSON.stringify({ ...spec, id: '/Bad Id' }));
  await page.locator('.field-error', { hasText: 'id' }).first().waitFor();
  const containers = spec.containers.map((it) => ({ ...it, resources: { cpus: 0.01, mem: 8 } }));
  await json.fill(JSON.stringify({ ...spec, id: '/made', containers }));
  await page.locator('.preview', { hasText: 'Tasks started' }).waitFor();
  await page.getByRole('button', { name: 'Create pod' }).click();
  await page.locator('.app-state', { hasText: '1 of 1 instance stable' }).waitFor();
  await until('it is deployed', async () => (await server.call('GET', '/v2/deployments')).every((it) => !it.affectedPods.includes('/made')));
  await page.getByRole('button', { name: 'Scale' }).click();
  await dialog().getByLabel('Instances').fill('2');
  await dialog().locator('.preview').waitFor();
  await dialog().getByRole('button', { name: 'Scale' }).click();
  await page.locator('.app-state', { hasText: '2 of 2 instances stable' }).waitFor();
  await page.getByRole('button', { name: 'More' }).click();
  await page.getByRole('menuitem', { name: 'Destroy …' }).click();
  await dialog().getByRole('button', { name: 'Destroy' }).click();
  await page.waitForURL(/#\/pods$/);
  await page.getByRole('link', { name: '/made' }).waitFor({ state: 'detached' });
});

test('the cluster: what is used and where things run', async () => {
  await page.goto(`${server.root}/ui/#/cluster`);
  const agent = page.getByRole('article', { name: 'Agent 127.0.0.1' });
  await agent.getByRole('link', { name: /\/shop\/web: 3 instances, 3 healthy/ }).waitFor();
  assert.equal(await agent.locator('.where-app', { hasText: '/shop/web' }).locator('.tiles .healthy').count(), 3);
  await agent.getByRole('img', { name: /CPUs: .* of / }).waitFor();
});

test('about: version, leader, engine, store, flags', async () => {
  await page.keyboard.press('g');
  await page.keyboard.press('v');
  const facts = page.getByRole('region', { name: 'Overview' });
  for (const text of ['1.11', `127.0.0.1:${server.port}`, 'embedded', '--data_dir']) await facts.getByText(text).first().waitFor();
  await page.getByLabel('Find a flag').fill('http_port');
  await page.locator('.fields', { hasText: String(server.port) }).first().waitFor();
});

test('volumes, and an address that leads nowhere', async () => {
  await page.goto(`${server.root}/ui/#/apps/%2Fshop%2Fdb%2Fpostgres/volumes`);
  await page.locator('tr', { hasText: 'attached' }).waitFor();
  await page.goto(`${server.root}/ui/#/apps/%2Fgone`);
  await page.getByRole('heading', { name: 'The application /gone does not exist' }).waitFor();
  await page.goto(`${server.root}/ui/#/nowhere`);
  await page.getByRole('heading', { name: 'Page not found' }).waitFor();
});

const PLACES = () => [
  '#/apps', '#/group/%2Fshop', '#/apps?filterText=zzz', '#/apps/%2Fshop%2Fweb', '#/apps/%2Fshop%2Fcart/configuration', '#/apps/%2Fshop%2Fcart/deployments',
  '#/apps/%2Fml%2Ftrain/why', '#/apps/%2Fshop%2Fdb%2Fpostgres/volumes', '#/apps/%2Fimporter/events', `#/apps/%2Fshop%2Fcart/${task}?path=stdout`, `#/apps/%2Fshop%2Fcart/${task}?folder=`,
  '#/create', '#/apps/%2Fshop%2Fweb/edit', '#/deployments', '#/pods', '#/pods/%2Fblog', '#/create-pod', '#/cluster', '#/events', '#/about', '#/nowhere',
];

async function audit(what) {
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'] });
    return violations.filter((it) => it.impact === 'serious' || it.impact === 'critical')
      .map((it) => `${it.id}: ${it.nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary.split('\n')[1]?.trim() ?? ''}`).join(' | ')}`);
  });
  if (found.length > 0) throw new Error(`${what}: ${found.join('; ')}`);
}

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing serious, ${colorScheme}`, async () => {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.goto('about:blank');
    await page.goto(`${server.root}/ui/`);
    await page.evaluate(axe);
    const problems = [];
    for (const place of PLACES()) {
      await page.goto(`${server.root}/ui/${place}`);
      await until(`${place} is loaded`, async () => (await page.locator('.loading').count()) === 0 && (await page.locator('main *').count()) > 2);
      await audit(place).catch((error) => problems.push(error.message));
    }
    await page.goto(`${server.root}/ui/#/apps`);
    await page.getByRole('button', { name: 'Actions for /metrics' }).click();
    await audit('an open menu').catch((error) => problems.push(error.message));
    await page.getByRole('menuitem', { name: 'Scale …' }).click();
    await dialog().locator('.preview').waitFor();
    await audit('a dialog').catch((error) => problems.push(error.message));
    await page.keyboard.press('Escape');
    await dialog().waitFor({ state: 'hidden' });
    assert.deepEqual(problems, []);
  });
}

test('every screen fits a phone', async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  const wide = [];
  for (const place of PLACES()) {
    await page.goto(`${server.root}/ui/${place}`);
    await until(`${place} is loaded`, async () => (await page.locator('.loading').count()) === 0 && (await page.locator('main *').count()) > 2);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > 361) wide.push(`${place} ${width}`);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  assert.deepEqual(wide, []);
});

test('the keyboard does everything', async () => {
  await page.goto(`${server.root}/ui/#/apps`);
  await page.locator('[data-id="/metrics"]').waitFor();
  await page.keyboard.press('?');
  await dialog().getByText('Keyboard shortcuts').waitFor();
  await page.keyboard.press('Escape');
  await dialog().waitFor({ state: 'hidden' });
  const focused = () => page.evaluate(() => document.activeElement?.closest('[data-id]')?.dataset.id);
  await page.evaluate(() => document.getElementById('main').focus());
  await page.keyboard.press('j');
  assert.equal(await focused(), '/media');
  await page.keyboard.press('End');
  assert.equal(await focused(), '/metrics');
  await page.keyboard.press('x');
  await page.getByRole('region', { name: 'Chosen applications' }).waitFor();
  await page.keyboard.press('x');
  await page.keyboard.press('Enter');
  await page.waitForURL(/%2Fmetrics$/);
  await page.keyboard.press('g');
  await page.keyboard.press('e');
  await page.waitForURL(/%2Fmetrics\/edit$/);
  await page.keyboard.press('Escape');
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press('u');
  await page.waitForURL(/%2Fmetrics$/);
  // A menu by arrows, a dialog by Enter; the focus comes back.
  await page.getByRole('button', { name: 'More' }).focus();
  await page.keyboard.press('ArrowDown');
  await until('the first item has the focus', () => page.evaluate(() => document.activeElement?.textContent === 'Suspend …'));
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await dialog().getByText('cannot be undone').waitFor();
  await page.keyboard.press('Escape');
  await dialog().waitFor({ state: 'hidden' });
  await page.keyboard.press('c');
  await page.waitForURL(/#\/create$/);
  assert.deepEqual(page.problems, []);
});

test('ten thousand apps: only what is in sight is drawn', async () => {
  const { apps } = await server.call('GET', '/v2/apps');
  const like = apps.find((it) => it.id === '/metrics');
  const many = Array.from({ length: 10_000 }, (_, at) => ({ ...like, id: `/app-${at}`, labels: { n: String(at % 5) } }));
  await page.route('**/v2/apps', (route) => route.fulfill({ contentType: 'application/json', body: JSON.stringify({ apps: many }) }));
  await page.goto('about:blank');
  await page.goto(`${server.root}/ui/#/apps`);
  await page.locator('[data-id="/app-0"]').waitFor();
  const rows = () => page.locator('.grid-body [data-id]').count();
  assert.ok((await rows()) < 80);
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await page.locator('[data-id="/app-9999"]').waitFor();
  assert.ok((await rows()) < 80);
  await page.keyboard.press('/');
  await page.keyboard.type('app-777');
  await page.locator('[data-id="/app-7770"]').waitFor();
  assert.equal(await rows(), 11);
  await page.unroute('**/v2/apps');
  await page.goto('about:blank');
});

test('it works below a path of a proxy', async () => {
  // HAProxy and others may show this server as one of several: all addresses are relative.
  const proxy = createServer((asked, answer) => {
    if (!asked.url.startsWith('/team/marathon/')) return answer.writeHead(404).end();
    const { host, ...headers } = asked.headers;
    const on = request({ host: '127.0.0.1', port: new URL(server.root).port, path: asked.url.slice('/team/marathon'.length), method: asked.method, headers }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    });
    on.on('error', () => answer.writeHead(502).end());
    answer.on('close', () => on.destroy());
    asked.pipe(on);
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  try {
    await page.goto(`http://127.0.0.1:${proxy.address().port}/team/marathon/ui/#/apps`);
    await page.locator('[data-id="/metrics"]', { hasText: '1 of 1' }).waitFor();
    await page.locator('.light.live').waitFor();
    await server.call('PUT', '/v2/apps/metrics', { instances: 2 });
    await page.locator('[data-id="/metrics"]', { hasText: '2 of 2' }).waitFor();
  } finally {
    await page.goto('about:blank');
    proxy.closeAllConnections();
    proxy.close();
  }
});
