// What the lists show of apps and groups, worked out from what the API says. Pure: tests call it without a browser.

import type { components } from '../api.d.ts';

export type App = components['schemas']['AppInfo'] & components['schemas']['App'];
export type Task = components['schemas']['Task'];
export type QueueItem = components['schemas']['QueueItem'];
export type Deployment = components['schemas']['Deployment'];

export const STATUSES = ['running', 'deploying', 'suspended', 'delayed', 'waiting'] as const;
export type Status = (typeof STATUSES)[number];
export const HEALTHS = ['healthy', 'unhealthy', 'unknown'] as const;
export type Health = (typeof HEALTHS)[number];

/** One app as the list needs it: ten thousand of these are held, so nothing else is kept of a definition. */
export interface AppRow {
  id: string;
  cpus: number;
  mem: number;
  disk: number;
  gpus: number;
  instances: number;
  running: number;
  staged: number;
  healthy: number;
  unhealthy: number;
  deployments: string[];
  labels: Record<string, string>;
  hasVolumes: boolean;
  version: string;
}

export function rowOf(app: App): AppRow {
  return {
    id: app.id,
    cpus: app.cpus ?? 0,
    mem: app.mem ?? 0,
    disk: app.disk ?? 0,
    gpus: app.gpus ?? 0,
    instances: app.instances ?? 0,
    running: app.tasksRunning ?? 0,
    staged: app.tasksStaged ?? 0,
    healthy: app.tasksHealthy ?? 0,
    unhealthy: app.tasksUnhealthy ?? 0,
    deployments: (app.deployments ?? []).map((it) => it.id ?? '').filter((it) => it !== ''),
    labels: (app.labels ?? {}) as Record<string, string>,
    hasVolumes: (app.container?.volumes?.length ?? 0) > 0,
    version: app.version ?? '',
  };
}

/** What the launch queue says of an app. `until`: when its delay is over, in our own clock. */
export interface Waiting {
  count: number;
  overdue: boolean;
  until: number;
}

/** The first that holds, in the order of the original. */
export function statusOf(app: AppRow, waiting: Waiting | undefined, now: number): Status | undefined {
  if (waiting && waiting.count > 0 && app.instances > 0) {
    return waiting.overdue || waiting.until <= now ? 'waiting' : 'delayed';
  }
  if (app.deployments.length > 0) return 'deploying';
  if (app.instances === 0 && app.running === 0) return 'suspended';
  if (app.running > 0) return 'running';
  return undefined;
}

export const SEGMENTS = ['healthy', 'unhealthy', 'unknown', 'staged', 'over', 'unscheduled'] as const;
export type Segment = (typeof SEGMENTS)[number];
export type Bar = Record<Segment, number>;

export function barOf(it: { instances: number; running: number; staged: number; healthy: number; unhealthy: number }): Bar {
  const unknown = Math.max(0, it.running - it.healthy - it.unhealthy);
  const present = it.healthy + it.unhealthy + unknown + it.staged;
  return {
    healthy: it.healthy,
    unhealthy: it.unhealthy,
    unknown,
    staged: it.staged,
    over: Math.max(0, present - it.instances),
    unscheduled: Math.max(0, it.instances - present),
  };
}

const WEIGHTS: Bar = { unhealthy: 32, over: 16, staged: 8, healthy: 4, unknown: 2, unscheduled: 1 };

export function healthWeight(bar: Bar): number {
  return SEGMENTS.reduce((sum, it) => sum + (bar[it] > 0 ? WEIGHTS[it] : 0), 0);
}

export function healthsOf(app: AppRow): Health[] {
  const bar = barOf(app);
  return HEALTHS.filter((it) => bar[it] > 0);
}

/** One line of the list: an app, or a group with the sums of what is below it. */
export interface Line {
  kind: 'app' | 'group';
  id: string;
  name: string;
  status: Status | undefined;
  apps: number;
  cpus: number;
  mem: number;
  instances: number;
  running: number;
  bar: Bar;
  labels: [string, string][];
}

export interface Totals {
  apps: number;
  cpus: number;
  mem: number;
  disk: number;
  gpus: number;
  instances: number;
  running: number;
}

export interface Filters {
  text: string;
  status: Status[];
  health: Health[];
  labels: string[];
  volumes: boolean;
}

export const COLUMNS = ['name', 'cpus', 'mem', 'status', 'instances', 'health'] as const;
export type Column = (typeof COLUMNS)[number];

export interface Sort {
  by: Column;
  descending: boolean;
}

export function isFiltering(it: Filters): boolean {
  return it.text !== '' || it.status.length + it.health.length + it.labels.length > 0 || it.volumes;
}

/** Words in any order; each must be part of the id. `web/api` finds `/shop/web/api-2`. */
export function matchesText(id: string, text: string): boolean {
  const lower = id.toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => lower.includes(word));
}

export function keeps(app: AppRow, status: Status | undefined, filters: Filters): boolean {
  if (filters.text !== '' && !matchesText(app.id, filters.text)) return false;
  if (filters.status.length > 0 && !(status && filters.status.includes(status))) return false;
  if (filters.health.length > 0 && !healthsOf(app).some((it) => filters.health.includes(it))) return false;
  if (filters.volumes && !app.hasVolumes) return false;
  return filters.labels.length === 0 || filters.labels.some((it) => {
    const cut = it.indexOf(':');
    return app.labels[it.slice(0, cut)] === it.slice(cut + 1);
  });
}

export function isBelow(id: string, group: string): boolean {
  return group === '/' ? id !== '/' : id.startsWith(group + '/');
}

export function parentOf(id: string): string {
  const at = id.lastIndexOf('/');
  return at <= 0 ? '/' : id.slice(0, at);
}

