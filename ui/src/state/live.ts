// The connection to the event stream: it lasts as long as the page is seen, comes back by itself, and misses
// nothing (`Last-Event-ID`) or says that it did.

import { signal } from '@preact/signals';
import { FrameReader } from '../lib/sse.ts';
import { ApiError, raw, wordsOf } from './api.ts';

export interface LiveEvent {
  id: string;
  type: string;
  at: string;
  data: Record<string, any>;
}

export type Connection =
  | { is: 'connecting' }
  | { is: 'live' }
  | { is: 'lost'; since: number; retryAt: number; why: string };

export const connection = signal<Connection>({ is: 'connecting' });

/** The server sends an empty line every 10 s; after so long without one the connection is dead. */
const SILENCE_MS = 25_000;
/** A tab nobody looks at lets go of its connection: browsers have six for each server, shared by all tabs. */
const HIDDEN_MS = 30_000;
const RETRY_MS_MAX = 8_000;

let lastId: string | undefined;
let current: AbortController | undefined;
let wake: (() => void) | undefined;

export function lastEventId(): string | undefined {
  return lastId;
}

/** Tries again at once, where it would wait. */
export function retryNow(): void {
  wake?.();
}

interface Listener {
  /** A new stream has begun. `missed`: what happened in between is not known. */
  joined(missed: boolean): void;
  heard(event: LiveEvent): void;
}

export async function listen(listener: Listener): Promise<never> {
  watchVisibility();
  let failures = 0;
  for (;;) {
    if (document.hidden && lastId !== undefined) await visible();
    let why = 'The connection was closed.';
    try {
      current = new AbortController();
      for await (const event of stream({ after: lastId, signal: current.signal })) {
        if (event === 'open') {
          if (lastId === undefined) listener.joined(true);
          failures = 0;
          connection.value = { is: 'live' };
          continue;
        }
        // Somebody who resumes behind the server's memory, or at another server, has missed something.
        if (event.type === 'event_stream_gap') {
          lastId = event.id === '' ? lastId : event.id;
          listener.joined(true);
          continue;
        }
        lastId = event.id;
        listener.heard(event);
      }
    } catch (error) {
      why = error instanceof ApiError ? error.message : wordsOf(error);
    }
    // Let go because nobody looks: no failure.
    if (document.hidden && lastId !== undefined) continue;
    failures++;
    // The first break is often a restart of a moment: it is not worth a word.
    const pause = failures === 1 ? 300 : Math.min(RETRY_MS_MAX, 500 * 2 ** (failures - 2));
    const since = connection.value.is === 'lost' ? connection.value.since : Date.now();
    if (failures > 1) connection.value = { is: 'lost', since, retryAt: Date.now() + pause, why };
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pause);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    wake = undefined;
  }
}

function watchVisibility(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => current?.abort(), HIDDEN_MS);
  });
  window.addEventListener('online', retryNow);
}

function visible(): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener('visibilitychange', look);
      resolve();
    };
    document.addEventListener('visibilitychange', look);
    look();
  });
}

interface Asked {
  after?: string | undefined;
  types?: readonly string[];
  signal: AbortSignal;
}

/** One connection: `open` once the server has answered, then its events. */
export async function* stream(asked: Asked): AsyncGenerator<LiveEvent | 'open'> {
  const query = new URLSearchParams([['plan-format', 'light'], ...(asked.types ?? []).map((it) => ['event_type', it])]);
  const headers: Record<string, string> = { Accept: 'text/event-stream' };
  if (asked.after !== undefined) headers['Last-Event-ID'] = asked.after;
  const silence = new AbortController();
  const either = AbortSignal.any([asked.signal, silence.signal]);
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await raw(`v2/events?${query}`, { headers, signal: either });
    yield 'open';
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    const frames = new FrameReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      for (const frame of frames.push(value)) {
        if (frame.data === '') continue;
        const data = JSON.parse(frame.data) as Record<string, any>;
        yield { id: frame.id ?? '', type: frame.event ?? String(data.eventType), at: String(data.timestamp), data };
      }
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** What the server still remembers (about 8,000 events of all types), oldest first; without `types`, of all. It is over
 * with the first arrival of a reader that the main stream has not told of: ours, or one just before, and from there on
 * the main stream has them, too. */
export async function* past(types: readonly string[], signal: AbortSignal): AsyncGenerator<LiveEvent> {
  const known = BigInt(lastId ?? '0');
  const own = new AbortController();
  const asked = types.length > 0 ? [...types, 'event_stream_attached'] : [];
  try {
    for await (const event of stream({ after: '0', types: asked, signal: AbortSignal.any([signal, own.signal]) })) {
      if (event === 'open' || event.type === 'event_stream_gap') continue;
      if (event.type === 'event_stream_attached' && BigInt(event.id || '0') > known) return;
      if (types.length === 0 || types.includes(event.type)) yield event;
    }
  } finally {
    own.abort();
  }
}
