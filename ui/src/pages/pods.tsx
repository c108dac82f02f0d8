// Pods: groups of containers that live and end together.

import { mebibytes, amount, plural, shortTask } from '../lib/format.ts';
import { nameOf } from '../lib/model.ts';
import { text, type JsonObject } from '../lib/json.ts';
import { Confirm } from '../parts/confirm.tsx';
import { askPod } from '../parts/actions.tsx';
import { Crumbs, Empty, Icon, Link, Loading, Menu, Problem, Time } from '../parts/basic.tsx';
import { call, idPath } from '../state/api.ts';
import { useResource } from '../state/resource.ts';
import { deployments, loaded, pods, touched, type PodStatus } from '../state/store.ts';
import { dialog, route } from '../state/view.ts';
import { AppDeployments } from './app-deployments.tsx';
import { Editor } from './edit.tsx';
import { EventsOf } from './events.tsx';
import { Why } from './why.tsx';
import type { Place } from '../lib/route.ts';
import { useRef } from 'preact/hooks';

const STATES: Record<string, [string, string]> = {
  STABLE: ['ok', 'Stable'], DEGRADED: ['bad', 'Degraded'], TERMINAL: ['', 'Ended'], PENDING: ['busy', 'Pending'], STAGING: ['busy', 'Starting'],
};

function State({ it }: { it: string | undefined }) {
  const [kind, words] = STATES[it ?? ''] ?? ['', it ?? '–'];
  return <span class={`badge ${kind}`}><i aria-hidden="true" />{words}</span>;
}

function wanted(pod: PodStatus): number {
  return (pod.spec.scaling as { instances?: number } | undefined)?.instances ?? 1;
}

function stable(pod: PodStatus): number {
  return pod.instances.filter((it) => it.status === 'STABLE').length;
}

