// The tests of the pure parts, by node's own runner: esbuild takes the types away, nothing else.
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, '.tmp/unit');
rmSync(out, { recursive: true, force: true });
const tests = readdirSync(join(root, 'test/unit')).filter((it) => it.endsWith('.test.ts'));
await build({
  absWorkingDir: root,
  entryPoints: tests.map((it) => join('test/unit', it)),
  outdir: out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  external: ['openapi-typescript', 'typescript'],
  logLevel: 'warning',
});
const files = readdirSync(out).filter((it) => it.endsWith('.mjs')).map((it) => join(out, it));
const done = spawnSync(process.execPath, ['--test', ...files], { cwd: root, stdio: 'inherit' });
process.exit(done.status ?? 1);
