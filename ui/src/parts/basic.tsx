// The small parts that every screen is made of.

import type { ComponentChildren, TargetedKeyboardEvent } from 'preact';
import { useSignal } from '@preact/signals';
import { ago, moment, plural } from '../lib/format.ts';
import { format, type Place } from '../lib/route.ts';
import { SEGMENTS, type Bar, type Segment, type Status } from '../lib/model.ts';
import { now } from '../state/view.ts';

/** Drawn on a grid of 24 with one stroke; no icon carries a meaning that is not also written. */
const ICONS = {
  apps: 'M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z',
  pods: 'M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9',
  deployments: 'M12 20V8M6 13l6-6 6 6M5 4h14',
  cluster: 'M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01',
  events: 'M3 12h4l3-8 4 16 3-8h4',
  about: 'M12 3a9 9 0 100 18 9 9 0 000-18zM12 11v6M12 7.5v.01',
  folder: 'M3 6h6l2 2h10v11H3z',
  app: 'M5 5h14v14H5z',
  plus: 'M12 5v14M5 12h14',
  close: 'M6 6l12 12M18 6L6 18',
  search: 'M10.5 4a6.5 6.5 0 100 13 6.5 6.5 0 000-13zM15.5 15.5L20 20',
  sun: 'M12 8a4 4 0 100 8 4 4 0 000-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M5 19l2-2M17 7l2-2',
  moon: 'M20 14a8 8 0 01-10-10 8 8 0 1010 10z',
  auto: 'M12 3a9 9 0 100 18 9 9 0 000-18zM12 3v18',
  help: 'M12 3a9 9 0 100 18 9 9 0 000-18zM9.5 9.5a2.5 2.5 0 114 2c-1 .8-1.5 1.2-1.5 2.5M12 17v.01',
  up: 'M6 15l6-6 6 6',
  down: 'M6 9l6 6 6-6',
  right: 'M9 6l6 6-6 6',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  file: 'M6 3h8l4 4v14H6zM14 3v4h4',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  warning: 'M12 4l9 16H3zM12 10v4M12 17v.01',
  filter: 'M4 5h16l-6 8v6l-4-2v-4z',
  check: 'M5 12l5 5 9-10',
  out: 'M14 4h6v6M20 4l-9 9M18 14v6H4V6h6',
} as const;

export type IconName = keyof typeof ICONS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={ICONS[name]} />
    </svg>
  );
}

interface LinkProps {
  to: Place;
  query?: URLSearchParams;
  children: ComponentChildren;
  class?: string;
  label?: string;
  current?: boolean;
}

export function Link({ to, query, children, label, current, ...rest }: LinkProps) {
  return <a href={format(to, query)} aria-label={label} aria-current={current ? 'page' : undefined} class={rest.class}>{children}</a>;
}

export function Time({ at }: { at: string | undefined }) {
  if (!at) return <span class="dim">–</span>;
  return <time dateTime={at} title={moment(at)}>{ago(at, now.value)}</time>;
}

const STATUS_WORDS: Record<Status, string> = {
  running: 'Running',
  deploying: 'Deploying',
  suspended: 'Suspended',
  delayed: 'Delayed',
  waiting: 'Waiting',
};
const STATUS_HELP: Record<Status, string> = {
  running: 'Instances run',
  deploying: 'A change is being carried out',
  suspended: 'Scaled to zero',
  delayed: 'Instances failed; the next start is held back for a while',
  waiting: 'Instances wait for an agent with room for them',
};

export function StatusBadge({ status }: { status: Status | undefined }) {
  if (!status) return <span class="dim">–</span>;
  return <span class={`badge ${status}`} title={STATUS_HELP[status]}><i aria-hidden="true" />{STATUS_WORDS[status]}</span>;
}

export const SEGMENT_WORDS: Record<Segment, string> = {
  healthy: 'healthy',
  unhealthy: 'unhealthy',
  unknown: 'running, health not checked',
  staged: 'starting',
  over: 'more than wanted',
  unscheduled: 'not started',
};

export function barWords(bar: Bar): string {
  const parts = SEGMENTS.filter((it) => bar[it] > 0).map((it) => `${bar[it]} ${SEGMENT_WORDS[it]}`);
  return parts.length === 0 ? 'no instances' : parts.join(', ');
}

export function HealthBar({ bar, moving, wide }: { bar: Bar; moving?: boolean; wide?: boolean }) {
  const sum = SEGMENTS.reduce((all, it) => all + bar[it], 0);
  const words = barWords(bar);
  return (
    <span class={`bar${moving ? ' moving' : ''}${wide ? ' wide' : ''}`} role="img" aria-label={words} title={words}>
      {sum > 0 && SEGMENTS.filter((it) => bar[it] > 0).map((it) => (
        <i key={it} class={it} style={{ flexGrow: bar[it] }} />
      ))}
    </span>
  );
}

