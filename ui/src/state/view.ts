// What belongs to this page alone: where it is, the theme, the clock, messages, the open dialog.

import { computed, signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { format, parse, type Place, type Route } from '../lib/route.ts';

export const route = signal<Route>(parse(location.hash));
window.addEventListener('hashchange', () => {
  const next = parse(location.hash);
  // A dialog belongs to the place it was opened at.
  const elsewhere = JSON.stringify(next.place) !== JSON.stringify(route.value.place);
  if (elsewhere) closeDialog();
  route.value = next;
  if (elsewhere) arrive();
});

/** A new place begins at its top, an old one where it was left; the keyboard begins in the content. */
function arrive(): void {
  const known = (history.state as { seen?: boolean } | null)?.seen === true;
  if (!known) history.replaceState({ seen: true }, '');
  requestAnimationFrame(() => {
    if (!known) scrollTo(0, 0);
    if (document.activeElement === document.body) document.getElementById('main')?.focus({ preventScroll: true });
  });
}
history.replaceState({ seen: true }, '');

export function go(place: Place, query?: URLSearchParams): void {
  const hash = format(place, query);
  if (location.hash !== hash) location.hash = hash;
}

/** Changes the query of the present place; `replace`: without a step in the history (typing in a filter). */
export function setQuery(query: URLSearchParams, replace = false): void {
  const hash = format(route.value.place, query);
  if (replace) {
    history.replaceState(history.state, '', hash);
    route.value = parse(hash);
  } else {
    go(route.value.place, query);
  }
}

/** The present moment, for "3 s ago"; it ticks only while somebody may read it. */
export const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1000);

export type Theme = 'system' | 'light' | 'dark';
const THEME = 'marathon.theme';

function stored(): Theme {
  try {
    const text = localStorage.getItem(THEME);
    return text === 'light' || text === 'dark' ? text : 'system';
  } catch {
    return 'system';
  }
}

export const theme = signal<Theme>(stored());

export function applyTheme(it: Theme): void {
  theme.value = it;
  if (it === 'system') document.documentElement.removeAttribute('data-theme');
  else document.documentElement.setAttribute('data-theme', it);
  try {
    if (it === 'system') localStorage.removeItem(THEME);
    else localStorage.setItem(THEME, it);
  } catch {
    // Without storage the choice holds for this page.
  }
}

export interface Toast {
  id: number;
  kind: 'info' | 'ok' | 'error';
  text: string;
  /** Followed until it ends. */
  deployment?: string | undefined;
  link?: { text: string; place: Place } | undefined;
}

export const toasts = signal<readonly Toast[]>([]);
const TOASTS_MAX = 4;
let toastId = 0;

export function toast(it: Omit<Toast, 'id'>): number {
  const id = ++toastId;
  toasts.value = [...toasts.value, { ...it, id }].slice(-TOASTS_MAX);
  return id;
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((it) => it.id !== id);
}

/** At most one dialog is open. */
export const dialog = signal<ComponentChildren>(undefined);

export function closeDialog(): void {
  dialog.value = undefined;
}

export const title = computed(() => {
  const { place } = route.value;
  switch (place.at) {
    case 'apps': return place.group === '/' ? 'Applications' : place.group;
    case 'app': case 'pod': return place.id;
    case 'task': return `${place.app} · ${place.task}`;
    case 'create': return 'New application';
    case 'pod-create': return 'New pod';
    case 'edit': case 'pod-edit': return `Edit ${place.id}`;
    case 'deployments': return 'Deployments';
    case 'pods': return 'Pods';
    case 'cluster': return 'Cluster';
    case 'events': return 'Events';
    case 'about': return 'About';
    case 'nowhere': return 'Page not found';
  }
});
