// A definition that is being written: one JSON value behind a form and a text, errors by field, a preview, and a copy in
// the browser's storage, so that nothing typed is lost when a server, a page or a browser goes away.

import { signal, type Signal } from '@preact/signals';
import { isObject, keyOf, parse, put, text, type Json, type JsonObject, type Path } from '../lib/json.ts';
import { ApiError, call, wordsOf, type FieldError } from './api.ts';
import type { Preview } from '../parts/preview.tsx';

const PREFIX = 'marathon.draft.';
const PREVIEW_MS = 400;

export interface Target {
  /** Names the draft in the storage. */
  name: string;
  method: 'POST' | 'PUT';
  /** With a query already begun: `v2/apps?partialUpdate=false`. */
  path: (definition: JsonObject) => string;
}

export type Look =
  | { is: 'none' }
  | { is: 'working' }
  | { is: 'ready'; preview: Preview }
  | { is: 'refused'; text: string }
  | { is: 'unanswered'; text: string };

export class Draft {
  readonly definition: Signal<JsonObject>;
  readonly source: Signal<string>;
  readonly syntax = signal('');
  readonly errors = signal<readonly FieldError[]>([]);
  readonly touched = signal<ReadonlySet<string>>(new Set());
  /** From then on errors are shown at untouched fields, too. */
  readonly attempted = signal(false);
  readonly look = signal<Look>({ is: 'none' });
  readonly locked = signal(false);
  readonly restored = signal(false);
  readonly changed = signal(false);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private round = 0;

  constructor(readonly target: Target, readonly origin: JsonObject) {
    const kept = readKept(target.name);
    const begin = kept ?? text(origin);
    this.source = signal(begin);
    const parsed = parse(begin);
    this.definition = signal('value' in parsed && isObject(parsed.value) ? parsed.value : origin);
    if ('error' in parsed) this.syntax.value = parsed.error;
    if (kept !== undefined && kept !== text(origin)) {
      this.restored.value = true;
      this.changed.value = true;
    }
    this.lookSoon(0);
  }

  /** A change by the form. */
  update(path: Path, value: Json | undefined): void {
    this.definition.value = put(this.definition.value, path, value) as JsonObject;
    this.source.value = text(this.definition.value);
    this.syntax.value = '';
    this.touched.value = new Set([...this.touched.value, keyOf(path)]);
    this.after();
  }

  /** A change in the text. While it is no JSON the form stays as it was. */
  write(source: string): void {
    this.source.value = source;
    const parsed = parse(source);
    if ('error' in parsed) this.syntax.value = parsed.error;
    else if (!isObject(parsed.value)) this.syntax.value = 'The definition must be an object: { … }';
    else {
      this.syntax.value = '';
      this.definition.value = parsed.value;
    }
    this.attempted.value = true;
    this.after();
  }

  discard(): void {
    forget(this.target.name);
    this.definition.value = this.origin;
    this.source.value = text(this.origin);
    this.syntax.value = '';
    this.restored.value = this.changed.value = this.attempted.value = false;
    this.touched.value = new Set();
    this.errors.value = [];
    this.lookSoon(0);
  }

  sent(): void {
    forget(this.target.name);
    this.round++;
    clearTimeout(this.timer);
  }

  leave(): void {
    this.round++;
    clearTimeout(this.timer);
  }

  private after(): void {
    this.changed.value = this.source.value !== text(this.origin);
    try {
      if (this.changed.value) localStorage.setItem(PREFIX + this.target.name, this.source.value);
      else localStorage.removeItem(PREFIX + this.target.name);
    } catch {
      // Without storage the draft lives as long as the page.
    }
    this.lookSoon(PREVIEW_MS);
  }

  lookSoon(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.lookNow(), ms);
  }

  private async lookNow(): Promise<void> {
    const round = ++this.round;
    if (this.syntax.value !== '') {
      this.look.value = { is: 'refused', text: `The JSON is not whole: ${this.syntax.value}` };
      return;
    }
    if (this.look.value.is !== 'ready') this.look.value = { is: 'working' };
    const ask = (force: boolean) => this.call<Preview>(`dryRun=true${force ? '&force=true' : ''}`);
    let locked = false;
    try {
      const preview = await ask(false).catch((error: unknown) => {
        if (!(error instanceof ApiError && error.isLocked)) throw error;
        locked = true;
        return ask(true);
      });
      if (round !== this.round) return;
      this.errors.value = [];
      this.look.value = { is: 'ready', preview };
    } catch (error) {
      if (round !== this.round) return;
      const known = error instanceof ApiError;
      if (known && error.status >= 400 && error.status < 500 && error.status !== 401) {
        this.errors.value = conflicts(error);
        this.look.value = { is: 'refused', text: error.message };
      } else {
        this.look.value = { is: 'unanswered', text: wordsOf(error) };
        this.lookSoon(3_000);
      }
    }
    this.locked.value = locked;
  }

  async send(force: boolean): Promise<unknown> {
    try {
      return await this.call(force ? 'force=true' : '');
    } catch (error) {
      this.attempted.value = true;
      if (error instanceof ApiError) {
        if (error.isLocked) this.locked.value = true;
        else if (error.status > 0 && error.status < 500) this.errors.value = conflicts(error);
      }
      throw error;
    }
  }

  private call<T>(query: string): Promise<T> {
    const path = this.target.path(this.definition.value);
    const url = query === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${query}`;
    return call<T>(url, { method: this.target.method, body: this.definition.value });
  }
}

/** An id that is taken is an error of the field `id`. */
function conflicts(error: ApiError): FieldError[] {
  if (error.status === 409 && error.fields.length === 0 && !error.isLocked) return [{ key: 'id', text: error.message }];
  return error.fields;
}

function readKept(name: string): string | undefined {
  try {
    return localStorage.getItem(PREFIX + name) ?? undefined;
  } catch {
    return undefined;
  }
}

function forget(name: string): void {
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    // There was none.
  }
}
