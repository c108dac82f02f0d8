// A small world to look at: something in every state.
import { until } from '../test/browser/world.mjs';

const loop = (line, seconds = 1) => `i=0; while true; do i=$((i+1)); echo "$(date +%T) ${line} $i"; sleep ${seconds}; done`;
const serve = 'mkdir -p site && echo ok > site/index.html && cd site && exec python3 -m http.server $PORT0 --bind 127.0.0.1';
const check = { protocol: 'HTTP', path: '/', gracePeriodSeconds: 20, delaySeconds: 0, intervalSeconds: 2, timeoutSeconds: 5, maxConsecutiveFailures: 3 };

const APPS = [
  { id: '/shop/web', cmd: serve, cpus: 0.1, mem: 48, instances: 3, labels: { tier: 'web', team: 'shop' }, healthChecks: [check], env: { GREETING: 'hello' } },
  { id: '/shop/cart', cmd: loop('cart: request'), cpus: 0.1, mem: 32, instances: 2, labels: { tier: 'api', team: 'shop' } },
  { id: '/shop/db/postgres', cmd: 'echo ready; sleep 100000', cpus: 0.2, mem: 128, labels: { tier: 'data', team: 'shop' }, container: { type: 'MESOS', volumes: [{ containerPath: 'data', mode: 'RW', persistent: { size: 64 } }] }, residency: { taskLostBehavior: 'WAIT_FOREVER' }, upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 0 }, unreachableStrategy: 'disabled' },
  { id: '/media/encode', cmd: loop('frame', 0.5), cpus: 0.1, mem: 64, instances: 3, labels: { team: 'media' } },
  { id: '/media/thumbnails', cmd: loop('thumbnail'), cpus: 0.1, mem: 32, instances: 0, labels: { team: 'media' } },
  { id: '/metrics', cmd: loop('scrape'), cpus: 0.1, mem: 32, labels: { tier: 'ops' } },
  { id: '/importer', cmd: 'echo connecting to the archive; sleep 1; echo "error: the archive refused the key" >&2; exit 3', cpus: 0.1, mem: 16, backoffSeconds: 40, labels: { tier: 'ops' } },
  { id: '/ml/train', cmd: 'sleep 1000', cpus: 64, mem: 4096, labels: { team: 'ml' } },
];

const POD = {
  id: '/blog', scaling: { kind: 'fixed', instances: 2 }, networks: [{ mode: 'host' }],
  containers: [
    { name: 'web', exec: { command: { shell: loop('page view') } }, resources: { cpus: 0.05, mem: 32 } },
    { name: 'cache', exec: { command: { shell: 'sleep 100000' } }, resources: { cpus: 0.05, mem: 32 } },
  ],
};

export async function demo(server) {
  for (const app of APPS) await server.call('POST', '/v2/apps', app);
  await server.call('POST', '/v2/pods', POD);
  await until('the shop is healthy', async () => (await server.call('GET', '/v2/apps//shop/web')).app.tasksHealthy === 3);
  for (const env of [{ GREETING: 'good morning', LIMIT: '10' }, { GREETING: 'good evening', LIMIT: '20' }]) {
    await server.call('PUT', '/v2/apps//shop/cart', { env });
    await until('the cart runs', async () => (await server.call('GET', '/v2/apps//shop/cart')).app.deployments.length === 0);
  }
  await until('the importer has failed', async () => (await server.call('GET', '/v2/queue')).queue.some((it) => it.app?.id === '/importer'));
}
