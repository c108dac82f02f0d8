// The definition in force, all its versions, how two of them differ, and the way back to an old one.

import { useSignal } from '@preact/signals';
import { moment, plural } from '../lib/format.ts';
import { definitionOf, fieldLines } from '../lib/fields.ts';
import { text } from '../lib/json.ts';
import type { App } from '../lib/model.ts';
import { Confirm, type Result } from '../parts/confirm.tsx';
import { Diff } from '../parts/diff.tsx';
import type { Preview } from '../parts/preview.tsx';
import { Link, Loading, Problem, Time } from '../parts/basic.tsx';
import { call, idPath } from '../state/api.ts';
import { useResource } from '../state/resource.ts';
import { dialog, route, setQuery } from '../state/view.ts';

const VERSIONS_STEP = 15;

export function Configuration({ app }: { app: App }) {
  const { query } = route.value;
  const asked = query.get('version') ?? undefined;
  const shown = useSignal(VERSIONS_STEP);
  const path = `v2/apps/${idPath(app.id)}/versions`;
  const { data, error, again } = useResource<{ versions: string[] }>(path, [app.version]);
  const versions = [...(data?.versions ?? [])].sort().reverse();
  const others = versions.filter((it) => it !== app.version);
  const choose = (version: string | undefined) => setQuery(new URLSearchParams(version && version !== asked ? [['version', version]] : []), true);
  return (
    <div class="config">
      <section class="panel versions" aria-labelledby="versions-title">
        <h2 id="versions-title">Versions</h2>
        {error !== '' && <Problem text={error} retry={again} />}
        {!data && error === '' && <Loading what="versions" />}
        {data && (
          <ol>
            <li class="current"><span>{moment(app.version)}</span> <span class="badge ok"><i aria-hidden="true" />current</span></li>
            {others.slice(0, shown.value).map((version) => (
              <li key={version}>
                <button type="button" class="quiet version" aria-pressed={asked === version} onClick={() => choose(version)}>
                  {moment(version)} <small class="dim"><Time at={version} /></small>
                </button>
              </li>
            ))}
          </ol>
        )}
        {data && others.length === 0 && <p class="dim">This is the only version.</p>}
        {others.length > shown.value && <button type="button" onClick={() => (shown.value += VERSIONS_STEP * 4)}>{plural(others.length - shown.value, 'older version')}</button>}
      </section>
      {asked ? <Compare app={app} version={asked} close={() => choose(undefined)} /> : <Fields app={app} />}
    </div>
  );
}

function Fields({ app }: { app: App }) {
  const raw = useSignal(false);
  return (
    <section class="panel" aria-labelledby="fields-title">
      <h2 id="fields-title">
        Configuration
        <span class="right h-actions">
          <button type="button" aria-pressed={raw.value} onClick={() => (raw.value = !raw.value)}>{raw.value ? 'As a list' : 'As JSON'}</button>
          <Link to={{ at: 'edit', id: app.id }} class="button">Edit</Link>
        </span>
      </h2>
      {raw.value
        ? <pre class="code" tabIndex={0} role="region" aria-label="Definition as JSON">{text(definitionOf(app))}</pre>
        : (
          <dl class="fields">
            {fieldLines(app).map((it) => (
              <div key={it.name} class={it.value === undefined ? 'unset' : ''}>
                <dt>{it.name}</dt>
                <dd>{it.value === undefined ? 'not set' : it.block ? <pre>{it.value}</pre> : it.value}</dd>
              </div>
            ))}
          </dl>
        )}
    </section>
  );
}

function Compare({ app, version, close }: { app: App; version: string; close: () => void }) {
  const { data, error, again } = useResource<object>(`v2/apps/${idPath(app.id)}/versions/${encodeURIComponent(version)}`);
  return (
    <section class="panel" aria-labelledby="compare-title">
      <h2 id="compare-title">
        {moment(version)} and the current version
        <span class="right h-actions">
          <button type="button" class="primary" disabled={!data} onClick={() => applyVersion(app.id, version)}>Apply this version …</button>
          <Link to={{ at: 'edit', id: app.id }} query={new URLSearchParams([['version', version]])} class="button">Edit from it</Link>
          <button type="button" onClick={close}>Close</button>
        </span>
      </h2>
      {error !== '' && <Problem text={error} retry={again} />}
      {!data && error === '' && <Loading what="this version" />}
      {data && <Diff before={text(definitionOf(data))} after={text(definitionOf(app))} left={`then: ${moment(version)}`} right="now" />}
    </section>
  );
}

export function applyVersion(id: string, version: string): void {
  const path = `v2/apps/${idPath(id)}`;
  dialog.value = (
    <Confirm
      title={`Apply the version of ${moment(version)} to ${id}?`}
      verb="Apply this version"
      done={`Going back to the version of ${moment(version)} of ${id}.`}
      targets={[id]}
      link={{ text: 'Show', place: { at: 'app', id, tab: 'instances' } }}
      send={(_, force) => call<Result>(`${path}?force=${force}`, { method: 'PUT', body: { version } })}
      dry={(_, force) => call<Preview>(`${path}?dryRun=true&force=${force}`, { method: 'PUT', body: { version } })}
    >
      <p>The definition becomes that of this version again, as a new version; the number of instances, too.</p>
    </Confirm>
  );
}
