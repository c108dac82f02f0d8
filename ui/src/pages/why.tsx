// Why instances do not run: sentences first, then each agent, then the last failure and the statistics.

import { useState } from 'preact/hooks';
import { amount, duration, moment, plural } from '../lib/format.ts';
import { Confirm, type Result } from '../parts/confirm.tsx';
import type { Preview } from '../parts/preview.tsx';
import { Icon, Link, Loading, Problem, Time } from '../parts/basic.tsx';
import { call, idPath } from '../state/api.ts';
import { useResource } from '../state/resource.ts';
import { dialog, now } from '../state/view.ts';
import { TaskName } from './task-parts.tsx';
import type { FullApp } from './app.tsx';

interface Explanation {
  headline: string;
  instances: number;
  serving: number;
  reasons: { reason: string; text: string; count: number; instanceIds: string[]; since?: string; until?: string }[];
  placement?: {
    agentsKnown: number;
    agentsFitting: number;
    refusals: { reason: string; agents: number; text: string }[];
    suggestions: { kind: string; text: string; agentsFitting: number; patch?: Record<string, unknown> }[];
    agents: { agentId: string; hostname: string; lastOfferAt: string; fits: boolean; reason?: string; text?: string; needed?: number; free?: number }[];
  };
}

export function Why({ id, kind, seen, app }: { id: string; kind: 'app' | 'pod'; seen: number; app?: FullApp }) {
  const [agents, setAgents] = useState(20);
  const path = kind === 'app' ? `v2/apps/${idPath(id)}/explain` : `v2/pods/${idPath(id)}::explain`;
  // Time passes without events: delays run out, offers come.
  const beat = Math.floor(now.value / 5_000);
  const { data, error, again } = useResource<Explanation>(`${path}?agents=${agents}`, [seen, beat]);
  if (!data) return error !== '' ? <Problem text={error} retry={again} /> : <Loading what="the reasons" />;
  const { placement } = data;
  const well = data.reasons.length === 0;
  return (
    <>
      <section class={`panel headline ${well ? 'well' : 'ill'}`} aria-label="In one sentence">
        <p><Icon name={well ? 'check' : 'warning'} /> <span>{data.headline}</span></p>
      </section>
      {!well && (
        <section class="panel">
          <h2>Reasons</h2>
          <ol class="reasons">
            {data.reasons.map((it) => (
              <li key={it.reason + it.text}>
                <b>{plural(it.count, 'instance')}</b> <span>{it.text}</span>
                <small class="dim">
                  {it.since && <> since <Time at={it.since} /></>}
                  {it.until && Date.parse(it.until) > now.value && <> · for {duration(Date.parse(it.until) - now.value)} more</>}
                </small>
              </li>
            ))}
          </ol>
        </section>
      )}
      {placement && placement.suggestions.length > 0 && (
        <section class="panel">
          <h2>What would help</h2>
          <ul class="suggestions">
            {placement.suggestions.map((it) => (
              <li key={it.text}>
                <span>{it.text[0]?.toUpperCase()}{it.text.slice(1)} <small class="dim">then {plural(it.agentsFitting, 'agent')} would fit</small></span>
                {it.patch && kind === 'app' && <button type="button" onClick={() => applyPatch(id, it.text, it.patch!)}>Apply …</button>}
              </li>
            ))}
          </ul>
        </section>
      )}
      {placement && (
        <section class="panel">
          <h2>Agents <small class="dim">{placement.agentsFitting} of {placement.agentsKnown} fit</small></h2>
          {placement.agents.length === 0 && <p class="dim">No agent has offered anything since Marathon is connected.</p>}
          {placement.agents.length > 0 && (
            <div class="scroll-x" tabIndex={0} role="region" aria-label="Agents">
              <table class="plain">
                <thead><tr><th scope="col">Agent</th><th scope="col">Fits</th><th scope="col">What is in the way</th><th scope="col" class="num">Needed</th><th scope="col" class="num">Free</th><th scope="col">Last offer</th></tr></thead>
                <tbody>
                  {placement.agents.map((it) => (
                    <tr key={it.agentId}>
                      <th scope="row" title={it.agentId}>{it.hostname}</th>
                      <td>{it.fits ? <span class="badge ok"><i aria-hidden="true" />yes</span> : <span class="badge bad"><i aria-hidden="true" />no</span>}</td>
                      <td>{it.text ?? 'nothing'}</td>
                      <td class="num">{it.needed === undefined ? '' : amount(it.needed)}</td>
                      <td class="num">{it.free === undefined ? '' : amount(it.free)}</td>
                      <td><Time at={it.lastOfferAt} /></td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
          {placement.agentsKnown > placement.agents.length && <button type="button" onClick={() => setAgents(10_000)}>Show all {placement.agentsKnown}</button>}
        </section>
      )}
      {app && <Failure app={app} />}
      {app && <Stats app={app} />}
    </>
  );
}

function applyPatch(id: string, text: string, patch: Record<string, unknown>): void {
  const path = `v2/apps/${idPath(id)}`;
  dialog.value = (
    <Confirm
      title={`Change ${id}: ${text}?`}
      verb="Change"
      done={`Changing ${id}.`}
      targets={[id]}
      send={(_, force) => call<Result>(`${path}?force=${force}`, { method: 'PUT', body: patch })}
      dry={(_, force) => call<Preview>(`${path}?dryRun=true&force=${force}`, { method: 'PUT', body: patch })}
    />
  );
}

export function Failure({ app, brief }: { app: FullApp; brief?: boolean }) {
  const it = app.lastTaskFailure;
  if (!it?.timestamp) {
    return brief ? null : <section class="panel"><h2>Last failure</h2><p class="dim">No instance of this application has failed.</p></section>;
  }
  // An old failure of something that runs well is no news.
  if (brief && now.value - Date.parse(it.timestamp) > 10 * 60_000) return null;
  const place = { at: 'task' as const, app: app.id, task: it.taskId ?? '' };
  const words = (it.state ?? '').replace(/^TASK_/, '').toLowerCase().replace(/_/g, ' ');
  const logs = (
    <>
      <Link to={place} query={new URLSearchParams([['path', 'stderr']])}>stderr</Link> · <Link to={place} query={new URLSearchParams([['path', 'stdout']])}>stdout</Link>
    </>
  );
  if (brief) {
    return (
      <p class="notice">
        <Icon name="warning" /> <span><b>Last failure</b> <Time at={it.timestamp} />: {words}{it.message ? `, ${it.message}` : ''} on {it.host}. {it.taskId && logs}</span>
      </p>
    );
  }
  return (
    <section class="panel">
      <h2>Last failure</h2>
      <dl class="facts">
        <div><dt>Time</dt><dd><Time at={it.timestamp} /> <small class="dim">{moment(it.timestamp)}</small></dd></div>
        <div><dt>State</dt><dd>{words}</dd></div>
        <div class="span2"><dt>Message</dt><dd>{it.message || '–'}</dd></div>
        <div><dt>Instance</dt><dd>{it.taskId ? <Link to={place}><TaskName id={it.taskId} /></Link> : '–'}</dd></div>
        <div><dt>Host</dt><dd>{it.host || '–'}</dd></div>
        <div><dt>Version</dt><dd>{it.version === app.version ? 'the current one' : moment(it.version)}</dd></div>
        <div><dt>Logs</dt><dd>{it.taskId ? logs : '–'}</dd></div>
      </dl>
    </section>
  );
}

interface StatsOf {
  stats?: { counts?: { staged?: number; running?: number; healthy?: number; unhealthy?: number }; lifeTime?: { averageSeconds?: number; medianSeconds?: number } };
}

const STATS: [string, string][] = [['startedAfterLastScaling', 'Started after the last scaling'], ['withLatestConfig', 'With the latest configuration'], ['withOutdatedConfig', 'With an outdated configuration'], ['totalSummary', 'All']];

function Stats({ app }: { app: FullApp }) {
  const stats = (app as { taskStats?: Record<string, StatsOf> }).taskStats;
  const rows = STATS.filter(([key]) => stats?.[key]);
  if (rows.length === 0) return null;
  return (
    <section class="panel">
      <h2>Statistics</h2>
      <div class="scroll-x" tabIndex={0} role="region" aria-label="Statistics">
        <table class="plain">
          <thead><tr><th scope="col">Instances</th><th scope="col" class="num">Running</th><th scope="col" class="num">Healthy</th><th scope="col" class="num">Unhealthy</th><th scope="col" class="num">Starting</th><th scope="col" class="num">Median life</th><th scope="col" class="num">Average life</th></tr></thead>
          <tbody>
            {rows.map(([key, text]) => {
              const { counts, lifeTime } = stats![key]!.stats ?? {};
              const time = (seconds: number | undefined) => (seconds === undefined ? '–' : duration(seconds * 1000));
              return (
                <tr key={key}>
                  <th scope="row">{text}</th>
                  <td class="num">{counts?.running ?? 0}</td><td class="num">{counts?.healthy ?? 0}</td><td class="num">{counts?.unhealthy ?? 0}</td><td class="num">{counts?.staged ?? 0}</td>
                  <td class="num">{time(lifeTime?.medianSeconds)}</td><td class="num">{time(lifeTime?.averageSeconds)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}
