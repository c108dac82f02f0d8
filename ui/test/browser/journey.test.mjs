// Somebody who sees this for the first time: deploys an app, finds its log, rolls out a change, undoes it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser, Server, until } from './world.mjs';

let server, browser, page;
before(async () => {
  [server, browser] = await Promise.all([new Server().start(), Browser.start()]);
  page = await browser.page(`${server.root}/`);
});
after(async () => {
  await browser?.stop();
  await server?.stop();
});

const app = async (id) => (await server.call('GET', `/v2/apps/${id}`)).app;

test('the root leads to the interface, which offers a beginning', async () => {
  assert.match(page.url(), /\/ui\/$/);
  await page.getByRole('heading', { name: /Nothing runs yet/ }).waitFor();
  // The rest is the server's own doing, not that of files on disk.
  if (process.env.UI_FROM_DISK) return;
  const policy = (await page.request.get(`${server.root}/ui/`)).headers();
  assert.match(policy['content-security-policy'], /default-src 'none'/);
  assert.match(policy['etag'], /"/);
});

test('what is wrong is said at its field, and what would happen before it happens', async () => {
  await page.getByRole('link', { name: /Say hello/ }).click();
  const id = page.getByLabel('ID', { exact: true });
  assert.equal(await id.inputValue(), '/hello');
  await id.fill('/Hello World');
  await page.locator('[data-field=id] .field-error').waitFor();
  assert.equal(await id.getAttribute('aria-invalid'), 'true');
  await id.fill('/hello');
  await page.locator('[data-field=id] .field-error').waitFor({ state: 'detached' });
  // A number that is none: the error is the server's, at this field.
  await page.getByLabel('Memory (MiB)').fill('much');
  await page.locator('[data-field=mem] .field-error', { hasText: 'must be a number' }).waitFor();
  await page.getByLabel('Memory (MiB)').fill('32');
  await page.getByText('Tasks started').waitFor();
});

test('form and JSON are always in step', async () => {
  const json = page.getByLabel('Definition as JSON');
  await page.getByLabel('Instances', { exact: true }).fill('2');
  await until('the text follows the form', async () => JSON.parse(await json.inputValue()).instances === 2);
  const text = JSON.parse(await json.inputValue());
  await json.fill(JSON.stringify({ ...text, labels: { by: 'hand' }, instances: 1 }));
  assert.equal(await page.getByLabel('Instances', { exact: true }).inputValue(), '1');
  await json.fill('{ broken');
  await page.getByText('not whole').first().waitFor();
  assert.equal(await page.getByLabel('Instances', { exact: true }).inputValue(), '1', 'the form keeps what it had');
  await json.fill(JSON.stringify(text));
  assert.equal(await page.getByLabel('ID', { exact: true }).inputValue(), '/hello');
});

test('it is created, and runs', async () => {
  await page.getByLabel('Instances', { exact: true }).fill('1');
  await page.getByRole('button', { name: 'Create application' }).click();
  await page.waitForURL(/#\/apps\/%2Fhello$/);
  await page.locator('tr[data-task] >> text=Running').waitFor();
  await page.locator('.app-state', { hasText: '1 of 1 instance' }).waitFor();
  // The message tells how it ended.
  await page.locator('.toast', { hasText: 'Done.' }).waitFor();
});

test('its log is tailed, searched and downloaded', async () => {
  await page.getByRole('link', { name: /^stdout of/ }).click();
  const lines = page.locator('.log-text [data-line]');
  await lines.first().waitFor();
  const before = await lines.count();
  await until('lines come by themselves', async () => (await lines.count()) > before + 1);
  await page.getByPlaceholder('Search in this log').fill('hello');
  await page.locator('.log mark').first().waitFor();
  await page.getByText(/1 of \d+/).waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: /^Download/ }).click()]);
  assert.match(download.suggestedFilename(), /stdout/);
  await page.getByRole('link', { name: 'Files' }).click();
  await page.locator('.files').getByRole('link', { name: 'stderr', exact: true }).waitFor();
});

test('a change is rolled out by the form', async () => {
  await page.goto(`${server.root}/ui/#/apps/%2Fhello/edit`);
  await page.locator('summary', { hasText: 'Environment variables' }).click();
  await page.locator('.section', { hasText: 'Environment variables' }).getByRole('button', { name: 'Add' }).click();
  await page.getByLabel('Name 1').fill('COLOR');
  await page.getByLabel('Value 1').fill('blue');
  await page.locator('.diff .come', { hasText: 'COLOR' }).waitFor();
  await page.locator('.preview', { hasText: 'env' }).waitFor();
  await page.keyboard.press('Control+Enter');
  await page.waitForURL(/#\/apps\/%2Fhello$/);
  await until('it is there', async () => (await app('hello')).env?.COLOR === 'blue');
  await server.settled();
});

test('and undone by an older version', async () => {
  await page.getByRole('link', { name: 'Configuration' }).click();
  await page.locator('.fields', { hasText: 'COLOR: blue' }).waitFor();
  await page.locator('button.version').first().click();
  await page.locator('.diff .come', { hasText: 'COLOR' }).waitFor();
  await page.getByRole('button', { name: /Apply this version/ }).click();
  const dialog = page.getByRole('dialog');
  await dialog.locator('.preview').waitFor();
  await dialog.getByRole('button', { name: 'Apply this version' }).click();
  await dialog.waitFor({ state: 'hidden' });
  await until('it is as it was', async () => (await app('hello')).env === undefined);
  await server.settled();
  assert.deepEqual(page.problems, []);
});
