// `node scripts/look.mjs URL FILE [WIDTH HEIGHT SCHEME]`: a picture of a page, for looking at it.
import { Browser } from '../test/browser/world.mjs';
const [url, file, width = '1280', height = '800', scheme = 'light'] = process.argv.slice(2);
const browser = await Browser.start();
const page = await browser.page();
await page.setViewportSize({ width: Number(width), height: Number(height) });
await page.emulateMedia({ colorScheme: scheme });
await page.goto(url);
await page.waitForTimeout(Number(process.env.WAIT ?? 900));
if (process.env.EVAL) await page.evaluate(process.env.EVAL);
if (process.env.CLICK) { for (const it of process.env.CLICK.split(';')) { await page.click(it); await page.waitForTimeout(700); } }
await page.screenshot({ path: file });
console.log(page.problems.join('\n'));
await browser.stop();
