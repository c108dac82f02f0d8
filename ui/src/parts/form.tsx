// Fields of a form that edits a draft. Each shows the errors of its own path, in the server's words.

import { createContext, type ComponentChildren } from 'preact';
import { useContext, useEffect, useRef, useState } from 'preact/hooks';
import { get, isObject, keyOf, type Json, type Path } from '../lib/json.ts';
import type { Draft } from '../state/draft.ts';
import { Icon } from './basic.tsx';

export const DraftContext = createContext<Draft | undefined>(undefined);

export function useDraft(): Draft {
  const draft = useContext(DraftContext);
  if (!draft) throw new Error('a field outside of a form');
  return draft;
}

/** Errors at this path, and below it where no field is nearer. */
function useErrors(path: Path, deep: boolean): string[] {
  const draft = useDraft();
  const key = keyOf(path);
  const near = (it: string) => it === key || (deep && it.startsWith(key + '.'));
  const visible = (it: string) => draft.attempted.value || [...draft.touched.value].some((one) => one === it || it.startsWith(one + '.') || one.startsWith(key));
  return draft.errors.value.filter((it) => near(it.key) && visible(it.key)).map((it) => (it.key === key ? it.text : `${it.key.slice(key.length + 1)}: ${it.text}`));
}

interface FieldProps {
  path: Path;
  label: string;
  hint?: ComponentChildren;
  deep?: boolean;
  class?: string;
  children: (ids: { id: string; invalid: boolean; describedBy: string | undefined }) => ComponentChildren;
}

export function Field({ path, label, hint, deep = false, children, ...rest }: FieldProps) {
  const errors = useErrors(path, deep);
  const id = `f-${keyOf(path).replace(/[^\w-]/g, '-')}`;
  const described = [hint && `${id}-hint`, errors.length > 0 && `${id}-error`].filter(Boolean).join(' ');
  return (
    <div class={`field ${rest.class ?? ''}`} data-field={keyOf(path)} data-deep={deep ? '' : undefined}>
      <label for={id}>{label}</label>
      {children({ id, invalid: errors.length > 0, describedBy: described || undefined })}
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
      {errors.length > 0 && <p class="field-error" id={`${id}-error`}>{errors.join('; ')}</p>}
    </div>
  );
}

interface TextProps {
  path: Path;
  label: string;
  hint?: ComponentChildren;
  placeholder?: string;
  lines?: number;
  mono?: boolean;
  class?: string;
  disabled?: boolean;
  autofocus?: boolean;
}

export function TextField({ path, label, hint, placeholder, lines, mono, disabled, autofocus, ...rest }: TextProps) {
  const draft = useDraft();
  const value = get(draft.definition.value, path);
  const text = typeof value === 'string' ? value : value === undefined || value === null ? '' : JSON.stringify(value);
  const change = (next: string) => draft.update(path, next === '' ? undefined : next);
  return (
    <Field path={path} label={label} hint={hint} class={rest.class ?? ''}>
      {({ id, invalid, describedBy }) => lines
        ? <textarea id={id} rows={lines} class={mono ? 'mono' : ''} spellcheck={false} value={text} placeholder={placeholder} aria-invalid={invalid} aria-describedby={describedBy} onInput={(event) => change(event.currentTarget.value)} />
        : <input id={id} class={mono ? 'mono' : ''} spellcheck={false} autocomplete="off" value={text} placeholder={placeholder} disabled={disabled} autofocus={autofocus} aria-invalid={invalid} aria-describedby={describedBy} onInput={(event) => change(event.currentTarget.value)} />}
    </Field>
  );
}

/** What is no number goes into the definition as it was typed: the server then says at this field that it must be one. */
export function NumberField({ path, label, hint, placeholder, ...rest }: TextProps) {
  const draft = useDraft();
  const value = get(draft.definition.value, path);
  const [typed, setTyped] = useState('');
  const meant = typed.trim() === '' ? undefined : Number.isFinite(Number(typed)) ? Number(typed) : typed;
  const text = meant === value ? typed : value === undefined || value === null ? '' : String(value);
  return (
    <Field path={path} label={label} hint={hint} class={rest.class ?? ''}>
      {({ id, invalid, describedBy }) => (
        <input
          id={id} inputMode="decimal" autocomplete="off" value={text} placeholder={placeholder} aria-invalid={invalid} aria-describedby={describedBy}
          onInput={(event) => {
            const next = event.currentTarget.value;
            setTyped(next);
            draft.update(path, next.trim() === '' ? undefined : Number.isFinite(Number(next)) ? Number(next) : next);
          }}
        />
      )}
    </Field>
  );
}