export function nameOf(id: string): string {
  return id.slice(id.lastIndexOf('/') + 1);
}

/** All groups on the way to `id`, the root first. */
export function trail(id: string): string[] {
  const parts = id.split('/').filter((it) => it !== '');
  return ['/', ...parts.map((_, at) => '/' + parts.slice(0, at + 1).join('/'))];
}

export interface Counts {
  status: Record<Status, number>;
  health: Record<Health, number>;
  labels: [string, number][];
  volumes: number;
}

export interface Listing {
  lines: Line[];
  totals: Totals;
  /** Of everything below the group, whatever the filters: what choosing one of them would show. */
  counts: Counts;
  /** Apps below the group, without filters. */
  all: number;
}

/** The whole list of one group. While nothing is filtered it shows direct children, groups first; a filter looks
 * through everything below. */
export function listing(
  apps: Iterable<AppRow>,
  groups: Iterable<string>,
  group: string,
  filters: Filters,
  sort: Sort,
  waiting: ReadonlyMap<string, Waiting>,
  now: number,
): Listing {
  const flat = isFiltering(filters);
  const depth = group === '/' ? 1 : group.length + 1;
  const totals: Totals = { apps: 0, cpus: 0, mem: 0, disk: 0, gpus: 0, instances: 0, running: 0 };
  const counts: Counts = {
    status: { running: 0, deploying: 0, suspended: 0, delayed: 0, waiting: 0 },
    health: { healthy: 0, unhealthy: 0, unknown: 0 },
    labels: [],
    volumes: 0,
  };
  const labels = new Map<string, number>();
  const folders = new Map<string, Line>();
  const lines: Line[] = [];
  let all = 0;
  const folder = (name: string): Line => {
    const id = group === '/' ? `/${name}` : `${group}/${name}`;
    let line = folders.get(id);
    if (!line) {
      const bar: Bar = { healthy: 0, unhealthy: 0, unknown: 0, staged: 0, over: 0, unscheduled: 0 };
      line = { kind: 'group', id, name, status: undefined, apps: 0, cpus: 0, mem: 0, instances: 0, running: 0, bar, labels: [] };
      folders.set(id, line);
    }
    return line;
  };
  if (!flat) {
    for (const id of groups) {
      if (isBelow(id, group) && !id.slice(depth).includes('/')) folder(id.slice(depth));
    }
  }
  for (const app of apps) {
    if (!isBelow(app.id, group)) continue;
    all++;
    const status = statusOf(app, waiting.get(app.id), now);
    if (status) counts.status[status]++;
    for (const it of healthsOf(app)) counts.health[it]++;
    if (app.hasVolumes) counts.volumes++;
    for (const [key, value] of Object.entries(app.labels)) {
      const label = `${key}:${value}`;
      labels.set(label, (labels.get(label) ?? 0) + 1);
    }
    if (flat && !keeps(app, status, filters)) continue;
    totals.apps++;
    totals.cpus += app.cpus * app.instances;
    totals.mem += app.mem * app.instances;
    totals.disk += app.disk * app.instances;
    totals.gpus += app.gpus * app.instances;
    totals.instances += app.instances;
    totals.running += app.running;
    const below = app.id.slice(depth);
    const cut = below.indexOf('/');
    if (!flat && cut >= 0) {
      const line = folder(below.slice(0, cut));
      const bar = barOf(app);
      line.apps++;
      line.cpus += app.cpus * app.instances;
      line.mem += app.mem * app.instances;
      line.instances += app.instances;
      line.running += app.running;
      for (const it of SEGMENTS) line.bar[it] += bar[it];
      line.status = worst(line.status, status);
      continue;
    }
    lines.push({
      kind: 'app',
      id: app.id,
      name: flat ? below : below,
      status,
      apps: 1,
      cpus: app.cpus * app.instances,
      mem: app.mem * app.instances,
      instances: app.instances,
      running: app.running,
      bar: barOf(app),
      labels: Object.entries(app.labels),
    });
  }
  counts.labels = [...labels].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return { lines: [...sorted([...folders.values()], sort), ...sorted(lines, sort)], totals, counts, all };
}

/** What a group is said to be: what most needs to be looked at among its apps. */
const URGENCY: readonly (Status | undefined)[] = [undefined, 'suspended', 'running', 'deploying', 'delayed', 'waiting'];

export function worst(a: Status | undefined, b: Status | undefined): Status | undefined {
  return URGENCY.indexOf(a) >= URGENCY.indexOf(b) ? a : b;
}

function sorted(lines: Line[], sort: Sort): Line[] {
  const key = (it: Line): number => {
    switch (sort.by) {
      case 'cpus': return it.cpus;
      case 'mem': return it.mem;
      case 'instances': return it.running;
      case 'status': return URGENCY.indexOf(it.status);
      case 'health': return healthWeight(it.bar);
      case 'name': return 0;
    }
  };
  const sign = sort.descending ? -1 : 1;
  const byName = (a: Line, b: Line) => (a.name === b.name ? 0 : ORDER.compare(a.name, b.name));
  if (sort.by === 'name') return lines.sort((a, b) => sign * byName(a, b));
  return lines.sort((a, b) => sign * (key(a) - key(b)) || byName(a, b));
}

/** `app-2` before `app-10`. */
const ORDER = new Intl.Collator('en', { numeric: true });

export function taskHealth(task: Task, checked = true): Health {
  const results = task.healthCheckResults ?? [];
  if (results.some((it) => it.alive === false && (it.lastFailure !== undefined || it.consecutiveFailures))) return 'unhealthy';
  if (results.length === 0 || !checked) return 'unknown';
  return results.every((it) => it.alive) ? 'healthy' : 'unknown';
}

export function instanceOf(task: string): string {
  return task.replace(/\.[^.]*(\.\d+)?$/, '');
}
