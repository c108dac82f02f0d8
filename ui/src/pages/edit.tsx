// Create and edit: the form and its JSON side by side, what the change would do, and the button that does it.

import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { definitionOf } from '../lib/fields.ts';
import { isObject, parse, text, type JsonObject } from '../lib/json.ts';
import { nameOf, parentOf, trail } from '../lib/model.ts';
import { absolute, type Place } from '../lib/route.ts';
import { Crumbs, Empty, Icon, Link, Loading, Problem } from '../parts/basic.tsx';
import { Diff } from '../parts/diff.tsx';
import { DraftContext } from '../parts/form.tsx';
import { PreviewView } from '../parts/preview.tsx';
import { ApiError, idPath, wordsOf } from '../state/api.ts';
import { Draft, type Target } from '../state/draft.ts';
import { useResource } from '../state/resource.ts';
import { expectChange } from '../state/store.ts';
import { go, route, toast } from '../state/view.ts';
import { AppForm } from './app-form.tsx';

export function CreatePage() {
  const { query } = route.value;
  const given = query.get('definition');
  const group = query.get('group');
  const origin = useMemo((): JsonObject => {
    const parsed = given ? parse(given) : undefined;
    if (parsed && 'value' in parsed && isObject(parsed.value)) return parsed.value;
    return { id: group ? `${group}/` : '', cmd: '', cpus: 0.1, mem: 128, instances: 1 };
  }, [given, group]);
  const target: Target = { name: given ? `app ${given}` : 'app', method: 'POST', path: () => 'v2/apps' };
  return (
    <Editor
      key={target.name + (group ?? '')}
      title="New application"
      crumbs={[{ text: 'Applications', to: { at: 'apps', group: group ?? '/' } }, { text: 'New application' }]}
      verb="Create application"
      done={(id) => `Creating ${id}.`}
      target={target}
      origin={origin}
      cancel={{ at: 'apps', group: group ?? '/' }}
      after={(id) => ({ at: 'app', id, tab: 'instances' })}
      form={<AppForm isNew />}
    />
  );
}

export function EditPage({ id }: { id: string }) {
  const version = route.value.query.get('version');
  const path = version ? `v2/apps/${idPath(id)}/versions/${encodeURIComponent(version)}` : `v2/apps/${idPath(id)}`;
  const { data, error, status, again } = useResource<JsonObject>(path, [], (it) => definitionOf(((it as { app?: object }).app ?? it) as object));
  // What others change meanwhile must not replace what is being typed: the first answer stays.
  const first = useRef<JsonObject | undefined>(undefined);
  first.current ??= data;
  const present = useResource<JsonObject>(version ? `v2/apps/${idPath(id)}` : undefined, [], (it) => definitionOf((it as { app: object }).app));
  const crumbs = [
    ...trail(parentOf(id)).map((group) => ({ text: group === '/' ? 'Applications' : nameOf(group), to: { at: 'apps', group } as Place })),
    { text: nameOf(id), to: { at: 'app', id, tab: 'instances' } as Place },
    { text: 'Edit' },
  ];
  if (!first.current) {
    if (status === 404) return <Empty title={`The application ${id} does not exist`}><Link to={{ at: 'create' }} class="button">Create one</Link></Empty>;
    return error !== '' ? <Problem text={error} retry={again} /> : <Loading what={id} />;
  }
  return (
    <Editor
      key={id + (version ?? '')}
      title={`Edit ${id}`}
      crumbs={crumbs}
      verb="Change and deploy"
      done={() => `Changing ${id}.`}
      target={{ name: `app ${id}${version ? ` ${version}` : ''}`, method: 'PUT', path: () => `v2/apps/${idPath(id)}?partialUpdate=false` }}
      origin={first.current}
      before={version ? present.data : first.current}
      cancel={{ at: 'app', id, tab: version ? 'configuration' : 'instances' }}
      after={() => ({ at: 'app', id, tab: 'instances' })}
      form={<AppForm isNew={false} />}
    />
  );
}

interface EditorProps {
  title: string;
  crumbs: { text: string; to?: Place }[];
  verb: string;
  done: (id: string) => string;
  target: Target;
  origin: JsonObject;
  /** What is in force, for the differences. */
  before?: JsonObject | undefined;
  cancel: Place;
  after: (id: string) => Place;
  form?: ComponentChildren;
}

