// What a change would do, as `dryRun=true` tells it: fields, tasks, steps, and whether it would get stuck.

import type { components } from '../api.d.ts';
import { amount, mebibytes, plural } from '../lib/format.ts';
import { Icon } from './basic.tsx';

export type Preview = components['schemas']['Preview'];

export function shown(value: unknown): string {
  if (value === null || value === undefined) return '–';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const CHANGES: Record<string, string> = { create: 'is created', update: 'is changed', restart: 'is restarted', delete: 'is destroyed', none: 'keeps its definition' };
const ACTIONS: Record<string, string> = {
  StartApplication: 'Start', StopApplication: 'Stop', ScaleApplication: 'Scale', RestartApplication: 'Replace instances of',
  StartPod: 'Start', StopPod: 'Stop', ScalePod: 'Scale', RestartPod: 'Replace instances of',
};

export function actionWords(action: string | undefined): string {
  return ACTIONS[action ?? ''] ?? action ?? '';
}

export function PreviewView({ it, brief }: { it: Preview; brief?: boolean }) {
  const extra = it.extraCapacity;
  const extras = [
    extra.instances > 0 && plural(extra.instances, 'instance'),
    extra.cpus > 0 && `${amount(extra.cpus)} cpus`,
    extra.mem > 0 && mebibytes(extra.mem),
  ].filter(Boolean);
  return (
    <div class={`preview ${it.outcome}`}>
      <p class="preview-outcome">
        <Icon name={it.outcome === 'completes' ? 'check' : 'warning'} />
        <span>{it.message}</span>
      </p>
      <dl class="facts inline">
        <div><dt>Tasks started</dt><dd>{it.tasksStarted}</dd></div>
        <div><dt>Tasks stopped</dt><dd>{it.tasksStopped}</dd></div>
        <div><dt>Needed meanwhile</dt><dd>{extras.length > 0 ? extras.join(', ') : 'nothing more'}</dd></div>
        {it.cancels.length > 0 && <div><dt>Ends</dt><dd>{plural(it.cancels.length, 'running deployment')}</dd></div>}
      </dl>
      {!brief && it.apps.map((app) => (
        <section key={app.app ?? app.pod} class="preview-app">
          <h4><code>{app.app ?? app.pod}</code> {CHANGES[app.change]}</h4>
          {app.change !== 'create' && app.fields.length > 0 && (
            <table class="plain">
              <thead><tr><th scope="col">Field</th><th scope="col">Now</th><th scope="col">Then</th></tr></thead>
              <tbody>
                {app.fields.map((field) => (
                  <tr key={field.field}><th scope="row">{field.field}</th><td class="gone">{shown(field.before)}</td><td class="come">{shown(field.after)}</td></tr>
                ))}
              </tbody>
            </table>
          )}
        </section>
      ))}
      {!brief && it.steps.length > 0 && (
        <ol class="steps-brief" aria-label="Steps of the deployment">
          {it.steps.map((step, at) => (
            <li key={at}>{(step.actions ?? []).map((action) => `${actionWords(action.action)} ${action.app ?? action.pod}`).join(', ')}</li>
          ))}
        </ol>
      )}
    </div>
  );
}
