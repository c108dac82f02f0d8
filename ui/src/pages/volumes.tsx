// The volumes of an application: what is declared, and which instance holds which.

import type { Task } from '../lib/model.ts';
import { mebibytes } from '../lib/format.ts';
import { Link } from '../parts/basic.tsx';
import { TaskName } from './task-parts.tsx';
import type { FullApp } from './app.tsx';

interface Declared {
  containerPath?: string;
  hostPath?: string;
  mode?: string;
  persistent?: { size?: number; type?: string };
  external?: { name?: string; provider?: string };
  secret?: string;
}

function kindOf(it: Declared): string {
  if (it.persistent) return `persistent, ${it.persistent.type ?? 'root'}`;
  if (it.external) return `external, ${it.external.provider ?? ''} ${it.external.name ?? ''}`;
  if (it.secret) return `secret ${it.secret}`;
  return it.hostPath ? `host path ${it.hostPath}` : 'of the container';
}

export function Volumes({ app }: { app: FullApp }) {
  const declared = (app.container?.volumes ?? []) as Declared[];
  const held = (app.tasks ?? []).flatMap((task) => (task.localVolumes ?? []).map((volume) => ({ task, volume })));
  const size = (path: string | undefined) => declared.find((it) => it.containerPath === path)?.persistent?.size;
  return (
    <>
      <section class="panel">
        <h2>Declared</h2>
        {declared.length === 0 && <p class="dim">This application has no volumes.</p>}
        {declared.length > 0 && (
          <table class="plain">
            <thead><tr><th scope="col">Path in the container</th><th scope="col">Kind</th><th scope="col">Mode</th><th scope="col" class="num">Size</th></tr></thead>
            <tbody>
              {declared.map((it, at) => (
                <tr key={at}><th scope="row"><code>{it.containerPath}</code></th><td>{kindOf(it)}</td><td>{it.mode === 'RO' ? 'read only' : 'read and write'}</td><td class="num">{it.persistent?.size === undefined ? '–' : mebibytes(it.persistent.size)}</td></tr>
              ))}
            </tbody>
          </table>
        )}
      </section>
      {declared.some((it) => it.persistent) && (
        <section class="panel">
          <h2>Persistent volumes</h2>
          {held.length === 0 ? <p class="dim">No instance holds one.</p> : (
            <div class="scroll-x" tabIndex={0} role="region" aria-label="Persistent volumes">
              <table class="plain">
                <thead><tr><th scope="col">Volume</th><th scope="col">Path</th><th scope="col" class="num">Size</th><th scope="col">Status</th><th scope="col">Instance</th><th scope="col">Host</th></tr></thead>
                <tbody>
                  {held.map(({ task, volume }) => (
                    <tr key={volume.persistenceId}>
                      <th scope="row"><code class="wrap">{volume.persistenceId}</code></th><td><code>{volume.containerPath}</code></td>
                      <td class="num">{size(volume.containerPath) === undefined ? '–' : mebibytes(size(volume.containerPath)!)}</td>
                      <td>{statusOf(task)}</td><td><Link to={{ at: 'task', app: app.id, task: task.id }}><TaskName id={task.id} /></Link></td><td>{task.host ?? '–'}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </section>
      )}
    </>
  );
}

function statusOf(task: Task) {
  if (task.state === 'TASK_RUNNING' || task.state === 'TASK_STAGING' || task.state === 'TASK_STARTING') return <span class="badge ok"><i aria-hidden="true" />attached</span>;
  if (task.state === 'TASK_UNREACHABLE' || task.state === 'TASK_LOST') return <span class="badge bad"><i aria-hidden="true" />out of reach</span>;
  return <span class="badge"><i aria-hidden="true" />detached</span>;
}
