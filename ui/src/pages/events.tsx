// Events as they come: filtered, paused, with those that the server still remembers.

import { useComputed, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { clock, moment, plural } from '../lib/format.ts';
import { absolute } from '../lib/route.ts';
import { Empty, Icon, Link } from '../parts/basic.tsx';
import { past, type LiveEvent } from '../state/live.ts';
import { events, eventsChanged, pods } from '../state/store.ts';
import { route, setQuery } from '../state/view.ts';

const SHOWN = 300;

/** Ids of apps and pods that an event is about. */
export function subjects(data: Record<string, any>): string[] {
  const ids = [data.runSpecId, data.appId, data.appDefinition?.id].filter((it) => typeof it === 'string');
  for (const step of data.plan?.steps ?? []) for (const action of step.actions ?? []) ids.push(action.app ?? action.pod ?? '');
  if (typeof data.groupId === 'string' && ids.length === 0) ids.push(data.groupId);
  return [...new Set(ids.map(absolute))];
}

/** What happened, in a few words. */
export function summary(event: LiveEvent): string {
  const { data } = event;
  switch (event.type) {
    case 'status_update_event': return `${String(data.taskStatus).replace('TASK_', '').toLowerCase()}${data.host ? ` on ${data.host}` : ''}${data.message ? `: ${data.message}` : ''}`;
    case 'instance_changed_event': return `instance is ${data.condition}`;
    case 'instance_health_changed_event': return data.healthy === null ? 'health is not known any more' : data.healthy ? 'instance is healthy' : 'instance is unhealthy';
    case 'health_status_changed_event': return data.alive ? 'a check says healthy' : 'a check says unhealthy';
    case 'failed_health_check_event': return 'a health check failed';
    case 'unhealthy_instance_kill_event': return `killed for its health: ${data.reason}`;
    case 'api_post_event': return `defined by ${data.clientIp}`;
    case 'group_change_success': return `stored as version ${data.version}`;
    case 'group_change_failed': return `refused: ${data.reason}`;
    case 'deployment_info': return `step begins: ${actions(data.currentStep)}`;
    case 'deployment_step_success': return `step done: ${actions(data.currentStep)}`;
    case 'deployment_step_failure': return `step not done: ${actions(data.currentStep)}`;
    case 'deployment_success': return 'deployment done';
    case 'deployment_failed': return `deployment not done${data.reason ? `: ${data.reason}` : ''}`;
    case 'app_terminated_event': return 'the last instance is gone';
    case 'add_health_check_event': return `health check ${data.healthCheck?.protocol ?? ''} ${data.healthCheck?.path ?? ''}`;
    case 'scheduler_registered_event': case 'scheduler_reregistered_event': return `connected to ${data.master}`;
    case 'event_stream_attached': case 'event_stream_detached': return String(data.remoteAddress);
    default: return data.uri ? `${data.uri} by ${data.clientIp}` : '';
  }
}

function actions(step: any): string {
  return (step?.actions ?? []).map((it: any) => `${it.action ?? it.type} ${it.app ?? it.pod}`).join(', ');
}

/** The past, read once for this screen, and what comes, oldest first and each once. */
function useEvents() {
  const before = useSignal<readonly LiveEvent[]>([]);
  const reading = useSignal(true);
  useEffect(() => {
    const stop = new AbortController();
    void (async () => {
      const found: LiveEvent[] = [];
      try {
        for await (const event of past([], AbortSignal.any([stop.signal, AbortSignal.timeout(15_000)]))) found.push(event);
      } catch {
        // What is known by then has to do.
      }
      if (stop.signal.aborted) return;
      before.value = found;
      reading.value = false;
    })();
    return () => stop.abort();
  }, []);
  const all = useComputed(() => {
    void eventsChanged.value;
    const last = BigInt(before.value.at(-1)?.id || '0');
    return [...before.value, ...events.filter((it) => it.id === '' || BigInt(it.id) > last)];
  });
  return { all, reading };
}

export function EventsOf({ id }: { id: string }) {
  const { all, reading } = useEvents();
  const own = all.value.filter((it) => subjects(it.data).includes(id));
  return <EventList list={own} reading={reading.value} about={id} />;
}

export function EventsPage() {
  const { all, reading } = useEvents();
  const { query } = route.value;
  const paused = useSignal<readonly LiveEvent[] | undefined>(undefined);
  const [type, words] = [query.get('type') ?? '', query.get('text') ?? ''];
  const change = (key: string, value: string) => {
    const next = new URLSearchParams(query);
    if (value === '') next.delete(key);
    else next.set(key, value);
    setQuery(next, true);
  };
  const source = paused.value ?? all.value;
  const types = [...new Set(all.value.map((it) => it.type))].sort();
  const fits = source.filter((it) => (type === '' || it.type === type) && (words === '' || `${it.type} ${JSON.stringify(it.data)}`.toLowerCase().includes(words.toLowerCase())));
  const missed = paused.value ? all.value.length - paused.value.length : 0;
  return (
    <div class="page narrow">
      <div class="page-head">
        <h1>Events</h1>
        <div class="page-actions filters">
          <select aria-label="Type of event" value={type} onChange={(event) => change('type', event.currentTarget.value)}>
            <option value="">All types</option>
            {[...new Set([...types, ...(type === '' ? [] : [type])])].map((it) => <option key={it} value={it}>{it}</option>)}
          </select>
          <label class="search"><span class="hidden">Find in events</span><Icon name="search" /><input type="search" placeholder="Find in events" value={words} onInput={(event) => change('text', event.currentTarget.value)} /></label>
          <button type="button" aria-pressed={paused.value !== undefined} onClick={() => (paused.value = paused.value ? undefined : all.value)}>
            {paused.value ? `Go on${missed > 0 ? ` (${missed} new)` : ''}` : 'Pause'}
          </button>
        </div>
      </div>
      <EventList list={fits} reading={reading.value} />
    </div>
  );
}

function EventList({ list, reading, about }: { list: readonly LiveEvent[]; reading: boolean; about?: string }) {
  const open = useSignal<string | undefined>(undefined);
  const newest = list.slice(-SHOWN).reverse();
  if (newest.length === 0) {
    return <Empty title={reading ? 'Reading events …' : 'No events'} icon="events"><p>{reading ? '' : about ? 'The server remembers nothing about it; what happens appears here.' : 'None fits, or nothing happens. What happens appears here.'}</p></Empty>;
  }
  return (
    <section class="panel flush">
      <ol class="event-list" aria-label="Events, the newest first">
        {newest.map((it) => (
          <li key={it.id}>
            <button type="button" class="event" aria-expanded={open.value === it.id} onClick={() => (open.value = open.value === it.id ? undefined : it.id)}>
              <time dateTime={it.at} title={moment(it.at)}>{clock(it.at)}</time>
              <code>{it.type}</code>
              <span>{summary(it)}</span>
            </button>
            {about === undefined && subjects(it.data).slice(0, 2).map((id) => (
              <Link key={id} to={it.type.startsWith('group') ? { at: 'apps', group: id } : pods.value.some((pod) => pod.id === id) ? { at: 'pod', id } : { at: 'app', id, tab: 'instances' }} class="event-app">{id}</Link>
            ))}
            {open.value === it.id && <pre class="code" tabIndex={0} role="region" aria-label="Event as JSON">{JSON.stringify(it.data, null, 2)}</pre>}
          </li>
        ))}
      </ol>
      {list.length > SHOWN && <p class="dim more-note">The newest {SHOWN} of {plural(list.length, 'event')}.</p>}
    </section>
  );
}
