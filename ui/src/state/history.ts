// Deployments that are over, from the events that the server still remembers, and from those that come.

import { computed, signal } from '@preact/signals';
import { absolute } from '../lib/route.ts';
import { past, type LiveEvent } from './live.ts';
import { events, eventsChanged } from './store.ts';

export interface Past {
  id: string;
  began: string;
  ended: string;
  ok: boolean;
  reason: string;
  steps: number;
  affected: string[];
  actions: string[];
}

const KEPT = 100;
const TYPES = ['deployment_success', 'deployment_failed'];
const earlier = signal<readonly LiveEvent[]>([]);
let asked = false;

/** Reads the past once for this page; what comes later is heard anyway. */
export function readHistory(): void {
  if (asked) return;
  asked = true;
  void (async () => {
    const found: LiveEvent[] = [];
    const stop = AbortSignal.timeout(15_000);
    try {
      for await (const event of past(TYPES, stop)) found.push(event);
    } catch {
      // What is known by then has to do; the next visit asks again.
      asked = false;
    }
    earlier.value = found;
  })();
}

export const history = computed<readonly Past[]>(() => {
  void eventsChanged.value;
  const all = new Map<string, Past>();
  for (const event of [...earlier.value, ...events]) {
    if (!TYPES.includes(event.type)) continue;
    const { id, plan, reason } = event.data;
    const actions = (plan?.steps ?? []).flatMap((step: any) => step.actions ?? []);
    all.set(String(id), {
      id: String(id),
      began: String(plan?.version ?? event.at),
      ended: event.at,
      ok: event.type === 'deployment_success',
      reason: String(reason ?? ''),
      steps: plan?.steps?.length ?? 0,
      affected: [...new Set<string>(actions.map((it: any) => absolute(it.app ?? it.pod ?? '')))],
      actions: [...new Set<string>(actions.map((it: any) => String(it.action ?? it.type ?? '')))],
    });
  }
  return [...all.values()].sort((a, b) => (a.ended < b.ended ? 1 : -1)).slice(0, KEPT);
});
