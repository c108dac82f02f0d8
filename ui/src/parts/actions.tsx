// What can be done to apps, groups, tasks and deployments.

import { useState } from 'preact/hooks';
import { plural } from '../lib/format.ts';
import { absolute } from '../lib/route.ts';
import { isBelow } from '../lib/model.ts';
import { call, idPath } from '../state/api.ts';
import { apps } from '../state/store.ts';
import { dialog, go, route } from '../state/view.ts';
import { Confirm, type Result } from './confirm.tsx';
import type { Preview } from './preview.tsx';

export type ActionName = 'scale' | 'restart' | 'suspend' | 'reset' | 'destroy';

function query(force: boolean, dry: boolean): string {
  const all = [force && 'force=true', dry && 'dryRun=true'].filter(Boolean);
  return all.length > 0 ? `?${all.join('&')}` : '';
}

const app = (id: string) => `v2/apps/${idPath(id)}`;
const many = (ids: string[]) => (ids.length === 1 ? ids[0]! : plural(ids.length, 'application'));

export function askAction(name: ActionName, ids: string[], sent?: () => void): void {
  dialog.value = <AppAction key={`${name} ${ids.join()}`} name={name} ids={ids} {...(sent ? { sent } : {})} />;
}

function AppAction({ name, ids, sent }: { name: ActionName; ids: string[]; sent?: () => void }) {
  const present = ids.length === 1 ? apps.get(ids[0]!)?.instances : undefined;
  const [text, setText] = useState(String(present ?? 1));
  const instances = /^\d{1,6}$/.test(text.trim()) ? Number(text) : undefined;
  const link = ids.length === 1 ? { text: 'Show', place: { at: 'app' as const, id: ids[0]!, tab: 'instances' as const } } : undefined;
  const put = (body: object) => ({
    send: (id: string, force: boolean) => call<Result>(app(id) + query(force, false), { method: 'PUT', body }),
    dry: (id: string, force: boolean) => call<Preview>(app(id) + query(force, true), { method: 'PUT', body }),
  });
  const common = { targets: ids, ...(link ? { link } : {}), ...(sent ? { sent } : {}) };
  switch (name) {
    case 'scale':
      return (
        <Confirm
          {...common}
          {...put({ instances })}
          title={`Scale ${many(ids)}`}
          verb="Scale"
          done={`Scaling ${many(ids)} to ${instances}.`}
          dryKey={text}
          {...(instances === undefined ? { invalid: 'The number of instances is a whole number, 0 or more.' } : {})}
        >
          <div class="field">
            <label for="scale-to">Instances</label>
            <input id="scale-to" type="number" min="0" step="1" inputMode="numeric" autofocus value={text} onInput={(event) => setText(event.currentTarget.value)} />
            {present !== undefined && <p class="hint">Now {present}.</p>}
          </div>
        </Confirm>
      );
    case 'suspend':
      return (
        <Confirm {...common} {...put({ instances: 0 })} title={`Suspend ${many(ids)}?`} verb="Suspend" done={`Suspending ${many(ids)}.`}>
          <p>All instances are stopped. The definition stays, and scaling up starts them again.</p>
        </Confirm>
      );
    case 'restart':
      return (
        <Confirm
          {...common}
          title={`Restart ${many(ids)}?`}
          verb="Restart"
          done={`Restarting ${many(ids)}.`}
          send={(id, force) => call(`${app(id)}/restart${query(force, false)}`, { method: 'POST' })}
          dry={(id, force) => call(`${app(id)}/restart${query(force, true)}`, { method: 'POST' })}
        >
          <p>Every instance is replaced by a new one of the same definition, at the pace of the upgrade strategy.</p>
        </Confirm>
      );
    case 'destroy':
      return (
        <Confirm
          {...common}
          {...(link ? { link: { text: 'Deployments', place: { at: 'deployments' as const } } } : {})}
          title={`Destroy ${many(ids)}?`}
          verb="Destroy"
          danger
          done={`Destroying ${many(ids)}.`}
          send={(id, force) => call<Result>(`${app(id)}?force=${force}`, { method: 'DELETE' })}
          dry={(id, force) => call<Preview>(`${app(id)}?dryRun=true&force=${force}`, { method: 'DELETE' })}
          sent={() => {
            sent?.();
            const { place } = route.value;
            if (place.at === 'app' && ids.includes(place.id)) go({ at: 'apps', group: '/' });
          }}
        >
          <p>All instances are stopped and the definition is removed, with all its versions. <b>This cannot be undone.</b></p>
        </Confirm>
      );
    case 'reset':
      return (
        <Confirm
          {...common}
          title={`Reset the delay of ${many(ids)}?`}
          verb="Reset delay"
          done={`The delay of ${many(ids)} is reset.`}
          send={async (id) => {
            await call(`v2/queue/${idPath(id)}/delay`, { method: 'DELETE' });
            return {};
          }}
        >
          <p>After failures Marathon waits before it starts instances again. This starts them now.</p>
        </Confirm>
      );
  }
}