export function SelectField({ path, label, options, hint, ...rest }: { path: Path; label: string; options: [string, string][]; hint?: ComponentChildren; class?: string }) {
  const draft = useDraft();
  const value = get(draft.definition.value, path);
  const text = typeof value === 'string' ? value : '';
  const all = options.some(([it]) => it === text) ? options : [...options, [text, text] as [string, string]];
  return (
    <Field path={path} label={label} hint={hint} class={rest.class ?? ''}>
      {({ id, invalid, describedBy }) => (
        <select id={id} value={text} aria-invalid={invalid} aria-describedby={describedBy} onChange={(event) => draft.update(path, event.currentTarget.value === '' ? undefined : event.currentTarget.value)}>
          {all.map(([it, words]) => <option key={it} value={it}>{words}</option>)}
        </select>
      )}
    </Field>
  );
}

export function CheckField({ path, label }: { path: Path; label: string }) {
  const draft = useDraft();
  const id = `f-${keyOf(path).replace(/[^\w-]/g, '-')}`;
  const errors = useErrors(path, false);
  return (
    <div class="field" data-field={keyOf(path)}>
      <span class="check-line">
        <input id={id} type="checkbox" checked={get(draft.definition.value, path) === true} onChange={(event) => draft.update(path, event.currentTarget.checked ? true : undefined)} />
        <label for={id}>{label}</label>
      </span>
      {errors.length > 0 && <p class="field-error">{errors.join('; ')}</p>}
    </div>
  );
}

/** A list of texts, one a line; each line is what `read` makes of it. */
export function LinesField({ path, label, hint, placeholder, write = String, read = (it) => it, join = '\n' }: {
  path: Path; label: string; hint?: ComponentChildren; placeholder?: string; join?: '\n' | ', ';
  write?: (it: Json) => string; read?: (line: string) => Json;
}) {
  const draft = useDraft();
  const value = get(draft.definition.value, path);
  const shown = Array.isArray(value) ? value.map(write).join(join) : '';
  const [typed, setTyped] = useState(shown);
  const meant = (it: string): Json[] => it.split(join === '\n' ? '\n' : ',').map((line) => line.trim()).filter((line) => line !== '').map(read);
  const text = JSON.stringify(meant(typed)) === JSON.stringify(value ?? []) ? typed : shown;
  const change = (next: string) => {
    setTyped(next);
    const list = meant(next);
    draft.update(path, list.length === 0 ? undefined : list);
  };
  return (
    <Field path={path} label={label} hint={hint} deep>
      {({ id, invalid, describedBy }) => join === '\n'
        ? <textarea id={id} rows={Math.min(8, Math.max(2, text.split('\n').length))} class="mono" spellcheck={false} value={text} placeholder={placeholder} aria-invalid={invalid} aria-describedby={describedBy} onInput={(event) => change(event.currentTarget.value)} />
        : <input id={id} class="mono" spellcheck={false} value={text} placeholder={placeholder} aria-invalid={invalid} aria-describedby={describedBy} onInput={(event) => change(event.currentTarget.value)} />}
    </Field>
  );
}

