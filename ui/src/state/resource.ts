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

/** `path` of `undefined`: nothing is read. `depends`: read again when one of these changes. */
export function useResource<T>(path: string | undefined, depends: readonly unknown[] = [], map?: (it: unknown) => T): Resource<T> {
  const state = useSignal<{ path: string | undefined; data: T | undefined; error: string; status: number | undefined }>({ path, data: undefined, error: '', status: undefined });
  const running = useRef(false);
  const wanted = useRef<string | undefined>(undefined);
  const alive = useRef(true);
  useEffect(() => () => void (alive.current = false), []);

  const read = async () => {
    if (running.current) return;
    running.current = true;
    while (wanted.current !== undefined && alive.current) {
      const now: string = wanted.current;
      wanted.current = undefined;
      const began = Date.now();
      try {
        const got = await call<unknown>(now);
        if (alive.current) state.value = { path: now, data: map ? map(got) : (got as T), error: '', status: undefined };
      } catch (error) {
        if (!alive.current) break;
        const gone = error instanceof ApiError && error.status === 404;
        const old = state.value.path === now && !gone ? state.value.data : undefined;
        state.value = { path: now, data: old, error: wordsOf(error), status: error instanceof ApiError ? error.status : undefined };
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