export function PodsPage() {
  const list = [...pods.value].sort((a, b) => (a.id < b.id ? -1 : 1));
  return (
    <div class="page narrow">
      <div class="page-head">
        <h1>Pods</h1>
        <div class="page-actions"><Link to={{ at: 'pod-create' }} class="button primary"><Icon name="plus" /> New pod</Link></div>
      </div>
      {!loaded.value && <Loading what="pods" />}
      {loaded.value && list.length === 0 && (
        <Empty title="There are no pods" icon="pods">
          <p>A pod is several containers that run on one agent, share its network and volumes, and live and end together.</p>
          <Link to={{ at: 'pod-create' }} class="button primary">Create one</Link>
        </Empty>
      )}
      {list.length > 0 && (
        <div class="panel flush scroll-x menus" tabIndex={0} role="region" aria-label="Pods">
          <table class="plain">
            <thead><tr><th scope="col">Name</th><th scope="col">Status</th><th scope="col" class="num">Instances</th><th scope="col">Containers</th><th scope="col">Changed</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
            <tbody>
              {list.map((pod) => (
                <tr key={pod.id}>
                  <th scope="row"><Link to={{ at: 'pod', id: pod.id }} class="name">{pod.id}</Link></th>
                  <td>{deployments.value.some((it) => (it.affectedPods ?? []).includes(pod.id)) ? <span class="badge deploying"><i aria-hidden="true" />Deploying</span> : <State it={pod.status} />}</td>
                  <td class="num">{stable(pod)}<small class="dim"> of {wanted(pod)}</small></td>
                  <td>{(pod.spec.containers ?? []).map((it) => it.name).join(', ')}</td>
                  <td><Time at={pod.lastChanged} /></td>
                  <td class="num"><PodMenu pod={pod} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}

function PodMenu({ pod, named }: { pod: PodStatus; named?: boolean }) {
  return (
    <Menu label={`Actions for ${pod.id}`} {...(named ? { text: 'More' } : {})} items={[
      { text: 'Scale …', act: () => askPod('scale', pod.id, wanted(pod)) },
      ...(wanted(pod) > 0 ? [{ text: 'Suspend …', act: () => askPod('scale', pod.id, 0) }] : []),
      { text: 'Destroy …', act: () => askPod('destroy', pod.id, 0), danger: true },
    ]} />
  );
}

export function PodPage({ id }: { id: string }) {
  const pod = pods.value.find((it) => it.id === id);
  const tab = route.value.query.get('tab') ?? 'instances';
  const seen = touched.value.get(id) ?? 0;
  if (!pod) {
    return loaded.value
      ? <Empty title={`The pod ${id} does not exist`} icon="pods"><Link to={{ at: 'pods' }} class="button">All pods</Link></Empty>
      : <Loading what={id} />;
  }
  const kill = (instance: string) => {
    dialog.value = (
      <Confirm
        title={`Kill ${shortTask(instance)} of ${id}?`} verb="Kill" danger done={`Killing an instance of ${id}.`} targets={[instance]}
        send={async () => {
          await call(`v2/pods/${idPath(id)}::instances/${encodeURIComponent(instance)}`, { method: 'DELETE' });
          return {};
        }}
      ><p>All its containers are stopped, and a new instance is started in its place.</p></Confirm>
    );
  };
  const tabs = [['instances', 'Instances'], ['configuration', 'Configuration'], ['deployments', 'Deployments'], ['why', 'Explain'], ['events', 'Events']] as const;
  return (
    <div class="page narrow">
      <h1 class="hidden">Pod {id}</h1>
      <div class="page-head">
        <Crumbs items={[{ text: 'Pods', to: { at: 'pods' } }, { text: id }]} />
        <div class="page-actions">
          <button type="button" onClick={() => askPod('scale', id, wanted(pod))}>Scale</button>
          <Link to={{ at: 'pod-edit', id }} class="button primary">Edit</Link>
          <PodMenu pod={pod} named />
        </div>
      </div>
      <section class="panel" aria-label="Status">
        <div class="app-state"><State it={pod.status} /> <span>{stable(pod)} of {plural(wanted(pod), 'instance')} stable</span> {pod.message && <span class="dim">{pod.message}</span>}</div>
      </section>
      <nav class="tabs" aria-label="Sections">
        {tabs.map(([name, words]) => <Link key={name} to={{ at: 'pod', id }} query={new URLSearchParams(name === 'instances' ? [] : [['tab', name]])} current={tab === name}>{words}</Link>)}
      </nav>
      {tab === 'instances' && (pod.instances.length === 0 ? <Empty title="No instances" icon="pods"><p>{wanted(pod) === 0 ? 'This pod is scaled to zero.' : 'None is there yet.'}</p></Empty> : pod.instances.map((it) => (
        <section class="panel" key={it.id} aria-label={`Instance ${it.id}`}>
          <h2>
            <code title={it.id}>{shortTask(it.id ?? '')}</code> <State it={it.status} />
            <small class="dim">{it.agentHostname ? `on ${it.agentHostname}` : ''} <Time at={it.statusSince} /></small>
            <span class="right h-actions"><button type="button" class="danger" onClick={() => kill(it.id ?? '')}>Kill</button></span>
          </h2>
          {it.message && <p class="dim">{it.message}</p>}
          <div class="scroll-x" tabIndex={0} role="region" aria-label={`Containers of ${it.id}`}>
            <table class="plain">
              <thead><tr><th scope="col">Container</th><th scope="col">State</th><th scope="col">Endpoints</th><th scope="col" class="num">CPUs</th><th scope="col" class="num">Memory</th><th scope="col">Logs</th></tr></thead>
              <tbody>
                {(it.containers ?? []).map((one) => (
                  <tr key={one.containerId}>
                    <th scope="row">{one.name}</th>
                    <td>{(one.status ?? '').replace(/^TASK_/, '').toLowerCase()}</td>
                    <td>{(one.endpoints ?? []).map((end) => (
                      <span key={end.name} class="ports">
                        {end.name} {end.allocatedHostPort ? <a href={`http://${it.agentHostname}:${end.allocatedHostPort}`} target="_blank" rel="noreferrer">:{end.allocatedHostPort}</a> : null}
                        {end.healthy !== undefined && <span class={`badge ${end.healthy ? 'ok' : 'bad'}`}><i aria-hidden="true" />{end.healthy ? 'healthy' : 'unhealthy'}</span>}
                      </span>
                    ))}</td>
                    <td class="num">{amount(Number((one.resources as { cpus?: number } | undefined)?.cpus ?? 0))}</td>
                    <td class="num">{mebibytes(Number((one.resources as { mem?: number } | undefined)?.mem ?? 0))}</td>
                    <td class="nowrap">{one.containerId && ['stdout', 'stderr'].map((path) => (
                      <Link key={path} to={{ at: 'task', app: id, task: one.containerId! } as Place} query={new URLSearchParams([['path', path]])} class="log-link" label={`${path} of ${one.name}`}>{path}</Link>
                    ))}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )))}
      {tab === 'configuration' && <section class="panel"><h2>Definition</h2><pre class="code" tabIndex={0} role="region" aria-label="Definition as JSON">{text(pod.spec)}</pre></section>}
      {tab === 'deployments' && <AppDeployments id={id} />}
      {tab === 'why' && <Why id={id} kind="pod" seen={seen} />}
      {tab === 'events' && <EventsOf id={id} />}
    </div>
  );
}

const FIRST: JsonObject = {
  id: '/pod',
  scaling: { kind: 'fixed', instances: 1 },
  networks: [{ mode: 'host' }],
  containers: [
    { name: 'main', exec: { command: { shell: 'while true; do date; sleep 5; done' } }, resources: { cpus: 0.1, mem: 32 } },
    { name: 'side', exec: { command: { shell: 'sleep 100000' } }, resources: { cpus: 0.1, mem: 32 } },
  ],
};

export function PodCreatePage() {
  return (
    <Editor
      title="New pod" crumbs={[{ text: 'Pods', to: { at: 'pods' } }, { text: 'New pod' }]} verb="Create pod" done={(id) => `Creating ${id}.`}
      target={{ name: 'pod', method: 'POST', path: () => 'v2/pods' }} origin={FIRST} cancel={{ at: 'pods' }} after={(id) => ({ at: 'pod', id })}
    />
  );
}

export function PodEditPage({ id }: { id: string }) {
  const { data, error, again } = useResource<JsonObject>(`v2/pods/${idPath(id)}`, [], (it) => {
    const { version, ...spec } = it as JsonObject;
    return spec;
  });
  const first = useRef<JsonObject | undefined>(undefined);
  first.current ??= data;
  if (!first.current) return error !== '' ? <Problem text={error} retry={again} /> : <Loading what={id} />;
  return (
    <Editor
      title={`Edit ${id}`} crumbs={[{ text: 'Pods', to: { at: 'pods' } }, { text: nameOf(id), to: { at: 'pod', id } }, { text: 'Edit' }]} verb="Change and deploy" done={() => `Changing ${id}.`}
      target={{ name: `pod ${id}`, method: 'PUT', path: () => `v2/pods/${idPath(id)}` }} origin={first.current} before={first.current} cancel={{ at: 'pod', id }} after={() => ({ at: 'pod', id })}
    />
  );
}