export function Legend({ bar }: { bar: Bar }) {
  return (
    <ul class="legend">
      {SEGMENTS.filter((it) => bar[it] > 0).map((it) => (
        <li key={it}><i class={it} aria-hidden="true" /><b>{bar[it]}</b> {SEGMENT_WORDS[it]}</li>
      ))}
    </ul>
  );
}

export function Empty({ title, children, icon = 'apps' }: { title: string; children?: ComponentChildren; icon?: IconName }) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return <p class="loading" role="status">Loading {what} …</p>;
}

export function Problem({ text, retry }: { text: string; retry?: () => void }) {
  return (
    <div class="problem" role="alert">
      <Icon name="warning" />
      <p>{text}</p>
      {retry && <button type="button" onClick={retry}>Try again</button>}
    </div>
  );
}

interface MenuItem {
  text: string;
  act: () => void;
  danger?: boolean;
}

/** A button that opens a list of actions: Escape and a click elsewhere close it, arrows walk through it. */
export function Menu({ label, items, text }: { label: string; items: MenuItem[]; text?: string }) {
  const open = useSignal(false);
  const close = (back: HTMLElement | null) => {
    open.value = false;
    back?.focus();
  };
  const onKey = (event: TargetedKeyboardEvent<HTMLDivElement>) => {
    const root = event.currentTarget;
    const button = root.querySelector<HTMLElement>('button');
    if (event.key === 'Escape' && open.value) {
      event.stopPropagation();
      close(button);
      return;
    }
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    event.preventDefault();
    event.stopPropagation();
    const step = event.key === 'ArrowDown' ? 1 : -1;
    const walk = (from: number) => {
      const all = [...root.querySelectorAll<HTMLElement>('[role=menuitem]')];
      all[(from + step + all.length) % all.length]?.focus();
    };
    if (open.value) {
      walk([...root.querySelectorAll('[role=menuitem]')].indexOf(document.activeElement as Element));
      return;
    }
    open.value = true;
    // The items are there after the next drawing.
    requestAnimationFrame(() => walk(step > 0 ? -1 : 0));
  };
  return (
    <div
      class="menu"
      onKeyDown={onKey}
      onFocusOut={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) open.value = false;
      }}
    >
      <button
        type="button"
        class={text ? '' : 'quiet icon-only'}
        aria-haspopup="menu"
        aria-expanded={open.value}
        aria-label={text ? undefined : label}
        onClick={() => (open.value = !open.value)}
      >
        {text ? <>{text} <Icon name="down" /></> : <Icon name="more" />}
      </button>
      {open.value && (
        <div class="menu-list" role="menu" aria-label={label}>
          {items.map((it) => (
            <button
              key={it.text}
              type="button"
              role="menuitem"
              tabIndex={-1}
              class={it.danger ? 'danger' : ''}
              onMouseDown={(event) => event.preventDefault()}
              onClick={(event) => {
                close(event.currentTarget.closest('.menu')?.querySelector('button') ?? null);
                it.act();
              }}
            >
              {it.text}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

export function Tabs({ tabs, current }: { tabs: { name: string; text: string; to: Place; count?: number }[]; current: string }) {
  return (
    <nav class="tabs" aria-label="Sections">
      {tabs.map((it) => (
        <a key={it.name} href={format(it.to)} aria-current={it.name === current ? 'page' : undefined}>
          {it.text}
          {it.count !== undefined && it.count > 0 && <span class="count">{it.count}</span>}
        </a>
      ))}
    </nav>
  );
}

export function Crumbs({ items }: { items: { text: string; to?: Place }[] }) {
  return (
    <nav class="crumbs" aria-label="Breadcrumb">
      <ol>
        {items.map((it, at) => (
          <li key={at}>
            {it.to ? <Link to={it.to}>{it.text}</Link> : <span aria-current="page">{it.text}</span>}
          </li>
        ))}
      </ol>
    </nav>
  );
}

export function Meter({ used, of, label, text }: { used: number; of: number; label: string; text: string }) {
  const share = of > 0 ? Math.min(1, used / of) : 0;
  return (
    <span class="meter" title={`${label}: ${text}`}>
      <span class="meter-track" role="img" aria-label={`${label}: ${text}`}>
        <i class={share > 0.9 ? 'full' : ''} style={{ width: `${share * 100}%` }} />
      </span>
      <span class="meter-text">{text}</span>
    </span>
  );
}

export { plural };