/** A map as rows. A row without a key is not part of the definition yet. */
export function PairsField({ path, keyLabel, valueLabel }: { path: Path; keyLabel: string; valueLabel: string }) {
  const draft = useDraft();
  const value = get(draft.definition.value, path);
  const there = isObject(value) ? Object.entries(value) : [];
  const [rows, setRows] = useState<[string, Json][]>(there);
  const [more, setMore] = useState(0);
  const errors = useErrors(path, true);
  const asObject = (it: [string, Json][]) => Object.fromEntries(it.filter(([key]) => key !== ''));
  const same = JSON.stringify(asObject(rows)) === JSON.stringify(isObject(value) ? value : {});
  const shown = same ? rows : there;
  const last = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (more > 0) last.current?.focus();
  }, [more]);
  const change = (next: [string, Json][]) => {
    setRows(next);
    const object = asObject(next);
    draft.update(path, Object.keys(object).length === 0 ? undefined : object);
  };
  return (
    <div class="pairs" data-field={keyOf(path)} data-deep="">
      {shown.map(([key, it], at) => (
        <div class="pair" key={at}>
          <input ref={at === shown.length - 1 ? last : undefined} class="mono" aria-label={`${keyLabel} ${at + 1}`} placeholder={keyLabel} value={key} spellcheck={false}
            onInput={(event) => change(shown.map((row, k) => (k === at ? [event.currentTarget.value, row[1]] : row)))} />
          {typeof it === 'object' && it !== null
            ? <input class="mono" aria-label={`${valueLabel} ${at + 1}`} value={JSON.stringify(it)} readOnly title="Change it in the JSON" />
            : <input class="mono" aria-label={`${valueLabel} ${at + 1}`} placeholder={valueLabel} value={String(it ?? '')} spellcheck={false}
              onInput={(event) => change(shown.map((row, k) => (k === at ? [row[0], event.currentTarget.value] : row)))} />}
          <button type="button" class="quiet icon-only" aria-label={`Remove ${key || `row ${at + 1}`}`} onClick={() => change(shown.filter((_, k) => k !== at))}><Icon name="close" /></button>
        </div>
      ))}
      <button type="button" onClick={() => {
        setRows([...shown, ['', '']]);
        setMore(more + 1);
      }}><Icon name="plus" /> Add</button>
      {errors.length > 0 && <p class="field-error">{errors.join('; ')}</p>}
    </div>
  );
}

/** A list of objects, each with fields of its own. */
export function ListField({ path, one, fresh, children }: { path: Path; one: string; fresh: Json; children: (at: Path, value: Json) => ComponentChildren }) {
  const draft = useDraft();
  const value = get(draft.definition.value, path);
  const list = Array.isArray(value) ? value : [];
  const errors = useErrors(path, false);
  return (
    <div class="list-field" data-field={keyOf(path)}>
      {list.map((it, at) => (
        <fieldset class="list-item" key={at} data-field={keyOf([...path, at])}>
          <legend>{one} {at + 1}</legend>
          <div class="list-item-fields">{children([...path, at], it)}</div>
          <button type="button" class="quiet icon-only remove" aria-label={`Remove ${one.toLowerCase()} ${at + 1}`} onClick={() => draft.update(path, list.length === 1 ? undefined : list.filter((_, k) => k !== at))}><Icon name="close" /></button>
        </fieldset>
      ))}
      <button type="button" onClick={() => draft.update(path, [...list, fresh])}><Icon name="plus" /> Add {one.toLowerCase()}</button>
      {errors.length > 0 && <p class="field-error">{errors.join('; ')}</p>}
    </div>
  );
}

/** A part of the form that folds; it is open where it holds something, and marked where something in it is wrong. */
export function Section({ title, keys, children, open }: { title: string; keys: string[]; children: ComponentChildren; open?: boolean }) {
  const draft = useDraft();
  const filled = keys.filter((key) => {
    const value = draft.definition.value[key];
    return value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0) && !(isObject(value) && Object.keys(value).length === 0);
  }).length;
  const wrong = draft.errors.value.filter((it) => keys.some((key) => it.key === key || it.key.startsWith(key + '.')) && (draft.attempted.value || draft.touched.value.has(it.key))).length;
  const [initially] = useState(open ?? filled > 0);
  return (
    <details class="section" open={initially || wrong > 0}>
      <summary><h2>{title}</h2>{wrong > 0 ? <span class="badge bad"><i aria-hidden="true" />{wrong} to correct</span> : filled > 0 && !open ? <span class="dim">set</span> : null}</summary>
      <div class="section-body">{children}</div>
    </details>
  );
}
