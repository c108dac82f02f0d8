// Applications: groups as folders, filters, sums, and what can be done to one or several.

import { computed, useComputed, useSignal, type Signal } from '@preact/signals';
import { memo } from 'preact/compat';
import { useCallback, useEffect, useRef } from 'preact/hooks';
import { amount, mebibytes, plural } from '../lib/format.ts';
import { nextSort, readFilters, readSort, toggled, writeQuery } from '../lib/filters.ts';
import { HEALTHS, STATUSES, isFiltering, listing, nameOf, trail, type Column, type Filters, type Line, type Listing, type Sort } from '../lib/model.ts';
import { format, type Place } from '../lib/route.ts';
import { askAction, askGroup, type ActionName } from '../parts/actions.tsx';
import { Crumbs, Empty, HealthBar, Icon, Link, Loading, Menu, Problem, StatusBadge } from '../parts/basic.tsx';
import { Rows } from '../parts/rows.tsx';
import { keysHere } from '../parts/shortcuts.tsx';
import { apps, appsChanged, groups, loadError, loaded, reload, waiting } from '../state/store.ts';
import { now, route, setQuery } from '../state/view.ts';

const ROW_PX = 44;

/** Delays run out without an event; a list this old is worked out anew. */
const tick = computed(() => Math.floor(now.value / 5_000));

export function AppsPage({ group }: { group: string }) {
  const list = useComputed<{ filters: Filters; sort: Sort; it: Listing }>(() => {
    void appsChanged.value;
    void tick.value;
    const { query } = route.value;
    const [filters, sort] = [readFilters(query), readSort(query)];
    return { filters, sort, it: listing(apps.values(), groups.value, group, filters, sort, waiting.value, Date.now()) };
  });
  const chosen = useSignal<ReadonlySet<string>>(new Set());
  useEffect(() => {
    keysHere.createGroup = () => askGroup('create', group);
    return () => delete keysHere.createGroup;
  }, [group]);

  const crumbs = trail(group).map((id) => ({
    text: id === '/' ? 'Applications' : nameOf(id),
    ...(id === group ? {} : { to: { at: 'apps', group: id } as Place }),
  }));
  const { filters, it } = list.value;
  const missing = loaded.value && group !== '/' && !groups.value.has(group);
  return (
    <div class="page apps">
      <div class="page-head">
        <h1 class="hidden">{group === '/' ? 'Applications' : `Group ${group}`}</h1>
        <Crumbs items={crumbs} />
        <div class="page-actions">
          {group !== '/' && !missing && (
            <Menu
              label={`Actions for group ${group}`}
              text="Group"
              items={[
                { text: 'Scale by a factor …', act: () => askGroup('scale', group) },
                { text: 'Suspend all …', act: () => askGroup('suspend', group) },
                { text: 'Destroy …', act: () => askGroup('destroy', group), danger: true },
              ]}
            />
          )}
          <button type="button" onClick={() => askGroup('create', group)}>New group</button>
          <Link to={{ at: 'create' }} query={new URLSearchParams(group === '/' ? [] : [['group', group]])} class="button primary">
            <Icon name="plus" /> New application
          </Link>
        </div>
      </div>
      {!loaded.value && loadError.value === '' && <Loading what="applications" />}
      {!loaded.value && loadError.value !== '' && <Problem text={loadError.value} retry={() => void reload()} />}
      {missing && (
        <Empty title="This group does not exist" icon="folder">
          <p>There is no group {group}; it may have been removed.</p>
          <Link to={{ at: 'apps', group: '/' }} class="button">All applications</Link>
        </Empty>
      )}
      {loaded.value && !missing && it.all === 0 && it.lines.length === 0 && !isFiltering(filters) && (group === '/' ? <FirstTime /> : <EmptyGroup group={group} />)}
      {loaded.value && !missing && (it.all > 0 || it.lines.length > 0 || isFiltering(filters)) && (
        <div class="with-side">
          <Side list={list} />
          <div class="list">
            <Totals it={it} filters={filters} />
            <Selected chosen={chosen} />
            {it.lines.length === 0
              ? (
                <Empty title="No application fits these filters" icon="filter">
                  <p>{plural(it.all, 'application')} here, none as chosen on the side.</p>
                  <button type="button" onClick={() => setQuery(new URLSearchParams())}>Show all applications</button>
                </Empty>
              )
              : <List list={list} chosen={chosen} />}
          </div>
        </div>
      )}
    </div>
  );
}

