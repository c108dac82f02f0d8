// A running deployment: its steps, what each is about, how far it is.

import { duration, plural } from '../lib/format.ts';
import { barOf, type Deployment } from '../lib/model.ts';
import { apps, appsChanged, pods } from '../state/store.ts';
import { now } from '../state/view.ts';
import type { Past } from '../state/history.ts';
import { askDeployment } from './actions.tsx';
import { HealthBar, Icon, Link, Time } from './basic.tsx';
import { actionWords } from './preview.tsx';

export function AppLink({ id, pod }: { id: string; pod?: boolean | undefined }) {
  return <Link to={pod || (!apps.has(id) && pods.value.some((it) => it.id === id)) ? { at: 'pod', id } : { at: 'app', id, tab: 'instances' }} class="wrap">{id}</Link>;
}

const SHOWN = 8;

export function RunningDeployment({ it }: { it: Deployment }) {
  void appsChanged.value;
  const affected = [...(it.affectedApps ?? []), ...(it.affectedPods ?? [])];
  const current = it.currentStep ?? 0;
  const total = it.totalSteps ?? it.steps.length;
  const guard = it.guard;
  return (
    <article class="panel deployment" data-deployment={it.id} aria-label={`Deployment of ${affected.join(', ')}`}>
      <header>
        <div class="deployment-what">
          {affected.slice(0, 3).map((id) => <AppLink key={id} id={id} pod={(it.affectedPods ?? []).includes(id)} />)}
          {affected.length > 3 && <span class="dim">and {affected.length - 3} more</span>}
        </div>
        <span class="dim">began <Time at={it.version} /> · {duration(now.value - Date.parse(it.version))}</span>
        <span class="right h-actions">
          <button type="button" onClick={() => askDeployment(it.id, 'rollback', affected)}>Roll back</button>
          <button type="button" class="danger" onClick={() => askDeployment(it.id, 'stop', affected)}>Stop</button>
        </span>
      </header>
      <div class="progress" role="progressbar" aria-valuemin={0} aria-valuemax={total} aria-valuenow={Math.max(0, current - 1)} aria-label={`Step ${current} of ${total}`}>
        {Array.from({ length: Math.min(total, 200) }, (_, at) => <i key={at} class={at + 1 < current ? 'past' : at + 1 === current ? 'present' : ''} />)}
      </div>
      {it.rollbackOf && <p class="notice"><Icon name="warning" /> It undoes a deployment that gave up: {it.rollbackOf.reason}</p>}
      {guard && (
        <p class="dim">
          It gives up {guard.maxFailures !== undefined && <>after {plural(guard.maxFailures + 1, 'failure')} ({guard.failures ?? 0} so far)</>}
          {guard.maxFailures !== undefined && guard.deadline && ', or '}
          {guard.deadline && <>in {duration(Math.max(0, Date.parse(guard.deadline) - now.value))}</>}
          {guard.onFailure === 'rollback' ? ' and is then rolled back.' : ' and then stays as it is.'}
        </p>
      )}
      <ol class="steps">
        {it.steps.map((step, at) => {
          const actions = step.actions ?? [];
          const state = at + 1 < current ? 'past' : at + 1 === current ? 'present' : 'future';
          return (
            <li key={at} class={state} aria-current={state === 'present' ? 'step' : undefined}>
              <span class="step-no">{state === 'past' ? <Icon name="check" /> : at + 1}</span>
              <ul>
                {actions.slice(0, SHOWN).map((action) => {
                  const id = action.app ?? action.pod ?? '';
                  const app = apps.get(id);
                  return (
                    <li key={id + action.action}>
                      <span>{actionWords(action.action)} <AppLink id={id} pod={action.pod !== undefined} /></span>
                      {state === 'present' && app && (
                        <>
                          <HealthBar bar={barOf(app)} moving />
                          <span class="dim nowrap">{app.running} of {app.instances} run{app.healthy + app.unhealthy > 0 ? `, ${app.healthy} healthy` : ''}</span>
                          <Link to={{ at: 'app', id, tab: 'why' }}>what does it wait for?</Link>
                        </>
                      )}
                    </li>
                  );
                })}
                {actions.length > SHOWN && <li class="dim">and {actions.length - SHOWN} more</li>}
              </ul>
            </li>
          );
        })}
      </ol>
    </article>
  );
}

export function PastTable({ list, label }: { list: readonly Past[]; label: string }) {
  return (
    <div class="scroll-x" tabIndex={0} role="region" aria-label={label}>
      <table class="plain history">
        <thead><tr><th scope="col">Ended</th><th scope="col">Outcome</th><th scope="col">Applications</th><th scope="col">What</th><th scope="col" class="num">Took</th></tr></thead>
        <tbody>
          {list.map((it) => (
            <tr key={it.id} data-deployment={it.id}>
              <td class="nowrap"><Time at={it.ended} /></td>
              <td>
                <span class={`badge ${it.ok ? 'ok' : 'bad'}`}><i aria-hidden="true" />{it.ok ? 'Done' : 'Not done'}</span>
                {it.reason !== '' && <div class="dim wrap">{it.reason}</div>}
              </td>
              <td>
                {it.affected.slice(0, 3).map((id) => <div key={id}><AppLink id={id} /></div>)}
                {it.affected.length > 3 && <small class="dim">and {it.affected.length - 3} more</small>}
                {it.affected.length === 0 && <span class="dim">none</span>}
              </td>
              <td>{it.actions.map(plain).join(', ') || <span class="dim">no steps</span>}</td>
              <td class="num nowrap">{duration(Date.parse(it.ended) - Date.parse(it.began))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function plain(action: string): string {
  return actionWords(action).replace(' instances of', '').toLowerCase();
}
