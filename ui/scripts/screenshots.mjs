// Pictures of each screen in both themes, of the demo.
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Browser, Server, until } from '../test/browser/world.mjs';
import { demo } from './demo.mjs';

const folder = join(dirname(fileURLToPath(import.meta.url)), '../../docs/screenshots');
mkdirSync(folder, { recursive: true });
for (const name of readdirSync(folder)) if (name.endsWith('.png')) rmSync(join(folder, name));

const server = await new Server().start();
let browser;
try {
  await demo(server);
  browser = await Browser.start();
  const page = await browser.page();
  await page.setViewportSize({ width: 1180, height: 740 });
  const cart = (await server.call('GET', '/v2/apps//shop/cart')).app;
  const [version] = (await server.call('GET', '/v2/apps//shop/cart/versions')).versions.sort();
  const open = (hash) => page.goto(`${server.root}/ui/${hash}`);
  const screens = {
    applications: () => open('#/apps'),
    application: () => open('#/apps/%2Fshop%2Fweb'),
    versions: () => open(`#/apps/%2Fshop%2Fcart/configuration?version=${encodeURIComponent(version)}`),
    why: () => open('#/apps/%2Fml%2Ftrain/why'),
    log: () => open(`#/apps/%2Fshop%2Fcart/${cart.tasks[0].id}?path=stdout`),
    edit: async () => {
      await open('#/apps/%2Fshop%2Fweb/edit');
      await page.getByLabel('Memory (MiB)').fill('64');
      await page.locator('.preview', { hasText: 'mem' }).waitFor();
    },
    scale: async () => {
      await open('#/apps/%2Fshop%2Fweb');
      await page.getByRole('button', { name: 'Scale' }).click();
      await page.getByRole('dialog').getByLabel('Instances').fill('4');
      await page.getByRole('dialog').locator('.preview', { hasText: 'instances' }).waitFor();
    },
    deployments: () => open('#/deployments'),
    pods: () => open('#/pods/%2Fblog'),
    cluster: () => open('#/cluster'),
    events: () => open('#/events'),
    about: () => open('#/about'),
  };
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const [name, show] of Object.entries(screens)) {
      await page.goto('about:blank');
      await page.addInitScript(() => localStorage.clear());
      await show();
      await until(`${name} is loaded`, async () => (await page.locator('.loading').count()) === 0 && (await page.locator('main *').count()) > 2);
      // Long enough for what is read after the first answer.
      await page.waitForTimeout(600);
      await page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`) });
    }
  }
  await page.setViewportSize({ width: 390, height: 760 });
  await page.emulateMedia({ colorScheme: 'light' });
  await open('#/apps');
  await page.locator('[data-id="/shop"]').waitFor();
  await page.screenshot({ path: join(folder, 'phone.png') });
} finally {
  await browser?.stop();
  await server.stop();
}
