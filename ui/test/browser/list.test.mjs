// The list: folders, every filter, sorting, sums, the address; actions on one, on several, on groups.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser, Server, until } from './world.mjs';

let server, browser, page;
const sleeper = { cmd: 'sleep 100000', cpus: 0.01, mem: 8 };
before(async () => {
  [server, browser] = await Promise.all([new Server().start(), Browser.start()]);
  for (const app of [
    { id: '/shop/web', ...sleeper, instances: 2, labels: { tier: 'web' }, cpus: 0.02 },
    { id: '/shop/db/pg', ...sleeper, labels: { tier: 'data' }, container: { type: 'MESOS', volumes: [{ containerPath: 'd', mode: 'RW', persistent: { size: 8 } }] }, upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 0 }, unreachableStrategy: 'disabled' },
    { id: '/well', ...sleeper, healthChecks: [{ protocol: 'COMMAND', command: { value: 'true' }, intervalSeconds: 1, delaySeconds: 0, gracePeriodSeconds: 1 }] },
    { id: '/ill', ...sleeper, healthChecks: [{ protocol: 'COMMAND', command: { value: 'false' }, intervalSeconds: 1, delaySeconds: 0, gracePeriodSeconds: 1, maxConsecutiveFailures: 0 }] },
    { id: '/idle', ...sleeper, instances: 0 },
    { id: '/crash', ...sleeper, cmd: 'exit 1', backoffSeconds: 3000, maxLaunchDelaySeconds: 3600 },
    { id: '/big', ...sleeper, cpus: 1000 },
  ]) await server.call('POST', '/v2/apps', app);
  await until('all is as it should be', async () => {
    const { apps } = await server.call('GET', '/v2/apps');
    const of = (id) => apps.find((it) => it.id === id);
    const { queue } = await server.call('GET', '/v2/queue');
    return of('/shop/web').tasksRunning === 2 && of('/well').tasksHealthy === 1 && of('/ill').tasksUnhealthy === 1
      && queue.some((it) => it.app.id === '/crash' && !it.delay.overdue) && queue.some((it) => it.app.id === '/big');
  });
  page = await browser.page(`${server.root}/ui/`);
  await page.locator('[data-id="/shop"]').waitFor();
});
after(async () => {
  await browser?.stop();
  await server?.stop();
});

const shown = () => page.locator('.grid-body [data-id]').evaluateAll((rows) => rows.map((it) => it.dataset.id).join(' '));
const shows = (what, want) => until(what, async () => (await shown()) === want || Promise.reject(new Error(await shown())));

test('groups are folders with breadcrumbs', async () => {
  await shows('groups first', '/shop /big /crash /idle /ill /well');
  await page.getByRole('link', { name: 'shop (group)' }).click();
  await shows('the direct children', '/shop/db /shop/web');
  await page.getByRole('link', { name: 'db (group)' }).click();
  await shows('the next level', '/shop/db/pg');
  await page.getByRole('navigation', { name: 'Breadcrumb' }).getByRole('link', { name: 'shop' }).click();
  await shows('back by a crumb', '/shop/db /shop/web');
  await page.goBack();
  await shows('and by the browser', '/shop/db/pg');
  await page.goto(`${server.root}/ui/#/apps`);
});

test('every filter, alone', async () => {
  for (const [group, name, want] of [
    ['Status', 'running', '/ill /shop/db/pg /shop/web /well'],
    ['Status', 'deploying', null],
    ['Status', 'suspended', '/idle'],
    ['Status', 'delayed', '/crash'],
    ['Status', 'waiting', '/big'],
    ['Health', 'healthy', '/well'],
    ['Health', 'unhealthy', '/ill'],
    ['Health', 'unknown', '/shop/db/pg /shop/web'],
    ['Resources', 'volumes', '/shop/db/pg'],
    ['Label', 'tier:web', '/shop/web'],
  ]) {
    const it = page.locator('fieldset', { has: page.locator('legend', { hasText: group }) }).locator('label', { has: page.locator(`.facet-text[title="${name}"]`) }).getByRole('checkbox');
    await it.check();
    if (want !== null) {
      await until(`${group} ${name}`, async () => {
        const got = (await shown()).split(' ').filter((id) => id !== '/ill' || name !== 'running').sort().join(' ');
        return got === want.split(' ').filter((id) => id !== '/ill' || name !== 'running').sort().join(' ') || Promise.reject(new Error(got));
      });
    } else {
      await page.waitForURL(/filterStatus=deploying/);
    }
    await it.uncheck();
  }
  await shows('all again', '/shop /big /crash /idle /ill /well');
});

test('filters and order are in the address', async () => {
  await page.keyboard.press('/');
  await page.keyboard.type('s');
  await page.waitForURL(/filterText=s/);
  await page.getByRole('button', { name: 'CPUs' }).click();
  await page.waitForURL(/sort=cpus&order=desc/);
  await until('the greatest first', async () => (await shown()).startsWith('/shop/web '));
  const other = await browser.page(page.url());
  await other.locator('.grid-body [data-id]').first().waitFor();
  const there = await other.locator('.grid-body [data-id]').evaluateAll((rows) => rows.map((it) => it.dataset.id).join(' '));
  assert.equal(there, await shown());
  await other.close();
  await page.keyboard.press('Escape');
  await page.getByRole('searchbox', { name: 'Search applications' }).fill('nothing like this');
  await page.getByText('No application fits these filters').waitFor();
  await page.getByRole('button', { name: 'Show all applications' }).click();
  await shows('all again', '/shop /big /crash /idle /ill /well');
});

