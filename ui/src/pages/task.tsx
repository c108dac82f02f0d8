// One instance: what is known of it, its logs, the files of its sandbox.

import { bytes, moment } from '../lib/format.ts';
import { instanceOf, nameOf, parentOf, taskHealth, trail, type Task } from '../lib/model.ts';
import type { Place } from '../lib/route.ts';
import { askKill } from '../parts/actions.tsx';
import { Crumbs, Icon, Link, Loading, Problem, Time } from '../parts/basic.tsx';
import { LogView, filesPath } from '../parts/log.tsx';
import { idPath, url } from '../state/api.ts';
import { useResource } from '../state/resource.ts';
import { pods, touched } from '../state/store.ts';
import { now, route } from '../state/view.ts';
import { Ports, stateWords, type FullApp } from './app.tsx';
import { TaskName } from './task-parts.tsx';
import { shortTask } from '../lib/format.ts';

const TABS = ['stdout', 'stderr'];

export function TaskPage({ app: id, task: taskId }: { app: string; task: string }) {
  const seen = touched.value.get(id) ?? 0;
  const isPod = pods.value.some((it) => it.id === id);
  const { data: app, status } = useResource<FullApp>(isPod ? undefined : `v2/apps/${idPath(id)}`, [seen], (it) => (it as { app: FullApp }).app);
  const task = app?.tasks?.find((it) => it.id === taskId);
  const path = route.value.query.get('path') ?? 'stdout';
  const folder = route.value.query.get('folder') ?? undefined;
  const place: Place = { at: 'task', app: id, task: taskId };
  const to = (key: string, value: string) => new URLSearchParams([[key, value]]);
  const instance = app?.tasks?.find((it) => instanceOf(it.id) === instanceOf(taskId) && it.id !== taskId);
  const crumbs = [
    ...trail(parentOf(id)).map((group) => ({ text: group === '/' ? 'Applications' : nameOf(group), to: { at: 'apps', group } as Place })),
    { text: nameOf(id), to: (isPod ? { at: 'pod', id } : { at: 'app', id, tab: 'instances' }) as Place },
    { text: shortTask(taskId) },
  ];
  return (
    <div class="page">
      <h1 class="hidden">Instance {taskId}</h1>
      <div class="page-head">
        <Crumbs items={crumbs} />
        {task && (
          <div class="page-actions">
            <button type="button" class="danger" onClick={() => askKill(id, [taskId], 'kill')}>Kill</button>
            <button type="button" class="danger" onClick={() => askKill(id, [taskId], 'scale')}>Kill and scale</button>
          </div>
        )}
      </div>
      {task && app && <Facts task={task} app={app} />}
      {(app || status === 404) && !task && !isPod && (
        <p class="notice">
          <Icon name="warning" /> <span>This instance has ended. Its files are kept for a while.{' '}
            {instance && <>In its place runs <Link to={{ at: 'task', app: id, task: instance.id }} query={to('path', path)}><TaskName id={instance.id} /></Link>.</>}
          </span>
        </p>
      )}
      <nav class="tabs" aria-label="Logs and files">
        {TABS.map((it) => (
          <Link key={it} to={place} query={to('path', it)} current={folder === undefined && path === it}>{it}</Link>
        ))}
        <Link to={place} query={to('folder', '')} current={folder !== undefined || !TABS.includes(path)}>Files</Link>
      </nav>
      {folder !== undefined ? <Files task={taskId} folder={folder} place={place} /> : (
        <>
          {!TABS.includes(path) && <p><Link to={place} query={to('folder', path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '')}>‹ all files</Link> <code>{path}</code></p>}
          <LogView key={`${taskId} ${path}`} task={taskId} path={path} />
        </>
      )}
    </div>
  );
}

