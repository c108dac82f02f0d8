// One application: its instances, its definition and versions, its deployments, why it waits, its volumes and events.

import { useSignal } from '@preact/signals';
import { amount, mebibytes, plural } from '../lib/format.ts';
import { barOf, nameOf, parentOf, rowOf, statusOf, taskHealth, trail, type App, type Health, type Task } from '../lib/model.ts';
import type { AppTab, Place } from '../lib/route.ts';
import { askAction, askKill } from '../parts/actions.tsx';
import { Crumbs, Empty, HealthBar, Icon, Legend, Link, Loading, Menu, Problem, StatusBadge, Tabs, Time } from '../parts/basic.tsx';
import { idPath } from '../state/api.ts';
import { useResource } from '../state/resource.ts';
import { connection } from '../state/live.ts';
import { deployments, touched, waiting } from '../state/store.ts';
import { now } from '../state/view.ts';
import { AppDeployments } from './app-deployments.tsx';
import { Configuration } from './configuration.tsx';
import { EventsOf } from './events.tsx';
import { Volumes } from './volumes.tsx';
import { Failure, Why } from './why.tsx';
import { TaskName } from './task-parts.tsx';

export type FullApp = App & { tasks?: Task[] };

export function AppPage({ id, tab }: { id: string; tab: AppTab }) {
  const seen = touched.value.get(id) ?? 0;
  const live = connection.value.is;
  const resource = useResource<FullApp>(`v2/apps/${idPath(id)}?embed=app.taskStats&embed=app.readiness`, [seen, live], (it) => (it as { app: FullApp }).app);
  const { data: app, error, status } = resource;
  const crumbs = trail(parentOf(id)).map((group) => ({
    text: group === '/' ? 'Applications' : nameOf(group),
    to: { at: 'apps', group } as Place,
  }));
  if (!app) {
    return (
      <div class="page narrow">
        <div class="page-head"><Crumbs items={[...crumbs, { text: nameOf(id) }]} /></div>
        {status === 404
          ? (
            <Empty title={`The application ${id} does not exist`} icon="app">
              <p>It may have been destroyed or moved.</p>
              <Link to={{ at: 'apps', group: '/' }} class="button">All applications</Link>
            </Empty>
          )
          : error !== '' ? <Problem text={error} retry={resource.again} /> : <Loading what={id} />}
      </div>
    );
  }
  const row = rowOf(app);
  const state = statusOf(row, waiting.value.get(id), now.value);
  const bar = barOf(row);
  const own = deployments.value.filter((it) => (it.affectedApps ?? []).includes(id));
  const to = (name: AppTab): Place => ({ at: 'app', id, tab: name });
  const volumes = (app.container?.volumes ?? []).length;
  const missing = row.instances > row.running + row.staged;
  const tabs = [
    { name: 'instances', text: 'Instances', to: to('instances'), count: app.tasks?.length ?? 0 },
    { name: 'configuration', text: 'Configuration', to: to('configuration') },
    { name: 'deployments', text: 'Deployments', to: to('deployments'), count: own.length },
    { name: 'why', text: missing || row.unhealthy > 0 ? 'Why not running?' : 'Explain', to: to('why') },
    ...(volumes > 0 || tab === 'volumes' ? [{ name: 'volumes', text: 'Volumes', to: to('volumes') }] : []),
    { name: 'events', text: 'Events', to: to('events') },
  ];
  return (
    <div class="page narrow">
      <h1 class="hidden">Application {id}</h1>
      <div class="page-head">
        <Crumbs items={[...crumbs, { text: nameOf(id) }]} />
        <div class="page-actions">
          <button type="button" onClick={() => askAction('scale', [id])}>Scale</button>
          <button type="button" onClick={() => askAction('restart', [id])}>Restart</button>
          {state === 'delayed' && <button type="button" onClick={() => askAction('reset', [id])}>Reset delay</button>}
          <Link to={{ at: 'edit', id }} class="button primary">Edit</Link>
          <Menu
            label="More actions"
            text="More"
            items={[
              ...(row.instances > 0 ? [{ text: 'Suspend …', act: () => askAction('suspend', [id]) }] : []),
              { text: 'Destroy …', act: () => askAction('destroy', [id]), danger: true },
            ]}
          />
        </div>
      </div>
      {error !== '' && <Problem text={error} retry={resource.again} />}
      <div class="app-head panel">
        <div class="app-state">
          <StatusBadge status={state} />
          <span>{row.running.toLocaleString('en-US')} of {plural(row.instances, 'instance')}</span>
        </div>
        <HealthBar bar={bar} moving={state === 'deploying'} wide />
        <Legend bar={bar} />
        <dl class="facts inline">
          <div><dt>CPUs each</dt><dd>{amount(row.cpus)}</dd></div>
          <div><dt>Memory each</dt><dd>{mebibytes(row.mem)}</dd></div>
          {row.disk > 0 && <div><dt>Disk each</dt><dd>{mebibytes(row.disk)}</dd></div>}
          {row.gpus > 0 && <div><dt>GPUs each</dt><dd>{row.gpus}</dd></div>}
          <div><dt>Configured</dt><dd><Time at={app.versionInfo?.lastConfigChangeAt ?? app.version} /></dd></div>
          <div><dt>Scaled</dt><dd><Time at={app.versionInfo?.lastScalingAt ?? app.version} /></dd></div>
        </dl>
        {(state === 'waiting' || state === 'delayed') && (
          <p class="notice"><Icon name="warning" /> {state === 'waiting' ? 'Instances wait for a place.' : 'Instances failed; the next start is held back.'} <Link to={to('why')}>See why</Link></p>
        )}
      </div>
      <Tabs tabs={tabs} current={tab} />
      {tab === 'instances' && <Instances app={app} />}
      {tab === 'configuration' && <Configuration app={app} />}
      {tab === 'deployments' && <AppDeployments id={id} />}
      {tab === 'why' && <Why id={id} kind="app" seen={seen} app={app} />}
      {tab === 'volumes' && <Volumes app={app} />}
      {tab === 'events' && <EventsOf id={id} />}
    </div>
  );
}