export function askGroup(name: 'create' | 'scale' | 'suspend' | 'destroy', group: string): void {
  dialog.value = <GroupAction key={`${name} ${group}`} name={name} group={group} />;
}

function GroupAction({ name, group }: { name: 'create' | 'scale' | 'suspend' | 'destroy'; group: string }) {
  const [text, setText] = useState(name === 'scale' ? '1.0' : '');
  const path = `v2/groups/${idPath(group)}`;
  const below = [...apps.keys()].filter((id) => isBelow(id, group)).length;
  const link = { text: 'Show', place: { at: 'apps' as const, group } };
  const scaled = (factor: number) => ({
    send: (_: string, force: boolean) => call<Result>(path + query(force, false), { method: 'PUT', body: { scaleBy: factor } }),
    dry: (_: string, force: boolean) => call<Preview>(path + query(force, true), { method: 'PUT', body: { scaleBy: factor } }),
  });
  switch (name) {
    case 'create': {
      const id = absolute(`${group}/${text}`);
      const fits = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?)*$/.test(text.replace(/^\/+/, ''));
      return (
        <Confirm
          title="New group"
          verb="Create group"
          done={`Group ${id} is created.`}
          targets={[id]}
          link={{ text: 'Open', place: { at: 'apps', group: id } }}
          send={() => call<Result>('v2/groups', { method: 'POST', body: { id } })}
          {...(text !== '' && !fits ? { invalid: 'Names have lower case letters, digits, dots and hyphens, and begin and end with a letter or digit.' } : {})}
        >
          <p>Groups hold applications, as folders do. They can be scaled and destroyed as a whole.</p>
          <div class="field">
            <label for="group-id">Name of the group</label>
            <span class="prefixed"><span>{group === '/' ? '/' : `${group}/`}</span><input id="group-id" required autofocus autocomplete="off" value={text} onInput={(event) => setText(event.currentTarget.value)} /></span>
          </div>
        </Confirm>
      );
    }
    case 'scale': {
      const factor = /^\d{1,4}(\.\d{1,4})?$/.test(text.trim()) ? Number(text) : undefined;
      return (
        <Confirm
          {...scaled(factor ?? 1)}
          title={`Scale group ${group}`}
          verb="Scale"
          done={`Scaling group ${group} by ${text}.`}
          targets={[group]}
          link={link}
          dryKey={text}
          {...(factor === undefined ? { invalid: 'The factor is a number such as 2 or 0.5.' } : {})}
        >
          <p>The number of instances of {plural(below, 'application')} is multiplied.</p>
          <div class="field"><label for="group-factor">Factor</label><input id="group-factor" inputMode="decimal" autofocus value={text} onInput={(event) => setText(event.currentTarget.value)} /></div>
        </Confirm>
      );
    }
    case 'suspend':
      return (
        <Confirm {...scaled(0)} title={`Suspend group ${group}?`} verb="Suspend" done={`Suspending group ${group}.`} targets={[group]} link={link}>
          <p>All instances of {plural(below, 'application')} are stopped. The definitions stay.</p>
        </Confirm>
      );
    case 'destroy':
      return (
        <Confirm
          title={`Destroy group ${group}?`}
          verb="Destroy"
          danger
          done={`Destroying group ${group}.`}
          targets={[group]}
          link={{ text: 'Deployments', place: { at: 'deployments' } }}
          send={(_, force) => call<Result>(path + query(force, false), { method: 'DELETE' })}
          dry={(_, force) => call<Preview>(path + query(force, true), { method: 'DELETE' })}
          sent={() => {
            const { place } = route.value;
            if (place.at === 'apps' && (place.group === group || isBelow(place.group, group))) go({ at: 'apps', group: '/' });
          }}
        >
          <p>{plural(below, 'application')} below it are destroyed with it. <b>This cannot be undone.</b></p>
        </Confirm>
      );
  }
}

