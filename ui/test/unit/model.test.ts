import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barOf, healthWeight, listing, matchesText, statusOf, taskHealth, trail, type AppRow, type Filters, type Sort, type Waiting } from '../../src/lib/model.ts';

function app(id: string, some: Partial<AppRow> = {}): AppRow {
  return { id, cpus: 0.5, mem: 64, disk: 0, gpus: 0, instances: 1, running: 1, staged: 0, healthy: 0, unhealthy: 0, deployments: [], labels: {}, hasVolumes: false, version: '', ...some };
}

const NONE: Filters = { text: '', status: [], health: [], labels: [], volumes: false };
const BY_NAME: Sort = { by: 'name', descending: false };

test('the status: the first that holds', () => {
  const waits = (overdue: boolean, count = 1): Waiting => ({ count, overdue, until: 1_000 });
  for (const [row, waiting, want] of [
    [app('/a'), undefined, 'running'],
    [app('/a', { deployments: ['d'] }), undefined, 'deploying'],
    [app('/a', { deployments: ['d'] }), waits(true), 'waiting'],
    [app('/a'), waits(false), 'delayed'],
    [app('/a', { instances: 0, running: 0 }), undefined, 'suspended'],
    [app('/a', { instances: 0, running: 0 }), waits(true), 'suspended'],
    [app('/a', { running: 0 }), undefined, undefined],
    [app('/a'), waits(true, 0), 'running'],
  ] as const) assert.equal(statusOf(row, waiting, 500), want);
  assert.equal(statusOf(app('/a'), waits(false), 2_000), 'waiting', 'a delay that has run out');
});

test('the health bar', () => {
  const check = (some: Partial<AppRow>, want: string) => {
    const bar = barOf(app('/a', some));
    assert.equal(Object.entries(bar).filter(([, n]) => n > 0).map(([name, n]) => `${n} ${name}`).join(' '), want);
  };
  check({ instances: 3, running: 2, healthy: 1, unhealthy: 1 }, '1 healthy 1 unhealthy 1 unscheduled');
  check({ instances: 2, running: 3, healthy: 1 }, '1 healthy 2 unknown 1 over');
  check({ instances: 0, running: 0 }, '');
  check({ instances: 2, running: 0, staged: 2 }, '2 staged');
  const weight = (some: Partial<AppRow>) => healthWeight(barOf(app('/a', some)));
  assert.ok(weight({ unhealthy: 1 }) > weight({ instances: 0, running: 1 }) && weight({ healthy: 1 }) > weight({}));
});

test('the list of a group', () => {
  const apps = [app('/shop/web', { labels: { tier: 'web' } }), app('/shop/db/pg', { instances: 2, healthy: 1, unhealthy: 1, running: 2 }), app('/solo-10'), app('/solo-2', { instances: 0, running: 0 })];
  const groups = ['/', '/shop', '/shop/db', '/empty'];
  const check = (group: string, filters: Partial<Filters>, sort: Sort, want: string) => {
    const it = listing(apps, groups, group, { ...NONE, ...filters }, sort, new Map(), 0);
    assert.equal(it.lines.map((line) => (line.kind === 'group' ? `${line.name}/${line.apps}` : line.name)).join(' '), want);
    return it;
  };
  const all = check('/', {}, BY_NAME, 'empty/0 shop/2 solo-2 solo-10');
  assert.deepEqual([all.totals.apps, all.totals.instances, all.totals.running, all.totals.cpus], [4, 4, 4, 2]);
  assert.deepEqual(all.counts.status, { running: 3, deploying: 0, suspended: 1, delayed: 0, waiting: 0 });
  assert.deepEqual(all.counts.labels, [['tier:web', 1]]);
  check('/shop', {}, BY_NAME, 'db/1 web');
  check('/shop/db', {}, BY_NAME, 'pg');
  check('/', {}, { by: 'name', descending: true }, 'shop/2 empty/0 solo-10 solo-2');
  check('/', { text: 'PG shop' }, BY_NAME, 'shop/db/pg');
  check('/', { status: ['suspended'] }, BY_NAME, 'solo-2');
  check('/', { health: ['unhealthy'] }, BY_NAME, 'shop/db/pg');
  check('/', { labels: ['tier:web'] }, BY_NAME, 'shop/web');
  check('/', { labels: ['tier:no'] }, BY_NAME, '');
  check('/', { text: 's' }, { by: 'cpus', descending: true }, 'shop/db/pg shop/web solo-10 solo-2');
  assert.ok(matchesText('/shop/web', 'web shop') && !matchesText('/shop/web', 'db'));
  assert.deepEqual(trail('/a/b'), ['/', '/a', '/a/b']);
});

test('the health of a task', () => {
  for (const [results, want] of [
    [undefined, 'unknown'], [[], 'unknown'], [[{ alive: true }], 'healthy'], [[{ alive: true }, { alive: false, consecutiveFailures: 2 }], 'unhealthy'], [[{ alive: false, consecutiveFailures: 0 }], 'unknown'],
  ] as const) assert.equal(taskHealth({ id: 't', appId: '/a', healthCheckResults: results as never }), want);
});
