// The end of a file, as it is written. One request at a time waits at the server until there is something new.

import { useComputed, useSignal } from '@preact/signals';
import { memo } from 'preact/compat';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { bytes, plural } from '../lib/format.ts';
import { NOTHING, appended, found, type Lines } from '../lib/log.ts';
import { ApiError, call, url, wordsOf } from '../state/api.ts';
import { Icon, Loading, Problem } from './basic.tsx';

interface Piece {
  data: string;
  offset: number;
  next: number;
  size: number;
  file: string | null;
  restarted: boolean;
  ended: boolean;
}

/** So much of the end is shown at first. */
const BEGIN_BYTES = 128 * 1024;
const WAIT_SECONDS = 20;
const CHUNK = 100;

export function filesPath(task: string): string {
  return `v2/tasks/${encodeURIComponent(task)}/files`;
}

export function LogView({ task, path }: { task: string; path: string }) {
  const lines = useSignal<Lines>(NOTHING);
  const first = useSignal<number | undefined>(undefined);
  const size = useSignal(0);
  const state = useSignal<'loading' | 'live' | 'ended'>('loading');
  const problem = useSignal('');
  const following = useSignal(true);
  const word = useSignal('');
  const only = useSignal(false);
  const wrap = useSignal(false);
  const at = useSignal(0);
  const round = useSignal(0);
  const box = useRef<HTMLDivElement>(null);
  const input = useRef<HTMLInputElement>(null);

  useEffect(() => {
    const stop = new AbortController();
    void follow(stop.signal);
    return () => stop.abort();
  }, [task, path, round.value]);

  const follow = async (signal: AbortSignal) => {
    lines.value = NOTHING;
    state.value = 'loading';
    problem.value = '';
    const read = (offset: number, file: string | null, wait: number) => {
      const query = new URLSearchParams([['path', path], ['offset', String(offset)]]);
      if (file !== null) query.set('file', file);
      if (wait > 0) query.set('wait', String(wait));
      return call<Piece>(`${filesPath(task)}/read?${query}`, { signal });
    };
    let failures = 0;
    let offset: number | undefined;
    let file: string | null = null;
    while (!signal.aborted) {
      try {
        if (offset === undefined) {
          const end = await read(-1, null, 0);
          offset = Math.max(0, end.size - BEGIN_BYTES);
          first.value = offset;
          file = end.file;
        }
        const began = Date.now();
        const piece = await read(offset, file, state.value === 'live' ? WAIT_SECONDS : 0);
        if (signal.aborted) return;
        if (piece.restarted) lines.value = appended(lines.value, `${lines.value.open ? '\n' : ''}— the file was rotated, and goes on —\n`);
        let data = piece.data;
        // What begins in the middle of a file begins with a whole line.
        if (lines.value === NOTHING && offset > 0) data = data.slice(data.indexOf('\n') + 1);
        lines.value = appended(lines.value, data);
        size.value = piece.size;
        offset = piece.next;
        file = piece.file;
        failures = 0;
        problem.value = '';
        if (piece.next >= piece.size) {
          state.value = piece.ended ? 'ended' : 'live';
          if (piece.ended) return;
          // A server that does not wait is asked once a second.
          if (piece.data === '' && Date.now() - began < 500) await pause(1_000, signal);
        }
      } catch (error) {
        if (signal.aborted) return;
        problem.value = wordsOf(error);
        if (error instanceof ApiError && error.status >= 400 && error.status < 500) {
          // The first line may not have been written yet.
          if (error.status !== 404 || failures++ > 2) return;
        }
        await pause(Math.min(8_000, 500 * 2 ** failures++), signal);
      }
    }
  };

  const hits = useComputed(() => found(lines.value.list, word.value));
  const shown = useComputed(() => {
    if (!only.value || word.value === '') return lines.value.list.map((text, line) => ({ text, line }));
    const kept = new Set(hits.value.map(([line]) => line));
    return [...kept].map((line) => ({ text: lines.value.list[line]!, line }));
  });
  useLayoutEffect(() => {
    const it = box.current;
    if (it && following.value) it.scrollTop = it.scrollHeight;
  }, [lines.value, only.value, wrap.value, following.value]);

  const jump = (step: number) => {
    if (hits.value.length === 0) return;
    at.value = (at.value + step + hits.value.length) % hits.value.length;
    following.value = false;
    requestAnimationFrame(() => box.current?.querySelector(`[data-line="${hits.value[at.value]?.[0]}"]`)?.scrollIntoView({ block: 'center' }));
  };
  const marked = hits.value[at.value]?.[0];
  const chunks: { text: string; line: number }[][] = [];
  for (let k = 0; k < shown.value.length; k += CHUNK) chunks.push(shown.value.slice(k, k + CHUNK));
  const download = url(`${filesPath(task)}/download?${new URLSearchParams([['path', path]])}`);
  return (
    <section class="log panel flush" aria-label={`${path} of ${task}`}>
      <div class="log-bar">
        <label class="search">
          <span class="hidden">Search in {path}</span><Icon name="search" />
          <input
            ref={input}
            type="search"
            placeholder="Search in this log"
            value={word.value}
            onInput={(event) => {
              word.value = event.currentTarget.value;
              at.value = 0;
              if (word.value !== '') jump(0);
            }}
            onKeyDown={(event) => {
              if (event.key === 'Enter') jump(event.shiftKey ? -1 : 1);
            }}
          />
        </label>
        {word.value !== '' && (
          <>
            <span class="dim nowrap" role="status">{hits.value.length === 0 ? 'not found' : `${at.value + 1} of ${hits.value.length}${hits.value.length === 2_000 ? ' or more' : ''}`}</span>
            <button type="button" class="quiet icon-only" aria-label="Previous hit" onClick={() => jump(-1)}><Icon name="up" /></button>
            <button type="button" class="quiet icon-only" aria-label="Next hit" onClick={() => jump(1)}><Icon name="down" /></button>
            <label class="check-line"><input type="checkbox" checked={only.value} onChange={() => (only.value = !only.value)} /> only these lines</label>
          </>
        )}
        <span class="right h-actions">
          <span class={`light ${state.value === 'live' ? 'live' : ''}`}><i aria-hidden="true" /><span>{state.value === 'live' ? 'Live' : state.value === 'ended' ? 'Ended' : 'Loading'}</span></span>
          <label class="check-line"><input type="checkbox" checked={wrap.value} onChange={() => (wrap.value = !wrap.value)} /> wrap</label>
          <label class="check-line"><input type="checkbox" checked={following.value} onChange={() => (following.value = !following.value)} /> follow</label>
          <a class="button" href={download} download><Icon name="download" /> Download <small class="dim">{bytes(size.value)}</small></a>
        </span>
      </div>
      {problem.value !== '' && <Problem text={problem.value} retry={() => round.value++} />}
      <div
        ref={box}
        class={`log-text${wrap.value ? ' wrapped' : ''}`}
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={`Text of ${path}`}
        onScroll={(event) => {
          const it = event.currentTarget;
          following.value = it.scrollHeight - it.scrollTop - it.clientHeight < 30;
        }}
      >
        {(first.value ?? 0) > 0 && <p class="log-note">Only the end is shown. <a href={download} download>Download the whole file</a></p>}
        {lines.value.dropped > 0 && <p class="log-note">{plural(lines.value.dropped, 'older line')} left out.</p>}
        {state.value === 'loading' && problem.value === '' && <Loading what={path} />}
        {state.value !== 'loading' && lines.value.list.length === 0 && <p class="log-note">It is empty{state.value === 'live' ? ' so far; what is written appears here' : ''}.</p>}
        {chunks.map((it, k) => <Chunk key={k} lines={it} word={word.value} marked={marked !== undefined && it.some((one) => one.line === marked) ? marked : -1} />)}
      </div>
    </section>
  );
}

const Chunk = memo(
  function Chunk({ lines, word, marked }: { lines: { text: string; line: number }[]; word: string; marked: number }) {
    return <div class="chunk">{lines.map((it) => <div key={it.line} data-line={it.line} class={it.line === marked ? 'hit' : ''}>{word === '' ? it.text : lit(it.text, word)}{'\n'}</div>)}</div>;
  },
  (a, b) => a.word === b.word && a.marked === b.marked && a.lines.length === b.lines.length
    && a.lines[0]?.line === b.lines[0]?.line && a.lines[0]?.text === b.lines[0]?.text && a.lines.at(-1)?.text === b.lines.at(-1)?.text,
);

function lit(text: string, word: string) {
  const parts = [];
  let from = 0;
  for (const [, begin, end] of found([text], word)) {
    parts.push(text.slice(from, begin), <mark key={begin}>{text.slice(begin, end)}</mark>);
    from = end;
  }
  parts.push(text.slice(from));
  return parts;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