test('sums', async () => {
  const text = await page.locator('.totals').innerText();
  assert.match(text.replace(/\s+/g, ' '), /Applications 7 Instances \d of 7 CPUs 1,000/);
});

const dialog = () => page.getByRole('dialog');

test('an app is scaled, with a preview and a result', async () => {
  await page.goto(`${server.root}/ui/#/group/%2Fshop`);
  await page.getByRole('button', { name: 'Actions for /shop/web' }).click();
  await page.getByRole('menuitem', { name: 'Scale …' }).click();
  await dialog().getByLabel('Instances').fill('-1');
  await dialog().getByText('whole number').waitFor();
  await dialog().getByLabel('Instances').fill('3');
  await dialog().locator('.preview', { hasText: 'instances' }).waitFor();
  await page.keyboard.press('Enter');
  await dialog().waitFor({ state: 'hidden' });
  await page.locator('[data-id="/shop/web"]', { hasText: '3 of 3' }).waitFor();
  await page.locator('.toast', { hasText: 'Done.' }).waitFor();
});

test('several at once, each with its progress', async () => {
  await page.goto(`${server.root}/ui/#/apps`);
  await page.getByLabel('Choose /idle').check();
  await page.getByLabel('Choose /well').check();
  const bar = page.getByRole('region', { name: 'Chosen applications' });
  await bar.getByRole('button', { name: 'Scale' }).click();
  await dialog().getByLabel('Instances').fill('2');
  await dialog().getByRole('button', { name: 'Scale' }).click();
  await until('both are done', async () => (await dialog().locator('.targets li.ok').count()) === 2);
  await dialog().getByRole('button', { name: 'Close' }).click();
  await page.locator('[data-id="/idle"]', { hasText: '2 of 2' }).waitFor();
  await page.getByLabel('Choose /idle').check();
  await bar.getByRole('button', { name: 'Suspend' }).click();
  await dialog().getByRole('button', { name: 'Suspend' }).click();
  await page.locator('[data-id="/idle"]', { hasText: 'Suspended' }).waitFor();
});

test('restart and reset of a delay', async () => {
  await page.getByRole('button', { name: 'Actions for /well' }).click();
  await page.getByRole('menuitem', { name: 'Restart …' }).click();
  const before = (await server.call('GET', '/v2/apps/well')).app.version;
  await dialog().getByRole('button', { name: 'Restart' }).click();
  await dialog().waitFor({ state: 'hidden' });
  await until('it is a new version', async () => (await server.call('GET', '/v2/apps/well')).app.version !== before);
  const failure = async () => (await server.call('GET', '/v2/apps/crash')).app.lastTaskFailure?.timestamp;
  const failed = await failure();
  await page.getByRole('button', { name: 'Actions for /crash' }).click();
  await page.getByRole('menuitem', { name: 'Reset delay' }).click();
  await dialog().getByRole('button', { name: 'Reset delay' }).click();
  await until('it is tried again', async () => (await failure()) !== failed);
});

test('what is locked can be forced', async () => {
  await page.goto(`${server.root}/ui/#/apps/%2Fbig`);
  await page.getByRole('button', { name: 'Scale' }).click();
  await dialog().getByLabel('Instances').fill('0');
  await dialog().locator('.preview').waitFor();
  await dialog().getByRole('button', { name: 'Scale' }).click();
  await dialog().getByText('being changed by another deployment').waitFor();
  await dialog().getByRole('button', { name: /Stop the deployment/ }).click();
  await dialog().waitFor({ state: 'hidden' });
  await page.locator('.app-state', { hasText: 'Suspended' }).waitFor();
});

test('instances are killed, and killed with scaling', async () => {
  await page.goto(`${server.root}/ui/#/apps/%2Fshop%2Fweb`);
  const row = page.locator('tr[data-task]').first();
  const first = await row.getAttribute('data-task');
  await row.getByRole('checkbox').check();
  await page.getByRole('button', { name: 'Kill', exact: true }).click();
  await dialog().getByRole('button', { name: 'Kill' }).click();
  await page.locator(`tr[data-task="${first}"]`).waitFor({ state: 'detached' });
  await until('another takes its place', async () => (await page.locator('tr[data-task]').count()) === 3);
  await page.locator('tr[data-task]').first().getByRole('checkbox').check();
  await page.getByRole('button', { name: 'Kill and scale' }).click();
  await dialog().getByRole('button', { name: 'Kill and scale' }).click();
  await page.locator('.app-state', { hasText: '2 of 2 instances' }).waitFor();
});

test('groups: created, scaled, destroyed', async () => {
  await page.goto(`${server.root}/ui/#/apps`);
  await page.getByRole('button', { name: 'New group' }).click();
  await dialog().getByLabel('Name of the group').fill('fresh');
  await dialog().getByRole('button', { name: 'Create group' }).click();
  await page.locator('[data-id="/fresh"]').waitFor();
  await page.getByRole('button', { name: 'Actions for /shop', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Scale by a factor …' }).click();
  await dialog().getByLabel('Factor').fill('2');
  await dialog().getByRole('button', { name: 'Scale' }).click();
  await page.locator('[data-id="/shop"]', { hasText: '6 of 6' }).waitFor();
  // Others of the list are never done.
  await until('it is scaled', async () => (await server.call('GET', '/v2/deployments')).every((it) => !it.affectedApps.some((id) => id.startsWith('/shop'))));
  await page.getByRole('button', { name: 'Actions for /shop', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Destroy …' }).click();
  await dialog().getByText('cannot be undone').waitFor();
  await dialog().getByRole('button', { name: 'Destroy' }).click();
  await page.locator('[data-id="/shop"]').waitFor({ state: 'detached' });
  assert.deepEqual(page.problems, []);
});