function Facts({ task, app }: { task: Task; app: FullApp }) {
  const health = taskHealth(task);
  const results = task.healthCheckResults ?? [];
  const checks = app.healthChecks ?? [];
  return (
    <section class="panel" aria-label="About this instance">
      <dl class="facts">
        <div><dt>State</dt><dd>{stateWords(task.state)}</dd></div>
        <div><dt>Health</dt><dd>{checks.length === 0 ? 'not checked' : <span class={`badge ${health}`}><i aria-hidden="true" />{health === 'unknown' ? 'unknown yet' : health}</span>}</dd></div>
        <div><dt>Host and ports</dt><dd><Ports task={task} /></dd></div>
        <div><dt>Addresses</dt><dd>{(task.ipAddresses ?? []).map((it) => it.ipAddress).join(', ') || '–'}</dd></div>
        <div><dt>Launched</dt><dd><Time at={task.stagedAt} /></dd></div>
        <div><dt>Running since</dt><dd><Time at={task.startedAt} /></dd></div>
        <div><dt>Version</dt><dd>{moment(task.version)}{task.version !== app.version && ' (not the current one)'}</dd></div>
        <div><dt>Role</dt><dd>{task.role ?? '*'}</dd></div>
        <div class="span2"><dt>Task</dt><dd><code>{task.id}</code></dd></div>
        <div class="span2"><dt>Agent</dt><dd><code>{task.slaveId ?? '–'}</code>{task.zone && ` in ${[task.region, task.zone].filter(Boolean).join(', ')}`}</dd></div>
      </dl>
      {results.length > 0 && (
        <div class="scroll-x" tabIndex={0} role="region" aria-label="Results of the health checks">
          <table class="plain">
            <thead><tr><th scope="col">Check</th><th scope="col">Result</th><th scope="col">First success</th><th scope="col">Last success</th><th scope="col">Last failure</th><th scope="col" class="num">Failures in a row</th></tr></thead>
            <tbody>
              {results.map((it, at) => (
                <tr key={at}>
                  <th scope="row">{checks[at] ? `${checks[at].protocol} ${checks[at].path ?? ''}` : at + 1}</th>
                  <td><span class={`badge ${it.alive ? 'ok' : 'bad'}`}><i aria-hidden="true" />{it.alive ? 'passes' : 'fails'}</span></td>
                  <td><Time at={it.firstSuccess} /></td><td><Time at={it.lastSuccess} /></td>
                  <td><Time at={it.lastFailure} />{it.lastFailureCause && <div class="dim wrap">{it.lastFailureCause}</div>}</td><td class="num">{it.consecutiveFailures ?? 0}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

interface Entry {
  name: string;
  path: string;
  directory: boolean;
  size: number;
  mtime: number;
  mode: string;
  uid: string;
  link?: string;
}

function Files({ task, folder, place }: { task: string; folder: string; place: Place }) {
  const beat = Math.floor(now.value / 5_000);
  const { data, error, again } = useResource<{ entries: Entry[]; truncated?: boolean }>(`${filesPath(task)}?${new URLSearchParams([['path', folder]])}`, [beat]);
  const parts = folder.split('/').filter((it) => it !== '');
  const to = (path: string) => new URLSearchParams([['folder', path]]);
  return (
    <section class="panel" aria-label="Files of the sandbox">
      <nav class="crumbs small-crumbs" aria-label="Folder">
        <ol>
          <li>{parts.length === 0 ? <span aria-current="page">sandbox</span> : <Link to={place} query={to('')}>sandbox</Link>}</li>
          {parts.map((it, at) => <li key={at}>{at === parts.length - 1 ? <span aria-current="page">{it}</span> : <Link to={place} query={to(parts.slice(0, at + 1).join('/'))}>{it}</Link>}</li>)}
        </ol>
      </nav>
      {error !== '' && <Problem text={error} retry={again} />}
      {!data && error === '' && <Loading what="files" />}
      {data && (
        <div class="scroll-x" tabIndex={0} role="region" aria-label="Files">
          <table class="plain files">
            <thead><tr><th scope="col">Name</th><th scope="col" class="num">Size</th><th scope="col">Changed</th><th scope="col">Mode</th><th scope="col">Owner</th><th scope="col"><span class="hidden">Download</span></th></tr></thead>
            <tbody>
              {data.entries.map((it) => (
                <tr key={it.path}>
                  <th scope="row"><Icon name={it.directory ? 'folder' : 'file'} /> <Link to={place} query={it.directory ? to(it.path) : new URLSearchParams([['path', it.path]])}>{it.name}</Link>{it.link && <span class="dim"> → {it.link}</span>}</th>
                  <td class="num nowrap">{it.directory ? '' : bytes(it.size)}</td><td class="nowrap"><Time at={new Date(it.mtime * 1000).toISOString()} /></td><td><code>{it.mode}</code></td><td>{it.uid}</td>
                  <td>{!it.directory && <a href={url(`${filesPath(task)}/download?${new URLSearchParams([['path', it.path]])}`)} download aria-label={`Download ${it.name}`}><Icon name="download" /></a>}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {data.truncated && <p class="dim">There are more files than are shown.</p>}
        </div>
      )}
    </section>
  );
}
