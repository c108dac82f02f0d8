// What is changing now, step by step, and what became of what was changed.

import { useEffect } from 'preact/hooks';
import type { components } from '../api.d.ts';
import { PastTable, RunningDeployment, AppLink } from '../parts/deployment.tsx';
import { Empty, Loading, Time } from '../parts/basic.tsx';
import { history, readHistory } from '../state/history.ts';
import { useResource } from '../state/resource.ts';
import { deployments, loaded, outcomes } from '../state/store.ts';

type Failed = components['schemas']['FailedDeployment'];

const THEN: Record<string, string> = { stopped: 'left as it was', rolledBack: 'rolled back', notRolledBack: 'could not be rolled back' };

export function DeploymentsPage() {
  useEffect(readHistory, []);
  const failed = useResource<Failed[]>('v2/deployments/failed', [outcomes.value.length]);
  const running = deployments.value;
  const gaveUp = [...(failed.data ?? [])].reverse();
  return (
    <div class="page narrow">
      <div class="page-head"><h1>Deployments</h1></div>
      {!loaded.value && <Loading what="deployments" />}
      {loaded.value && running.length === 0 && (
        <Empty title="Nothing is changing" icon="deployments"><p>Every change of an application appears here while it is carried out.</p></Empty>
      )}
      <div aria-live="polite">{running.map((it) => <RunningDeployment key={it.id} it={it} />)}</div>
      {gaveUp.length > 0 && (
        <section class="panel">
          <h2>Gave up by themselves</h2>
          <div class="scroll-x" tabIndex={0} role="region" aria-label="Deployments that gave up">
            <table class="plain">
              <thead><tr><th scope="col">When</th><th scope="col">Applications</th><th scope="col">Why</th><th scope="col">Then</th></tr></thead>
              <tbody>
                {gaveUp.map((it) => (
                  <tr key={it.id}>
                    <td class="nowrap"><Time at={it.failedAt} /></td>
                    <td>{it.affected.slice(0, 3).map((id) => <div key={id}><AppLink id={id} /></div>)}</td>
                    <td class="wrap">{it.reason}</td>
                    <td>{THEN[it.then] ?? it.then}{it.refusal ? `: ${it.refusal}` : ''}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
      <section class="panel">
        <h2>Recent</h2>
        {history.value.length === 0
          ? <p class="dim">None yet, as far as this server remembers: it keeps the last 8,000 events since its start.</p>
          : <PastTable list={history.value} label="Recent deployments" />}
      </section>
    </div>
  );
}
