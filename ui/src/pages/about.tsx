// What this Marathon is: version, leader, engine, store, flags.

import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { Icon, Loading, Problem } from '../parts/basic.tsx';
import { shown } from '../parts/preview.tsx';
import { connection } from '../state/live.ts';
import { useResource } from '../state/resource.ts';

interface Info {
  name?: string;
  version?: string;
  buildref?: string;
  elected?: boolean;
  leader?: string;
  frameworkId?: string;
  marathon_config?: Record<string, unknown>;
  zookeeper_config?: Record<string, unknown>;
  http_config?: Record<string, unknown>;
}

export function AboutPage() {
  const live = connection.value.is;
  const info = useResource<Info>('v2/info', [live]);
  const config = useResource<Record<string, string | null>>('config', [live]);
  const words = useSignal('');
  const it = info.data;
  if (!it) return info.error !== '' ? <Problem text={info.error} retry={info.again} /> : <Loading what="the description of the server" />;
  const engine = it.marathon_config ?? {};
  const zk = it.zookeeper_config?.zk;
  const mesosUi = engine.mesos_leader_ui_url;
  const fits = ([key, value]: [string, unknown]) => `${key} ${shown(value)}`.toLowerCase().includes(words.value.toLowerCase());
  const Table = ({ title, rows }: { title: string; rows: [string, unknown][] }) => {
    const kept = rows.filter(fits);
    if (kept.length === 0) return null;
    return (
      <section class="panel">
        <h2>{title}</h2>
        <dl class="fields">
          {kept.map(([key, value]) => (
            <div key={key} class={value === null || value === undefined ? 'unset' : ''}><dt><code>{key}</code></dt><dd class="wrap">{value === null || value === undefined ? 'not set' : shown(value)}</dd></div>
          ))}
        </dl>
      </section>
    );
  };
  const Fact = ({ name, children }: { name: string; children: ComponentChildren }) => <div><dt>{name}</dt><dd>{children}</dd></div>;
  return (
    <div class="page narrow">
      <div class="page-head">
        <h1>About this Marathon</h1>
        <div class="page-actions">
          <a class="button" href="../help" target="_blank" rel="noreferrer">API <Icon name="out" /></a>
          <a class="button" href="../metrics" target="_blank" rel="noreferrer">Metrics <Icon name="out" /></a>
        </div>
      </div>
      <section class="panel" aria-label="Overview">
        <dl class="facts">
          <Fact name="Version (of the API)">{it.version ?? '–'}</Fact>
          <Fact name="Build">{it.buildref ?? '–'}</Fact>
          <Fact name="Leader">{it.leader ?? 'none'}{it.elected ? ' (elected)' : ''}</Fact>
          <Fact name="Framework">{it.frameworkId ?? 'not registered'}</Fact>
          <Fact name="Engine">{engine.master === 'local' ? 'embedded: this machine' : `Mesos at ${String(engine.master ?? '–')}`}{typeof mesosUi === 'string' && <> · <a href={mesosUi} target="_blank" rel="noreferrer">its page</a></>}</Fact>
          <Fact name="State">{zk ? `ZooKeeper at ${String(zk)}` : 'on this machine (--data_dir)'}</Fact>
        </dl>
      </section>
      <div class="bar-line"><input type="search" class="narrow-input" aria-label="Find a flag" placeholder="Find a flag" value={words.value} onInput={(event) => (words.value = event.currentTarget.value)} /></div>
      {config.data && <Table title="Flags" rows={Object.entries(config.data).sort(([a], [b]) => (a < b ? -1 : 1))} />}
      <Table title="Marathon" rows={Object.entries(engine)} />
      <Table title="ZooKeeper" rows={Object.entries(it.zookeeper_config ?? {})} />
      <Table title="HTTP" rows={Object.entries(it.http_config ?? {})} />
    </div>
  );
}
