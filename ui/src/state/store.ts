// What the server's state is, as far as the screens need it: read once, then kept up by events. An event says what
// changed; that, and only that, is read again.

import { batch, signal } from '@preact/signals';
import { absolute } from '../lib/route.ts';
import { parentOf, rowOf, type App, type AppRow, type Deployment, type QueueItem, type Waiting } from '../lib/model.ts';
import type { components } from '../api.d.ts';
import { ApiError, call, idPath, wordsOf } from './api.ts';
import { listen, type LiveEvent } from './live.ts';

export type PodStatus = components['schemas']['PodStatus'];

/** The maps are changed in place; their signal counts the changes. */
export const apps = new Map<string, AppRow>();
export const appsChanged = signal(0);
export const groups = signal<ReadonlySet<string>>(new Set());
export const waiting = signal<ReadonlyMap<string, Waiting>>(new Map());
export const deployments = signal<readonly Deployment[]>([]);
export const pods = signal<readonly PodStatus[]>([]);
export const loaded = signal(false);
export const loadError = signal('');
/** Grows with every event of an app or pod, by id: screens that show one read it anew. */
export const touched = signal<ReadonlyMap<string, number>>(new Map());

export interface Outcome {
  id: string;
  ok: boolean;
  reason: string;
  at: string;
}

/** How deployments ended, newest last. */
export const outcomes = signal<readonly Outcome[]>([]);
const OUTCOMES_MAX = 200;

const EVENTS_MAX = 2_000;
/** The newest events, oldest first; changed in place, too. */
export const events: LiveEvent[] = [];
export const eventsChanged = signal(0);

/** So many apps are read one by one; more by one list. */
const SINGLE_READS_MAX = 16;
/** Between an event and the reading: what happens together is read together. */
const GATHER_MS = 60;

const dirty = { apps: new Set<string>(), groups: new Set<string>(), all: false, queue: false, deployments: false, pods: false };
let timer: ReturnType<typeof setTimeout> | undefined;
let busy = false;
let notBefore = 0;
/** For the whole list. */
let wholeNotBefore = 0;

export function start(): void {
  void listen({ joined: () => void reload(), heard });
}

/** Everything anew: at the start, and after a gap in the events. */
export function reload(): Promise<void> {
  dirty.all = dirty.queue = dirty.deployments = dirty.pods = true;
  dirty.groups.add('/');
  notBefore = 0;
  return flush();
}

function heard(event: LiveEvent): void {
  events.push(event);
  if (events.length > EVENTS_MAX + 200) events.splice(0, events.length - EVENTS_MAX);
  const { data, type } = event;
  const id: unknown = data.runSpecId ?? data.appId ?? data.appDefinition?.id;
  const changed = new Set<string>();
  if (typeof id === 'string') changed.add(absolute(id));
  if (data.plan) {
    for (const step of data.plan.steps ?? []) {
      for (const action of step.actions ?? []) changed.add(absolute(action.app ?? action.pod ?? ''));
    }
    dirty.deployments = true;
  }
  if (type === 'group_change_success') {
    dirty.groups.add(absolute(data.groupId ?? ''));
    dirty.deployments = true;
  }
  if (type.startsWith('pod_')) dirty.pods = true;
  batch(() => {
    eventsChanged.value++;
    if (type === 'deployment_success' || type === 'deployment_failed') {
      const outcome = { id: String(data.id), ok: type === 'deployment_success', reason: String(data.reason ?? ''), at: event.at };
      outcomes.value = [...outcomes.value.slice(-OUTCOMES_MAX), outcome];
    }
    if (changed.size > 0) {
      const next = new Map(touched.value);
      for (const it of changed) next.set(it, (next.get(it) ?? 0) + 1);
      touched.value = next;
    }
  });
  for (const it of changed) {
    if (pods.value.some((pod) => pod.id === it)) dirty.pods = true;
    else dirty.apps.add(it);
    dirty.queue = true;
  }
  schedule();
}

function schedule(): void {
  if (timer !== undefined || busy) return;
  const small = dirty.all || dirty.queue || dirty.deployments || dirty.pods || dirty.groups.size > 0 || dirty.apps.size <= SINGLE_READS_MAX;
  timer = setTimeout(() => void flush(), Math.max(GATHER_MS, (small ? notBefore : Math.max(notBefore, wholeNotBefore)) - Date.now()));
}

