import { useEffect } from 'preact/hooks';
import { PastTable, RunningDeployment } from '../parts/deployment.tsx';
import { history, readHistory } from '../state/history.ts';
import { deployments } from '../state/store.ts';

/** Those of one app or pod, running and over. */
export function AppDeployments({ id }: { id: string }) {
  useEffect(readHistory, []);
  const running = deployments.value.filter((it) => [...(it.affectedApps ?? []), ...(it.affectedPods ?? [])].includes(id));
  const over = history.value.filter((it) => it.affected.includes(id));
  return (
    <>
      {running.map((it) => <RunningDeployment key={it.id} it={it} />)}
      {running.length === 0 && <p class="dim">Nothing is changing.</p>}
      <section class="panel">
        <h2>Recent</h2>
        {over.length === 0 ? <p class="dim">The server remembers no deployment of it that is over.</p> : <PastTable list={over} label={`Recent deployments of ${id}`} />}
      </section>
    </>
  );
}
