// Builds the interface into dist/: one script, one style sheet, one page, each also packed for the server to send.
// Names under assets/ carry the hash of their content, so a browser may keep them for ever.
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
/** Of everything a first visit loads, packed. Issue 6 sets it. */
const BYTES_MAX = 150_000;

// The folder stays, and so does the file that keeps it in the repository: cargo watches it.
mkdirSync(dist, { recursive: true });
for (const name of readdirSync(dist)) if (name !== '.gitkeep') rmSync(join(dist, name), { recursive: true });

const result = await build({
  absWorkingDir: root,
  entryPoints: { main: 'src/main.tsx', theme: 'src/theme.ts', style: 'src/style.css' },
  entryNames: '[name]-[hash]',
  outdir: join(dist, 'assets'),
  bundle: true,
  minify: true,
  metafile: true,
  format: 'iife',
  target: ['chrome110', 'firefox115', 'safari16.4'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'warning',
});

const named = (name, ending) => {
  const path = Object.keys(result.metafile.outputs).find((it) => it.includes(`/${name}-`) && it.endsWith(ending));
  if (!path) throw new Error(`the build made no ${name}${ending}`);
  return path.replace(/^.*dist\//, '');
};
const page = readFileSync(join(root, 'src/index.html'), 'utf8')
  .replace('{{theme}}', named('theme', '.js'))
  .replace('{{script}}', named('main', '.js'))
  .replace('{{style}}', named('style', '.css'));
writeFileSync(join(dist, 'index.html'), page);

let sum = 0;
for (const path of ['index.html', ...readdirSync(join(dist, 'assets')).map((it) => `assets/${it}`)]) {
  const plain = readFileSync(join(dist, path));
  const gz = gzipSync(plain, { level: 9 });
  const br = brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  if (gz.length < plain.length) writeFileSync(join(dist, `${path}.gz`), gz);
  if (br.length < plain.length) writeFileSync(join(dist, `${path}.br`), br);
  sum += gz.length;
  console.log(`${path}: ${plain.length} bytes, ${gz.length} by gzip, ${br.length} by brotli`);
}
if (sum > BYTES_MAX) throw new Error(`${sum} bytes by gzip, ${BYTES_MAX} at most`);
console.log(`in all ${sum} bytes by gzip`);