function FirstTime() {
  const example = (body: object) => new URLSearchParams([['definition', JSON.stringify(body)]]);
  return (
    <section class="first" aria-labelledby="first-title">
      <h2 id="first-title">Nothing runs yet. Start something!</h2>
      <p>
        An <b>application</b> is a command or a container image that Marathon keeps running: as many instances as you say, restarted
        when they fail, replaced step by step when you change them.
      </p>
      <div class="first-cards">
        <Link to={{ at: 'create' }} query={example({ id: '/hello', cmd: 'while true; do echo "hello at $(date +%T)"; sleep 1; done', cpus: 0.1, mem: 32, instances: 1 })} class="card">
          <h3>Say hello</h3><p>A loop of one line. Look at its log as it writes.</p>
        </Link>
        <Link to={{ at: 'create' }} query={example({
          id: '/web', cmd: 'exec python3 -m http.server $PORT0', cpus: 0.1, mem: 64, instances: 2,
          healthChecks: [{ protocol: 'HTTP', path: '/', gracePeriodSeconds: 10, intervalSeconds: 5 }],
        })} class="card">
          <h3>Serve a page</h3><p>Two web servers on ports of their own, watched by a health check.</p>
        </Link>
        <Link to={{ at: 'create' }} query={example({
          id: '/nginx', cpus: 0.1, mem: 64, instances: 1,
          container: { type: 'DOCKER', docker: { image: 'nginx:alpine' }, portMappings: [{ containerPort: 80, hostPort: 0 }] },
          networks: [{ mode: 'container/bridge' }],
        })} class="card">
          <h3>Run a container</h3><p>An image from a registry, where Docker is installed.</p>
        </Link>
        <Link to={{ at: 'create' }} class="card">
          <h3>Your own</h3><p>An empty form, with the JSON beside it.</p>
        </Link>
      </div>
    </section>
  );
}

function EmptyGroup({ group }: { group: string }) {
  return (
    <Empty title="This group is empty" icon="folder">
      <p>Applications whose id begins with <code>{group}/</code> appear here.</p>
      <Link to={{ at: 'create' }} query={new URLSearchParams([['group', group]])} class="button primary">Create one</Link>
    </Empty>
  );
}

function Totals({ it, filters }: { it: Listing; filters: Filters }) {
  const { totals } = it;
  return (
    <dl class="totals" aria-label="Totals">
      <div><dt>{isFiltering(filters) ? 'Found' : 'Applications'}</dt><dd>{totals.apps.toLocaleString('en-US')}{isFiltering(filters) && <small> of {it.all.toLocaleString('en-US')}</small>}</dd></div>
      <div><dt>Instances</dt><dd>{totals.running.toLocaleString('en-US')}<small> of {totals.instances.toLocaleString('en-US')}</small></dd></div>
      <div><dt>CPUs</dt><dd>{amount(totals.cpus)}</dd></div>
      <div><dt>Memory</dt><dd>{mebibytes(totals.mem)}</dd></div>
      {totals.disk > 0 && <div><dt>Disk</dt><dd>{mebibytes(totals.disk)}</dd></div>}
      {totals.gpus > 0 && <div><dt>GPUs</dt><dd>{amount(totals.gpus)}</dd></div>}
    </dl>
  );
}