async function flush(): Promise<void> {
  clearTimeout(timer);
  timer = undefined;
  if (busy) return;
  busy = true;
  const began = Date.now();
  // So many apps want the whole list, which was read a moment ago: they wait, all else goes on.
  const later = !dirty.all && dirty.apps.size > SINGLE_READS_MAX && began < wholeNotBefore;
  const work = { ...dirty, apps: later ? [] : [...dirty.apps], groups: [...dirty.groups] };
  if (!later) dirty.apps.clear();
  dirty.groups.clear();
  dirty.all = dirty.queue = dirty.deployments = dirty.pods = false;
  const whole = work.all || work.apps.length > SINGLE_READS_MAX;
  try {
    await Promise.all([
      whole ? readAll() : readSome(work.apps, work.groups),
      work.groups.length > 0 || work.all ? readGroups() : undefined,
      work.queue ? readQueue() : undefined,
      work.deployments ? readDeployments() : undefined,
      work.pods ? readPods() : undefined,
    ]);
    loaded.value = true;
    loadError.value = '';
  } catch (error) {
    // What could not be read stays to be read.
    work.apps.forEach((it) => dirty.apps.add(it));
    work.groups.forEach((it) => dirty.groups.add(it));
    dirty.all ||= work.all;
    dirty.queue ||= work.queue;
    dirty.deployments ||= work.deployments;
    dirty.pods ||= work.pods;
    loadError.value = wordsOf(error);
    notBefore = Date.now() + 2_000;
  }
  busy = false;
  // Small reads follow each other closely; large ones take a quarter of the time at most, however large the cluster.
  const took = Date.now() - began;
  const pause = took < 400 ? took / 2 : Math.min(10_000, took * 3);
  if (whole) wholeNotBefore = Date.now() + pause;
  else notBefore = Math.max(notBefore, Date.now() + pause);
  if (dirty.all || dirty.queue || dirty.deployments || dirty.pods || dirty.apps.size > 0 || dirty.groups.size > 0) schedule();
}

async function readAll(): Promise<void> {
  const { apps: list } = await call<{ apps: App[] }>('v2/apps');
  apps.clear();
  for (const app of list) apps.set(app.id, rowOf(app));
  appsChanged.value++;
}

async function readSome(ids: string[], below: string[]): Promise<void> {
  // The direct apps of a changed group: an app that is gone tells of itself in no other way.
  const lists = below.map(async (group) => {
    const query = 'embed=group.apps&embed=group.apps.counts&embed=group.apps.deployments';
    const found = await orGone(call<{ apps?: App[] }>(`v2/groups/${idPath(group)}?${query}`));
    const there = new Set((found?.apps ?? []).map((it) => it.id));
    for (const id of apps.keys()) if (parentOf(id) === group && !there.has(id)) apps.delete(id);
    for (const app of found?.apps ?? []) apps.set(app.id, rowOf(app));
  });
  const covered = new Set(below);
  const singles = ids.filter((id) => !covered.has(parentOf(id))).map(async (id) => {
    const found = await orGone(call<{ app: App }>(`v2/apps/${idPath(id)}?embed=app.counts`));
    if (found) apps.set(id, rowOf(found.app));
    else if (!apps.delete(id)) dirty.pods = true;
  });
  await Promise.all([...lists, ...singles]);
  if (ids.length + below.length > 0) appsChanged.value++;
}

async function orGone<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}

interface GroupTree {
  id: string;
  groups?: GroupTree[];
}

async function readGroups(): Promise<void> {
  const root = await call<GroupTree>('v2/groups?embed=group.groups');
  const all = new Set<string>();
  const open = [root];
  for (let it = open.pop(); it; it = open.pop()) {
    all.add(absolute(it.id));
    open.push(...(it.groups ?? []));
  }
  let gone = false;
  for (const id of apps.keys()) {
    if (!all.has(parentOf(id))) gone = apps.delete(id) || gone;
  }
  batch(() => {
    groups.value = all;
    if (gone) appsChanged.value++;
  });
}

async function readQueue(): Promise<void> {
  const { queue } = await call<{ queue: QueueItem[] }>('v2/queue');
  const next = new Map<string, Waiting>();
  const now = Date.now();
  for (const it of queue) {
    const id = it.app?.id ?? (it as { pod?: { id?: string } }).pod?.id;
    if (id === undefined) continue;
    const left = Number(it.delay?.timeLeftSeconds ?? 0);
    next.set(id, { count: it.count ?? 0, overdue: it.delay?.overdue ?? true, until: now + left * 1000 });
  }
  waiting.value = next;
}

async function readDeployments(): Promise<void> {
  deployments.value = await call<Deployment[]>('v2/deployments?embed=guard');
}

async function readPods(): Promise<void> {
  pods.value = await call<PodStatus[]>('v2/pods/::status');
}

/** After a change of our own: whoever made it should see it at once, even where the events are late. */
export function expectChange(...ids: string[]): void {
  for (const id of ids) {
    if (pods.value.some((pod) => pod.id === id)) dirty.pods = true;
    else dirty.apps.add(id);
  }
  dirty.deployments = dirty.queue = true;
  notBefore = 0;
  clearTimeout(timer);
  timer = undefined;
  schedule();
}