export function Editor(props: EditorProps) {
  const draft = useMemo(() => new Draft(props.target, props.origin), []);
  const sending = useSignal(false);
  const failure = useSignal('');
  const loose = useSignal<string[]>([]);
  const root = useRef<HTMLFormElement>(null);
  useEffect(() => () => draft.leave(), []);

  // Errors that no field shows are told above the buttons.
  useEffect(() => {
    const fields = [...(root.current?.querySelectorAll<HTMLElement>('[data-field]') ?? [])];
    const isShown = (key: string) => fields.some((it) => it.dataset.field === key || (it.dataset.deep !== undefined && key.startsWith(`${it.dataset.field}.`)));
    loose.value = draft.attempted.value || draft.touched.value.size > 0
      ? draft.errors.value.filter((it) => !isShown(it.key)).map((it) => (it.key === '' ? it.text : `${it.key}: ${it.text}`))
      : [];
  }, [draft.errors.value, draft.attempted.value, draft.touched.value]);

  const send = async () => {
    if (sending.value) return;
    draft.attempted.value = true;
    if (draft.syntax.value !== '') {
      failure.value = `The JSON is not whole: ${draft.syntax.value}`;
      return;
    }
    sending.value = true;
    failure.value = '';
    try {
      const result = (await draft.send(draft.locked.value)) as { deploymentId?: string; deployments?: { id: string }[]; id?: string } | undefined;
      draft.sent();
      const id = absolute(String(draft.definition.value.id ?? result?.id ?? ''));
      expectChange(id);
      toast({ kind: 'info', text: props.done(id), deployment: result?.deploymentId ?? result?.deployments?.[0]?.id });
      go(props.after(id));
    } catch (error) {
      failure.value = error instanceof ApiError && error.isLocked ? '' : wordsOf(error);
      // To the first field that is wrong.
      setTimeout(() => root.current?.querySelector<HTMLElement>('[aria-invalid=true]')?.focus(), 50);
    }
    sending.value = false;
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      void send();
    }
  };
  const look = draft.look.value;
  return (
    <DraftContext.Provider value={draft}>
      <form
        ref={root}
        class="page editor-page"
        noValidate
        onKeyDown={onKey}
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <h1 class="hidden">{props.title}</h1>
        <div class="page-head"><Crumbs items={props.crumbs} /></div>
        {draft.restored.value && (
          <p class="notice" role="status">
            <Icon name="about" /> <span>What you had typed here before is back.</span>
            <button type="button" onClick={() => draft.discard()}>Begin anew</button>
          </p>
        )}
        <div class={props.form ? 'editor' : 'editor json-only'}>
          {props.form && <div class="editor-form">{props.form}</div>}
          <div class="editor-side">
            <JsonText draft={draft} />
            <section class="panel" aria-labelledby="preview-title" aria-live="polite">
              <h2 id="preview-title">What will happen</h2>
              {look.is === 'working' || look.is === 'none' ? <p class="dim">Working it out …</p> : null}
              {look.is === 'ready' && <PreviewView it={look.preview} brief={props.before === undefined} />}
              {look.is === 'refused' && (
                draft.attempted.value || draft.touched.value.size > 0
                  ? <p class="field-error"><Icon name="warning" /> It cannot be done like this: {look.text}{draft.errors.value.length > 0 && '. See the fields marked.'}</p>
                  : <p class="dim">Fill in an id and a command or an image: what would happen appears here while you type.</p>
              )}
              {look.is === 'unanswered' && <Problem text={`${look.text} What you type is kept in this browser.`} />}
            </section>
            {props.before && draft.changed.value && draft.syntax.value === '' && (
              <section class="panel" aria-labelledby="diff-title">
                <h2 id="diff-title">What you change</h2>
                <Diff before={text(props.before)} after={text(draft.definition.value)} left="now" right="then" />
              </section>
            )}
          </div>
        </div>
        <div class="editor-end">
          <div class="editor-problems" role="alert">
            {loose.value.map((it) => <p key={it} class="field-error"><Icon name="warning" /> {it}</p>)}
            {failure.value !== '' && <p class="field-error"><Icon name="warning" /> {failure.value}</p>}
            {draft.locked.value && <p class="warn-text"><Icon name="warning" /> It is being changed by another deployment. <Link to={{ at: 'deployments' }}>Wait for it</Link>, or stop it and go on.</p>}
            {loose.value.length === 0 && failure.value === '' && !draft.locked.value && look.is === 'ready' && draft.changed.value && <p class="dim">{look.preview.message}</p>}
          </div>
          <Link to={props.cancel} class="button">Cancel</Link>
          <button type="submit" class={draft.locked.value ? 'primary danger' : 'primary'} disabled={sending.value} title="Ctrl Enter">
            {sending.value ? 'Sending …' : draft.locked.value ? 'Stop that deployment and deploy this' : props.verb}
          </button>
        </div>
      </form>
    </DraftContext.Provider>
  );
}

function JsonText({ draft }: { draft: Draft }) {
  const lines = draft.source.value.split('\n').length;
  return (
    <section class="panel json" aria-labelledby="json-title">
      <h2 id="json-title">JSON {draft.syntax.value !== '' && <span class="badge bad"><i aria-hidden="true" />not whole</span>}</h2>
      <textarea
        class="mono"
        aria-label="Definition as JSON"
        aria-invalid={draft.syntax.value !== ''}
        aria-describedby="json-error"
        spellcheck={false}
        rows={Math.min(18, Math.max(10, lines + 1))}
        value={draft.source.value}
        onInput={(event) => draft.write(event.currentTarget.value)}
        onKeyDown={(event) => {
          // A new line begins where the one before did.
          if (event.key !== 'Enter' || event.ctrlKey || event.metaKey || event.isComposing) return;
          const it = event.currentTarget;
          const before = it.value.slice(0, it.selectionStart);
          const indent = /[ \t]*/.exec(before.slice(before.lastIndexOf('\n') + 1))![0] + (/[[{]$/.test(before) ? '  ' : '');
          if (indent === '') return;
          event.preventDefault();
          it.setRangeText(`\n${indent}`, it.selectionStart, it.selectionEnd, 'end');
          draft.write(it.value);
        }}
      />
      <p class="field-error" id="json-error">{draft.syntax.value}</p>
    </section>
  );
}