function Side({ list }: { list: Signal<{ filters: Filters; sort: Sort; it: Listing }> }) {
  const { filters, sort, it } = list.value;
  const input = useRef<HTMLInputElement>(null);
  const more = useSignal(false);
  const words = useSignal('');
  useEffect(() => {
    keysHere.search = () => input.current?.focus();
    return () => delete keysHere.search;
  }, []);
  const change = (next: Partial<Filters>, replace = false) => setQuery(writeQuery({ ...filters, ...next }, sort), replace);
  const labels = it.counts.labels.filter(([label]) => label.toLowerCase().includes(words.value.toLowerCase()));
  const all = [...filters.labels.filter((label) => !labels.some(([known]) => known === label)).map((label): [string, number] => [label, 0]), ...labels];
  return (
    <aside class="side" aria-label="Filters">
      <label class="search">
        <span class="hidden">Search applications</span>
        <Icon name="search" />
        <input
          ref={input}
          type="search"
          placeholder="Search  ( / )"
          value={filters.text}
          onInput={(event) => change({ text: event.currentTarget.value }, true)}
          onKeyDown={(event) => {
            if (event.key === 'Escape') {
              change({ text: '' }, true);
              event.currentTarget.blur();
            }
          }}
        />
      </label>
      <details class="facets" open={innerWidth > 760}>
        <summary><Icon name="filter" /> Filters {isFiltering(filters) && <span class="count">on</span>}</summary>
        <fieldset>
          <legend>Status</legend>
          {STATUSES.map((status) => (
            <Facet key={status} text={status} count={it.counts.status[status]} on={filters.status.includes(status)} mark={`badge-dot ${status}`}
              toggle={() => change({ status: toggled(filters.status, status) })} />
          ))}
        </fieldset>
        <fieldset>
          <legend>Health</legend>
          {HEALTHS.map((health) => (
            <Facet key={health} text={health} count={it.counts.health[health]} on={filters.health.includes(health)} mark={`badge-dot ${health}`}
              toggle={() => change({ health: toggled(filters.health, health) })} />
          ))}
        </fieldset>
        {(it.counts.volumes > 0 || filters.volumes) && (
          <fieldset>
            <legend>Resources</legend>
            <Facet text="volumes" count={it.counts.volumes} on={filters.volumes} toggle={() => change({ volumes: !filters.volumes })} />
          </fieldset>
        )}
        {(it.counts.labels.length > 0 || filters.labels.length > 0) && (
          <fieldset>
            <legend>Label</legend>
            {it.counts.labels.length > 8 && (
              <input class="small" type="search" aria-label="Find a label" placeholder="Find a label" value={words.value} onInput={(event) => (words.value = event.currentTarget.value)} />
            )}
            {all.slice(0, more.value ? 100 : 8).map(([label, count]) => (
              <Facet key={label} text={label} count={count} on={filters.labels.includes(label)} toggle={() => change({ labels: toggled(filters.labels, label) })} />
            ))}
            {all.length > 8 && !more.value && <button type="button" class="quiet" onClick={() => (more.value = true)}>{all.length - 8} more</button>}
          </fieldset>
        )}
        {isFiltering(filters) && <button type="button" class="clear" onClick={() => setQuery(writeQuery({ text: '', status: [], health: [], labels: [], volumes: false }, sort))}>Clear all filters</button>}
      </details>
    </aside>
  );
}

function Facet({ text, count, on, toggle, mark }: { text: string; count: number; on: boolean; toggle: () => void; mark?: string }) {
  return (
    <label class={`facet${count === 0 && !on ? ' none' : ''}`}>
      <input type="checkbox" checked={on} onChange={toggle} />
      {mark && <i class={mark} aria-hidden="true" />}
      <span class={mark ? 'facet-text cap' : 'facet-text'} title={text}>{text}</span>
      <span class="facet-count">{count.toLocaleString('en-US')}</span>
    </label>
  );
}

const HEADS: { by: Column; text: string; class: string }[] = [
  { by: 'name', text: 'Name', class: 'c-name' },
  { by: 'status', text: 'Status', class: 'c-status' },
  { by: 'instances', text: 'Instances', class: 'c-num c-inst' },
  { by: 'health', text: 'Health', class: 'c-health' },
  { by: 'cpus', text: 'CPUs', class: 'c-num c-cpus' },
  { by: 'mem', text: 'Memory', class: 'c-num c-mem' },
];

function List({ list, chosen }: { list: Signal<{ filters: Filters; sort: Sort; it: Listing }>; chosen: Signal<ReadonlySet<string>> }) {
  const { filters, sort, it } = list.value;
  const lines = it.lines;
  const toggle = useCallback((id: string) => {
    const next = new Set(chosen.peek());
    if (!next.delete(id)) next.add(id);
    chosen.value = next;
  }, [chosen]);
  const selectable = lines.filter((line) => line.kind === 'app');
  const allChosen = selectable.length > 0 && selectable.every((line) => chosen.value.has(line.id));
  const head = (
    <div class="row head" role="row">
      <span class="c-check" role="columnheader">
        <input
          type="checkbox"
          aria-label="Choose all applications shown"
          checked={allChosen}
          disabled={selectable.length === 0}
          onChange={() => (chosen.value = allChosen ? new Set() : new Set(selectable.map((line) => line.id)))}
        />
      </span>
      {HEADS.map((column) => {
        const on = sort.by === column.by;
        return (
          <span key={column.by} class={column.class} role="columnheader" aria-sort={on ? (sort.descending ? 'descending' : 'ascending') : 'none'}>
            <button type="button" class="sort" onClick={() => setQuery(writeQuery(filters, nextSort(sort, column.by)))}>
              {column.text}{on && <Icon name={sort.descending ? 'down' : 'up'} />}
            </button>
          </span>
        );
      })}
      <span class="c-menu" role="columnheader"><span class="hidden">Actions</span></span>
    </div>
  );
  const open = (line: Line | undefined) => line && (location.hash = format(line.kind === 'group' ? { at: 'apps', group: line.id } : { at: 'app', id: line.id, tab: 'instances' }));
  return (
    <Rows
      count={lines.length}
      rowHeight={ROW_PX}
      label="Applications and groups"
      columns={8}
      head={head}
      onOpen={(at) => open(lines[at])}
      onToggle={(at) => lines[at]?.kind === 'app' && toggle(lines[at].id)}
      row={(at) => <Row key={lines[at]!.id} at={at} line={lines[at]!} on={chosen.value.has(lines[at]!.id)} toggle={toggle} filters={filters} sort={sort} />}
    />
  );
}

