// Calls to the server. Every url is relative to `/ui/`, so the page works below any path that a proxy gives it.

import { signal } from '@preact/signals';
import { keyOf, pathOf } from '../lib/json.ts';

export interface FieldError {
  /** As `keyOf` writes it; empty for the definition as a whole. */
  key: string;
  text: string;
}

/** A refusal or no answer at all, in words for a person. */
export class ApiError extends Error {
  constructor(
    /** 0: there was no answer. */
    readonly status: number,
    message: string,
    readonly fields: FieldError[] = [],
    /** Of a 409: the deployments in the way. */
    readonly deployments: string[] = [],
  ) {
    super(message);
  }

  get isLocked(): boolean {
    return this.status === 409 && this.deployments.length > 0;
  }
}

/** Whether the last call was refused for who we are: 401 asks to sign in, 403 to ask for permission. */
export const refused = signal<401 | 403 | undefined>(undefined);

export function url(path: string): string {
  return '../' + path.replace(/^\/+/, '');
}

/** `/a/b` as the API takes it in a path. */
export function idPath(id: string): string {
  return id.split('/').filter((it) => it !== '').map(encodeURIComponent).join('/');
}

interface Ask {
  method?: string;
  body?: unknown;
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

export async function raw(path: string, ask: Ask = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json', ...ask.headers };
  const init: RequestInit = { method: ask.method ?? 'GET', headers, signal: ask.signal, cache: 'no-store' };
  if (ask.body !== undefined) {
    headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(ask.body);
  }
  let response: Response;
  try {
    response = await fetch(url(path), init);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError(0, 'The server does not answer. Check that it runs and that this machine reaches it, then try again.');
  }
  noteRefusal(path.replace(/\?.*/, ''), response);
  if (!response.ok) throw await refusal(response);
  return response;
}

/** What was refused, and when: one other call that succeeds does not undo it, but the same one, or time, does. */
let lastRefusal = { path: '', at: 0 };
const REFUSED_MS = 5_000;

function noteRefusal(path: string, response: Response): void {
  if (response.status === 401 || response.status === 403) {
    refused.value = response.status;
    lastRefusal = { path, at: Date.now() };
  } else if (response.ok && refused.value !== undefined && (path === lastRefusal.path || Date.now() - lastRefusal.at > REFUSED_MS)) {
    refused.value = undefined;
  }
}

export async function call<T>(path: string, ask: Ask = {}): Promise<T> {
  const response = await raw(path, ask);
  const text = await response.text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

async function refusal(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => '');
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  return new ApiError(response.status, ...readRefusal(response.status, body));
}

const WORDS: Record<number, string> = {
  401: 'You are not signed in. Reload the page to sign in.',
  403: 'You are not allowed to do this. Ask whoever runs this Marathon for the permission.',
  404: 'It does not exist any more.',
  502: 'The leader cannot be reached right now; a new one may be elected. Try again in a moment.',
  503: 'The server cannot answer right now. Try again in a moment.',
  504: 'The server took too long to answer. The change may have been made: look before you try again.',
};

/** Message, errors by field and deployments in the way, from any of the bodies that the API has for refusals. */
export function readRefusal(status: number, body: unknown): [string, FieldError[], string[]] {
  const it = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const fields: FieldError[] = [];
  if (Array.isArray(it.details)) {
    for (const detail of it.details as { path?: string; errors?: string[] }[]) {
      const key = keyOf(pathOf(detail.path ?? ''));
      for (const text of detail.errors ?? []) fields.push({ key, text: plain(text) });
    }
  }
  const deployments = Array.isArray(it.deployments)
    ? (it.deployments as { id?: string }[]).map((one) => one.id ?? '').filter((id) => id !== '')
    : [];
  let message = typeof it.message === 'string' && it.message !== '' ? it.message : WORDS[status] ?? `The server answered with ${status}.`;
  if (typeof it.details === 'string') message = `${message}: ${it.details}`;
  if (status === 401 || status === 403) message = `${WORDS[status]} (${message})`;
  if (status === 409 && deployments.length > 0) message = 'It is being changed by a deployment that is not done yet.';
  return [message, fields, deployments];
}

const PLAIN: Record<string, string> = {
  'error.path.missing': 'is required',
  'error.expected.jsstring': 'must be a text',
  'error.expected.jsnumber': 'must be a number',
  'error.expected.jsboolean': 'must be true or false',
  'error.expected.jsarray': 'must be a list',
  'error.expected.jsobject': 'must be an object',
  'error.expected.int': 'must be a whole number',
  'error.expected.long': 'must be a whole number',
  'error.pattern': 'has characters that are not allowed here',
  'error.minLength': 'is too short',
  'error.maxLength': 'is too long',
  'error.min': 'is too small',
  'error.max': 'is too large',
};

function plain(text: string): string {
  if (PLAIN[text]) return PLAIN[text];
  return /^'.*' is undefined on object/.test(text) ? 'is required' : text;
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
