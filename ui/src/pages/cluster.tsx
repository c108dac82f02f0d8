// The agents: what they have, what is used, and which instances run where.

import { useComputed } from '@preact/signals';
import type { components } from '../api.d.ts';
import { amount, mebibytes, moment, plural } from '../lib/format.ts';
import { Empty, Icon, Link, Loading, Meter, Problem, Time } from '../parts/basic.tsx';
import { useResource } from '../state/resource.ts';
import { pods, touched } from '../state/store.ts';
import { now, route, setQuery } from '../state/view.ts';

type Agent = components['schemas']['Agent'];

/** Of one app on one agent; more are said by number. */
const TILES_MAX = 60;

export function ClusterPage() {
  // Events of instances say that something moved; offers come without one.
  const moved = useComputed(() => [...touched.value.values()].reduce((sum, it) => sum + it, 0));
  const beat = Math.floor(now.value / 5_000);
  const { data, error, again } = useResource<{ agents: Agent[] }>('v2/agents', [moved.value, beat]);
  const { query } = route.value;
  const words = (query.get('text') ?? '').toLowerCase();
  const all = data?.agents ?? [];
  const fits = all.filter((it) => words === '' || [it.hostname, it.id, it.zone ?? '', ...it.apps.map((app) => app.id), ...Object.entries(it.attributes).map(([key, value]) => `${key}:${value}`)].some((text) => text.toLowerCase().includes(words)));
  const sum = (pick: (it: Agent) => number) => all.reduce((total, it) => total + pick(it), 0);
  return (
    <div class="page">
      <div class="page-head">
        <h1>Cluster</h1>
        {all.length > 1 && (
          <div class="page-actions">
            <label class="search"><span class="hidden">Find agents</span><Icon name="search" /><input type="search" placeholder="Host, zone, attribute, app" value={query.get('text') ?? ''}
              onInput={(event) => setQuery(new URLSearchParams(event.currentTarget.value === '' ? [] : [['text', event.currentTarget.value]]), true)} /></label>
          </div>
        )}
      </div>
      {error !== '' && <Problem text={error} retry={again} />}
      {!data && error === '' && <Loading what="agents" />}
      {data && all.length === 0 && <Empty title="No agent is known yet" icon="cluster"><p>An agent appears here when it first offers something, or runs an instance.</p></Empty>}
      {all.length > 0 && (
        <dl class="totals" aria-label="Totals">
          <div><dt>Agents</dt><dd>{all.length.toLocaleString('en-US')}</dd></div>
          <div><dt>Instances</dt><dd>{sum((it) => it.instances).toLocaleString('en-US')}</dd></div>
          <div><dt>CPUs used</dt><dd>{amount(sum((it) => it.used.cpus))}<small> of {amount(sum((it) => it.used.cpus + (it.free?.cpus ?? 0)))}</small></dd></div>
          <div><dt>Memory used</dt><dd>{mebibytes(sum((it) => it.used.mem))}<small> of {mebibytes(sum((it) => it.used.mem + (it.free?.mem ?? 0)))}</small></dd></div>
        </dl>
      )}
      <div class="agents">{fits.map((it) => <AgentCard key={it.id} it={it} />)}</div>
      {all.length > 0 && <p class="dim">Used is what Marathon's instances have reserved. Free is what an agent offered last, less what was started there since. What other frameworks use is not counted.</p>}
    </div>
  );
}

function AgentCard({ it }: { it: Agent }) {
  const { free, used } = it;
  const row = (label: string, taken: number, left: number | undefined, show: (n: number) => string) => (
    <div><dt>{label}</dt><dd>{left === undefined ? <span class="dim">{show(taken)} used, free not known</span> : <Meter used={taken} of={taken + left} label={label} text={`${show(taken)} of ${show(taken + left)}`} />}</dd></div>
  );
  const attributes = Object.entries(it.attributes);
  return (
    <article class="card agent" aria-label={`Agent ${it.hostname}`}>
      <h2><Icon name="cluster" /> {it.hostname} {(it.region || it.zone) && <small class="dim">{[it.region, it.zone].filter(Boolean).join(' / ')}</small>}</h2>
      {it.unavailability && <p class="notice"><Icon name="warning" /> Maintenance {Date.parse(it.unavailability.start) > now.value ? 'begins' : 'since'} {moment(it.unavailability.start)}</p>}
      <dl class="meters">
        {row('CPUs', used.cpus, free?.cpus, amount)}
        {row('Memory', used.mem, free?.mem, mebibytes)}
        {row('Disk', used.disk, free?.disk, mebibytes)}
        {(used.gpus > 0 || (free?.gpus ?? 0) > 0) && row('GPUs', used.gpus, free?.gpus, amount)}
      </dl>
      <div class="where">
        {it.apps.map((app) => (
          <Link key={app.id} to={app.kind === 'pod' || pods.value.some((pod) => pod.id === app.id) ? { at: 'pod', id: app.id } : { at: 'app', id: app.id, tab: 'instances' }} class="where-app" label={`${app.id}: ${plural(app.instances, 'instance')}, ${app.healthy} healthy, ${app.unhealthy} unhealthy`}>
            <span class="where-name">{app.id}</span>
            <span class="tiles" aria-hidden="true">
              {tiles(app).map((kind, at) => <i key={at} class={kind} />)}
              {app.instances > TILES_MAX && <small>{app.instances}</small>}
            </span>
          </Link>
        ))}
        {it.apps.length === 0 && <p class="dim">Nothing of ours runs here.</p>}
      </div>
      <p class="dim agent-foot">
        <code title="Agent id">{it.id}</code>
        {attributes.length > 0 && <span> · {attributes.map(([key, value]) => `${key}: ${value}`).join(', ')}</span>}
        {it.lastOfferAt && <span> · last offer <Time at={it.lastOfferAt} /></span>}
      </p>
    </article>
  );
}

function tiles(app: Agent['apps'][number]): string[] {
  const unknown = Math.max(0, app.running - app.healthy - app.unhealthy);
  const counts: [string, number][] = [['unhealthy', app.unhealthy], ['healthy', app.healthy], ['unknown', unknown], ['staged', Math.max(0, app.instances - app.running)]];
  return counts.flatMap(([kind, count]) => Array.from({ length: count }, () => kind)).slice(0, TILES_MAX);
}