const APP_MENU: [ActionName, string][] = [['scale', 'Scale …'], ['restart', 'Restart …'], ['suspend', 'Suspend …'], ['reset', 'Reset delay'], ['destroy', 'Destroy …']];

/** Scrolling draws the rows that come into sight, not those that stay. */
const Row = memo(function Row({ at, line, on, toggle, filters, sort }: { at: number; line: Line; on: boolean; toggle: (id: string) => void; filters: Filters; sort: Sort }) {
  const group = line.kind === 'group';
  const menu = group
    ? [
      { text: 'Scale by a factor …', act: () => askGroup('scale', line.id) },
      { text: 'Suspend all …', act: () => askGroup('suspend', line.id) },
      { text: 'Destroy …', act: () => askGroup('destroy', line.id), danger: true },
    ]
    : [
      ...APP_MENU
        .filter(([name]) => (name !== 'suspend' || line.instances > 0) && (name !== 'reset' || line.status === 'delayed'))
        .map(([name, text]) => ({ text, act: () => askAction(name, [line.id]), danger: name === 'destroy' })),
      { text: 'Edit', act: () => (location.hash = format({ at: 'edit', id: line.id })) },
    ];
  return (
    <div class={`row${on ? ' on' : ''}`} role="row" aria-rowindex={at + 2} data-row={at} data-id={line.id}>
      <span class="c-check" role="cell">
        {group ? null : <input type="checkbox" aria-label={`Choose ${line.id}`} checked={on} onChange={() => toggle(line.id)} />}
      </span>
      <span class="c-name" role="cell">
        <span class={`kind ${line.kind}`}><Icon name={group ? 'folder' : 'app'} /></span>
        <Link to={group ? { at: 'apps', group: line.id } : { at: 'app', id: line.id, tab: 'instances' }} class="name">
          {line.name}{group && <span class="hidden"> (group)</span>}
        </Link>
        {group && <small class="dim">{plural(line.apps, 'app')}</small>}
        {line.labels.slice(0, 3).map(([key, value]) => (
          <button
            key={key}
            type="button"
            class="label"
            tabIndex={-1}
            title={`Show all with ${key}:${value}`}
            onClick={() => setQuery(writeQuery({ ...filters, labels: [...new Set([...filters.labels, `${key}:${value}`])] }, sort))}
          >
            {value === '' ? key : `${key}:${value}`}
          </button>
        ))}
        {line.labels.length > 3 && <small class="dim" title={line.labels.map(([k, v]) => `${k}:${v}`).join('\n')}>+{line.labels.length - 3}</small>}
      </span>
      <span class="c-status" role="cell"><StatusBadge status={line.status} /></span>
      <span class="c-num c-inst" role="cell">{line.running.toLocaleString('en-US')}<small> of {line.instances.toLocaleString('en-US')}</small></span>
      <span class="c-health" role="cell"><HealthBar bar={line.bar} moving={line.status === 'deploying'} /></span>
      <span class="c-num c-cpus" role="cell">{amount(line.cpus)}</span>
      <span class="c-num c-mem" role="cell">{mebibytes(line.mem)}</span>
      <span class="c-menu" role="cell"><Menu label={`Actions for ${line.id}`} items={menu} /></span>
    </div>
  );
});

function Selected({ chosen }: { chosen: Signal<ReadonlySet<string>> }) {
  const ids = [...chosen.value].filter((id) => apps.has(id));
  if (ids.length === 0) return null;
  const act = (name: ActionName) => () => askAction(name, ids, () => (chosen.value = new Set()));
  return (
    <div class="selected" role="region" aria-label="Chosen applications">
      <b>{plural(ids.length, 'application')} chosen</b>
      <button type="button" onClick={act('scale')}>Scale</button>
      <button type="button" onClick={act('restart')}>Restart</button>
      <button type="button" onClick={act('suspend')}>Suspend</button>
      <button type="button" onClick={act('reset')}>Reset delay</button>
      <button type="button" class="danger" onClick={act('destroy')}>Destroy</button>
      <button type="button" class="quiet" onClick={() => (chosen.value = new Set())}>Choose none</button>
    </div>
  );
}
