// `node scripts/look.mjs FOLDER '#/apps' '#/about@dark@390x800' …`: pictures of places of the demo, for looking at them.
// `TASK` in a place stands for a task of /shop/cart. With UI_FROM_DISK=1 the files of dist/ are shown instead of the embedded ones.
import { Browser, Server } from '../test/browser/world.mjs';
import { demo } from './demo.mjs';

const [folder, ...places] = process.argv.slice(2);
const server = await new Server().start();
const base = server.root;
let browser;
try {
  await demo(server);
  const { app } = await server.call('GET', '/v2/apps//shop/cart');
  browser = await Browser.start();
  const page = await browser.page();
  for (const [at, it] of places.entries()) {
    const [hash, scheme = 'light', size = '1280x800', clicks = ''] = it.replace('TASK', app.tasks[0].id).split('@');
    const [width, height] = size.split('x').map(Number);
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto('about:blank');
    await page.goto(`${base}/ui/${hash}`);
    await page.waitForTimeout(1100);
    for (const click of clicks.split('>').filter(Boolean)) { await page.click(click); await page.waitForTimeout(800); }
    await page.screenshot({ path: `${folder}/${at}.png` });
  }
  console.log(page.problems.join('\n'));
} finally {
  await browser?.stop();
  await server.stop();
}
