// Something a screen reads by itself: read when the screen appears, again when something it depends on changes, never
// twice at a time, and what was read last stays in sight meanwhile.

import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { ApiError, call, wordsOf } from './api.ts';

export interface Resource<T> {
  data: T | undefined;
  error: string;
  /** The status of the refusal, 0 where there was no answer. */
  status: number | undefined;
  again: () => void;
}

/** No answer at all, or none at the moment: worth another try without being asked. */
const PASSING = new Set([0, 502, 503, 504]);
const RETRY_MS_MAX = 8_000;

/** `path` of `undefined`: nothing is read. `depends`: read again when one of these changes. */
export function useResource<T>(path: string | undefined, depends: readonly unknown[] = [], map?: (it: unknown) => T): Resource<T> {
  const state = useSignal<{ path: string | undefined; data: T | undefined; error: string; status: number | undefined }>({ path, data: undefined, error: '', status: undefined });
  const running = useRef(false);
  const wanted = useRef<string | undefined>(undefined);
  const alive = useRef(true);
  /** Failures that pass by themselves (no answer, no leader right now), one after the other. */
  const failures = useRef(0);
  const latest = useRef(path);
  latest.current = path;
  const retry = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => {
    alive.current = false;
    clearTimeout(retry.current);
  }, []);

  const read = async () => {
    if (running.current) return;
    running.current = true;
    clearTimeout(retry.current);
    while (wanted.current !== undefined && alive.current) {
      const now: string = wanted.current;
      wanted.current = undefined;
      const began = Date.now();
      try {
        const got = await call<unknown>(now);
        failures.current = 0;
        if (alive.current) state.value = { path: now, data: map ? map(got) : (got as T), error: '', status: undefined };
      } catch (error) {
        if (!alive.current) break;
        const gone = error instanceof ApiError && error.status === 404;
        const old = state.value.path === now && !gone ? state.value.data : undefined;
        state.value = { path: now, data: old, error: wordsOf(error), status: error instanceof ApiError ? error.status : undefined };
        if (error instanceof ApiError && PASSING.has(error.status)) {
          const pause = Math.min(RETRY_MS_MAX, 500 * 2 ** failures.current++);
          clearTimeout(retry.current);
          retry.current = setTimeout(() => {
            if (latest.current !== now) return;
            wanted.current = now;
            void read();
          }, pause);
        }
      }
      // What changes all the time is read a few times a second.
      if (wanted.current !== undefined) await new Promise((resolve) => setTimeout(resolve, pace(Date.now() - began)));
    }
    running.current = false;
  };
  const again = () => {
    wanted.current = path;
    void read();
  };
  useEffect(() => {
    if (path !== undefined) again();
  }, [path, ...depends]);
  const it = state.value;
  const fresh = it.path === path;
  return { data: fresh ? it.data : undefined, error: fresh ? it.error : '', status: fresh ? it.status : undefined, again };
}

function pace(took: number): number {
  return took < 400 ? Math.max(100, took / 2) : took * 3;
}