/** `scale`: the app then wants so many fewer. `wipe`: its volumes are given up, too. */
export function askKill(appId: string, ids: string[], how: 'kill' | 'scale' | 'wipe', sent?: () => void): void {
  const words = plural(ids.length, 'instance');
  const options = how === 'kill' ? '' : how === 'scale' ? '&scale=true' : '&wipe=true';
  dialog.value = (
    <Confirm
      key={`${how} ${ids.join()}`}
      title={`Kill ${words} of ${appId}${how === 'scale' ? ' and scale down' : how === 'wipe' ? ' and wipe the volumes' : ''}?`}
      verb={how === 'scale' ? 'Kill and scale' : how === 'wipe' ? 'Kill and wipe' : 'Kill'}
      danger
      done={`Killing ${words} of ${appId}.`}
      targets={[appId]}
      send={(_, force) => call<Result>(`v2/tasks/delete?force=${force}${options}`, { method: 'POST', body: { ids } })}
      {...(sent ? { sent } : {})}
    >
      <p>
        {how === 'kill' && 'They are stopped, and new ones are started in their place.'}
        {how === 'scale' && `They are stopped, and the application wants ${words} fewer from then on.`}
        {how === 'wipe' && 'They are stopped and their persistent volumes are destroyed. What is on these volumes is lost.'}
      </p>
    </Confirm>
  );
}

export function askDeployment(id: string, how: 'rollback' | 'stop', affected: string[]): void {
  const what = affected.length === 0 ? 'the deployment' : affected.length === 1 ? affected[0]! : plural(affected.length, 'application');
  dialog.value = (
    <Confirm
      key={`${how} ${id}`}
      title={how === 'rollback' ? `Roll back ${what}?` : `Stop the deployment of ${what}?`}
      verb={how === 'rollback' ? 'Roll back' : 'Stop here'}
      danger
      done={how === 'rollback' ? `Rolling back ${what}.` : `The deployment of ${what} is stopped.`}
      targets={[id]}
      link={{ text: 'Deployments', place: { at: 'deployments' } }}
      send={async (it) => (await call<Result | undefined>(`v2/deployments/${it}${how === 'stop' ? '?force=true' : ''}`, { method: 'DELETE' })) ?? {}}
      dry={(it) => call<Preview>(`v2/deployments/${it}?dryRun=true${how === 'stop' ? '&force=true' : ''}`, { method: 'DELETE' })}
    >
      <p>
        {how === 'rollback'
          ? 'A new deployment puts back what this one changed. Instances of the former version that are still there are kept.'
          : 'It ends where it is: what was changed stays changed, instances of both versions may remain. Nothing is put back.'}
      </p>
    </Confirm>
  );
}

export function askPod(name: 'destroy' | 'scale', id: string, present: number): void {
  dialog.value = <PodAction key={`${name} ${id}`} name={name} id={id} present={present} />;
}

function PodAction({ name, id, present }: { name: 'destroy' | 'scale'; id: string; present: number }) {
  const [text, setText] = useState(String(present));
  const path = `v2/pods/${idPath(id)}`;
  const instances = /^\d{1,6}$/.test(text.trim()) ? Number(text) : undefined;
  const link = { text: 'Show', place: { at: 'pod' as const, id } };
  // The API takes whole pods only.
  const scaled = async <T,>(force: boolean, dry: boolean) => {
    const spec = await call<Record<string, unknown>>(path);
    delete spec.version;
    return call<T>(path + query(force, dry), { method: 'PUT', body: { ...spec, scaling: { kind: 'fixed', instances } } });
  };
  if (name === 'scale') {
    return (
      <Confirm
        title={`Scale ${id}`} verb="Scale" done={`Scaling ${id} to ${instances}.`} targets={[id]} link={link} dryKey={text}
        send={async (_, force) => { await scaled(force, false); return {}; }}
        dry={(_, force) => scaled<Preview>(force, true)}
        {...(instances === undefined ? { invalid: 'The number of instances is a whole number, 0 or more.' } : {})}
      >
        <div class="field"><label for="pod-scale">Instances</label><input id="pod-scale" type="number" min="0" autofocus value={text} onInput={(event) => setText(event.currentTarget.value)} /></div>
      </Confirm>
    );
  }
  return (
    <Confirm
      title={`Destroy ${id}?`} verb="Destroy" danger done={`Destroying ${id}.`} targets={[id]} link={{ text: 'Deployments', place: { at: 'deployments' } }}
      send={async (_, force) => { await call(path + query(force, false), { method: 'DELETE' }); return {}; }}
      dry={(_, force) => call<Preview>(path + query(force, true), { method: 'DELETE' })}
      sent={() => { if (route.value.place.at === 'pod') go({ at: 'pods' }); }}
    >
      <p>All its instances are stopped and the definition is removed. <b>This cannot be undone.</b></p>
    </Confirm>
  );
}