const HEALTH_WORDS: Record<Health, string> = { healthy: 'Healthy', unhealthy: 'Unhealthy', unknown: 'Not checked' };

export function stateWords(state: string | undefined): string {
  const text = (state ?? '').replace(/^TASK_/, '').replace(/_/g, ' ').toLowerCase();
  return text === '' ? '–' : text[0]!.toUpperCase() + text.slice(1);
}

type TaskColumn = 'id' | 'host' | 'state' | 'health' | 'version' | 'updated';
const updatedOf = (it: Task) => it.startedAt ?? it.stagedAt ?? '';
const INSTANCES_STEP = 100;

function Instances({ app }: { app: FullApp }) {
  const chosen = useSignal<ReadonlySet<string>>(new Set());
  const sort = useSignal<{ by: TaskColumn; down: boolean }>({ by: 'updated', down: true });
  const shown = useSignal(INSTANCES_STEP);
  const words = useSignal('');
  const all = app.tasks ?? [];
  const checked = (app.healthChecks ?? []).length > 0;
  const key = (it: Task): string => {
    switch (sort.value.by) {
      case 'id': return it.id;
      case 'host': return it.host ?? '';
      case 'state': return it.state ?? '';
      case 'health': return taskHealth(it);
      case 'version': return it.version ?? '';
      case 'updated': return updatedOf(it);
    }
  };
  const fitting = all.filter((it) => `${it.id} ${it.host ?? ''} ${it.state ?? ''}`.toLowerCase().includes(words.value.toLowerCase()));
  const tasks = fitting.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a.id < b.id ? -1 : 1) * (sort.value.down ? -1 : 1));
  const ids = [...chosen.value].filter((id) => all.some((it) => it.id === id));
  const toggle = (id: string) => {
    const next = new Set(chosen.value);
    if (!next.delete(id)) next.add(id);
    chosen.value = next;
  };
  const kill = (how: 'kill' | 'scale' | 'wipe') => () => askKill(app.id, ids, how, () => (chosen.value = new Set()));
  const stateful = (app.container?.volumes ?? []).some((it) => 'persistent' in it);
  if (all.length === 0) {
    return app.instances === 0
      ? (
        <Empty title="Suspended" icon="app">
          <p>This application is scaled to zero.</p>
          <button type="button" class="primary" onClick={() => askAction('scale', [app.id])}>Scale up</button>
        </Empty>
      )
      : (
        <>
          <Empty title="No instance runs yet" icon="app">
            <p>{plural(app.instances ?? 0, 'instance')} wanted.</p>
            <Link to={{ at: 'app', id: app.id, tab: 'why' }} class="button">See why</Link>
          </Empty>
          <Failure app={app} />
        </>
      );
  }
  const Head = ({ by, text, num }: { by: TaskColumn; text: string; num?: boolean }) => (
    <th scope="col" class={num ? 'num' : ''} aria-sort={sort.value.by === by ? (sort.value.down ? 'descending' : 'ascending') : 'none'}>
      <button type="button" class="sort" onClick={() => (sort.value = { by, down: sort.value.by === by ? !sort.value.down : by === 'updated' })}>
        {text}{sort.value.by === by && <Icon name={sort.value.down ? 'down' : 'up'} />}
      </button>
    </th>
  );
  const every = tasks.length > 0 && tasks.every((it) => chosen.value.has(it.id));
  return (
    <>
      <Failure app={app} brief />
      <div class="bar-line">
        {ids.length > 0
          ? (
            <>
              <b>{plural(ids.length, 'instance')} chosen</b>
              <button type="button" class="danger" onClick={kill('kill')}>Kill</button>
              <button type="button" class="danger" onClick={kill('scale')}>Kill and scale</button>
              {stateful && <button type="button" class="danger" onClick={kill('wipe')}>Kill and wipe</button>}
            </>
          )
          : all.length > 10 && <input type="search" class="narrow-input" aria-label="Find an instance" placeholder="Find an instance or host" value={words.value} onInput={(event) => (words.value = event.currentTarget.value)} />}
      </div>
      <div class="panel flush scroll-x" tabIndex={0} role="region" aria-label="Instances">
        <table class="plain tasks">
          <thead>
            <tr>
              <th scope="col" class="tight"><input type="checkbox" aria-label="Choose all instances" checked={every} onChange={() => (chosen.value = every ? new Set() : new Set(tasks.map((it) => it.id)))} /></th>
              <Head by="id" text="Instance" /><Head by="state" text="State" /><Head by="health" text="Health" /><Head by="host" text="Host and ports" />
              <th scope="col">Logs</th><Head by="version" text="Version" /><Head by="updated" text="Started" />
            </tr>
          </thead>
          <tbody>
            {tasks.slice(0, shown.value).map((task) => (
              <tr key={task.id} class={chosen.value.has(task.id) ? 'on' : ''} data-task={task.id}>
                <td class="tight"><input type="checkbox" aria-label={`Choose ${task.id}`} checked={chosen.value.has(task.id)} onChange={() => toggle(task.id)} /></td>
                <td><Link to={{ at: 'task', app: app.id, task: task.id }}><TaskName id={task.id} /></Link></td>
                <td><span class={`badge ${task.state === 'TASK_RUNNING' ? 'ok' : task.state === 'TASK_STAGING' || task.state === 'TASK_STARTING' ? 'busy' : 'bad'}`}><i aria-hidden="true" />{stateWords(task.state)}</span></td>
                <td>{checked ? <span class={`badge ${taskHealth(task)}`}><i aria-hidden="true" />{taskHealth(task) === 'unknown' ? 'Unknown yet' : HEALTH_WORDS[taskHealth(task)]}</span> : <span class="dim">Not checked</span>}</td>
                <td><Ports task={task} /></td>
                <td class="nowrap">
                  <Link to={{ at: 'task', app: app.id, task: task.id }} query={new URLSearchParams([['path', 'stdout']])} label={`stdout of ${task.id}`}>stdout</Link>
                  {' · '}
                  <Link to={{ at: 'task', app: app.id, task: task.id }} query={new URLSearchParams([['path', 'stderr']])} label={`stderr of ${task.id}`}>stderr</Link>
                </td>
                <td>{task.version === app.version ? <span class="dim">current</span> : <span class="badge busy" title={task.version}><i aria-hidden="true" /><Time at={task.version} /></span>}</td>
                <td><Time at={updatedOf(task)} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {tasks.length > shown.value && <button type="button" onClick={() => (shown.value += INSTANCES_STEP * 5)}>Show more ({tasks.length - shown.value} left)</button>}
    </>
  );
}

/** Addresses as links: IPv6 in brackets, and a container's own address where it has no ports of the host. */
export function Ports({ task }: { task: Task }) {
  const host = task.host ?? '';
  const named = host.includes(':') ? `[${host}]` : host;
  return (
    <span class="ports">
      {host}
      {(task.ports ?? []).map((port) => (
        <a key={port} href={`http://${named}:${port}`} target="_blank" rel="noreferrer">:{port}</a>
      ))}
    </span>
  );
}
