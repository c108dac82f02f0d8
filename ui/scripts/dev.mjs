// Serves dist/ as it is on disk and hands everything else to a running server:
// `node scripts/dev.mjs http://127.0.0.1:8080 8081`, and `npm run build` after a change.
import { createServer, request } from 'node:http';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = join(dirname(fileURLToPath(import.meta.url)), '../dist');
const target = new URL(process.argv[2] ?? 'http://127.0.0.1:8080');
const port = Number(process.argv[3] ?? 8081);
const KINDS = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };

createServer((asked, answer) => {
  const path = new URL(asked.url, 'http://x').pathname;
  if (path === '/' || path === '/ui') {
    answer.writeHead(302, { location: '/ui/' }).end();
  } else if (path.startsWith('/ui/')) {
    const file = join(dist, normalize(path.slice(4) || 'index.html'));
    if (!file.startsWith(dist) || !existsSync(file)) return answer.writeHead(404).end();
    answer.writeHead(200, { 'content-type': KINDS[file.split('.').pop()] ?? 'text/plain', 'cache-control': 'no-store' });
    answer.end(readFileSync(file));
  } else {
    const { host, ...headers } = asked.headers;
    const on = request({ host: target.hostname, port: target.port, path: asked.url, method: asked.method, headers }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
      // A server that dies in the middle of an answer: so does the answer.
      got.on('close', () => got.complete || answer.destroy());
    });
    on.on('error', () => answer.writeHead(502).end());
    answer.on('close', () => on.destroy());
    asked.pipe(on);
  }
}).listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/ui/`));
