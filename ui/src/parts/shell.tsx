// The frame: navigation, connection, messages, the dialog, the shortcuts.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { duration, plural } from '../lib/format.ts';
import { format, type Place } from '../lib/route.ts';
import { refused } from '../state/api.ts';
import { connection, retryNow } from '../state/live.ts';
import { deployments, loadError, outcomes, reload, loaded } from '../state/store.ts';
import { applyTheme, closeDialog, dialog, dismiss, now, route, theme, toasts, type Theme, type Toast } from '../state/view.ts';
import { Icon, Link, type IconName } from './basic.tsx';
import { showShortcuts } from './shortcuts.tsx';

const NAV: { place: Place; text: string; icon: IconName; holds: Place['at'][] }[] = [
  { place: { at: 'apps', group: '/' }, text: 'Applications', icon: 'apps', holds: ['apps', 'app', 'task', 'create', 'edit'] },
  { place: { at: 'pods' }, text: 'Pods', icon: 'pods', holds: ['pods', 'pod', 'pod-create', 'pod-edit'] },
  { place: { at: 'deployments' }, text: 'Deployments', icon: 'deployments', holds: ['deployments'] },
  { place: { at: 'cluster' }, text: 'Cluster', icon: 'cluster', holds: ['cluster'] },
  { place: { at: 'events' }, text: 'Events', icon: 'events', holds: ['events'] },
  { place: { at: 'about' }, text: 'About', icon: 'about', holds: ['about'] },
];

export function Shell({ children }: { children: ComponentChildren }) {
  const at = route.value.place.at;
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        document.getElementById('main')?.focus();
      }}>Skip to the content</a>
      <header class="top">
        <Link to={{ at: 'apps', group: '/' }} class="brand" label="Marathon, all applications">
          <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false"><rect width="32" height="32" rx="8" /><path d="M7 22V10l9 8 9-8v12" /></svg>
          <span>Marathon</span>
        </Link>
        <nav class="main-nav" aria-label="Main">
          {NAV.map((it) => (
            <a key={it.text} href={format(it.place)} aria-current={it.holds.includes(at) ? 'page' : undefined}>
              <Icon name={it.icon} />
              <span>{it.text}</span>
              {it.text === 'Deployments' && deployments.value.length > 0 && (
                <span class="count" aria-label={plural(deployments.value.length, 'running deployment')}>{deployments.value.length}</span>
              )}
            </a>
          ))}
        </nav>
        <div class="top-end">
          <Light />
          <ThemeButton />
          <button type="button" class="quiet icon-only" aria-label="Keyboard shortcuts and help" title="Keyboard shortcuts (?)" onClick={showShortcuts}>
            <Icon name="help" />
          </button>
        </div>
      </header>
      <Banner />
      <main id="main" tabIndex={-1}>{children}</main>
      <Toasts />
      <DialogHost />
    </>
  );
}

/** The state of the connection, small: it is said aloud only when it is lost. */
function Light() {
  const { is } = connection.value;
  const text = is === 'live' ? 'Live' : is === 'lost' ? 'Offline' : 'Connecting';
  return (
    <span class={`light ${is}`} title={is === 'live' ? 'Changes appear as they happen' : text}>
      <i aria-hidden="true" /><span>{text}</span>
    </span>
  );
}

const NEXT: Record<Theme, Theme> = { system: 'light', light: 'dark', dark: 'system' };
const THEME_ICON: Record<Theme, IconName> = { system: 'auto', light: 'sun', dark: 'moon' };

function ThemeButton() {
  const it = theme.value;
  const text = it === 'system' ? 'as the system' : it;
  return (
    <button type="button" class="quiet icon-only" aria-label={`Colors: ${text}. Change`} title={`Colors: ${text}`} onClick={() => applyTheme(NEXT[it])}>
      <Icon name={THEME_ICON[it]} />
    </button>
  );
}

function Banner() {
  const it = connection.value;
  if (refused.value !== undefined) {
    const text = refused.value === 401
      ? 'You are not signed in, or your password was changed. Reload the page to sign in; what you typed in a form is kept.'
      : 'You are not allowed to see or do this. Ask whoever runs this Marathon for the permission.';
    return (
      <div class="banner" role="alert">
        <Icon name="warning" /><p>{text}</p>
        <button type="button" onClick={() => location.reload()}>Reload</button>
      </div>
    );
  }
  if (it.is === 'lost') {
    const wait = Math.max(0, Math.ceil((it.retryAt - now.value) / 1000));
    return (
      <div class="banner" role="alert">
        <Icon name="warning" />
        <p>
          <b>The connection to Marathon is lost</b> for {duration(Math.max(1000, now.value - it.since))}. What you see may be out of date; what you type is kept.{' '}
          <span aria-hidden="true">{wait > 0 ? `Trying again in ${wait} s.` : 'Trying again …'}</span>
        </p>
        <button type="button" onClick={retryNow}>Try now</button>
      </div>
    );
  }
  if (loadError.value !== '' && loaded.value) {
    return (
      <div class="banner" role="alert">
        <Icon name="warning" /><p>What is shown may be out of date: {loadError.value}</p>
        <button type="button" onClick={() => void reload()}>Try again</button>
      </div>
    );
  }
  return null;
}

const TOAST_MS = 6_000;

function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((it) => <OneToast key={it.id} it={it} />)}
    </div>
  );
}

function OneToast({ it }: { it: Toast }) {
  const running = it.deployment ? deployments.value.find((one) => one.id === it.deployment) : undefined;
  const outcome = it.deployment ? outcomes.value.find((one) => one.id === it.deployment) : undefined;
  const waits = it.deployment !== undefined && outcome === undefined;
  const bad = it.kind === 'error' || outcome?.ok === false;
  useEffect(() => {
    // An error stays until it was read; how a deployment ended can be read elsewhere, too.
    if (waits || it.kind === 'error') return undefined;
    const timer = setTimeout(() => dismiss(it.id), bad ? 3 * TOAST_MS : TOAST_MS);
    return () => clearTimeout(timer);
  }, [waits, bad]);
  const kind = bad ? 'error' : outcome?.ok || it.kind === 'ok' ? 'ok' : 'info';
  return (
    <div class={`toast ${kind}`}>
      <span class="toast-mark" aria-hidden="true">{waits ? <i class="spinner" /> : <Icon name={bad ? 'warning' : 'check'} />}</span>
      <p>
        {it.text}
        {waits && (running ? ` Step ${running.currentStep ?? 1} of ${running.totalSteps ?? 1}.` : ' Under way.')}
        {outcome && (outcome.ok ? ' Done.' : ` It did not come about${outcome.reason ? `: ${outcome.reason}` : '.'}`)}
        {it.link && <> <Link to={it.link.place}>{it.link.text}</Link></>}
      </p>
      <button type="button" class="quiet icon-only" aria-label="Dismiss" onClick={() => dismiss(it.id)}><Icon name="close" /></button>
    </div>
  );
}

/** The browser's own dialog: it keeps the focus inside, closes on Escape and gives the focus back. */
function DialogHost() {
  const ref = useRef<HTMLDialogElement>(null);
  const content = dialog.value;
  useEffect(() => {
    const it = ref.current;
    if (!it) return;
    if (content !== undefined && !it.open) it.showModal();
    if (content === undefined && it.open) it.close();
  }, [content]);
  return (
    <dialog
      ref={ref}
      aria-labelledby="dialog-title"
      onClose={closeDialog}
      onClick={(event) => {
        if (event.target === ref.current) closeDialog();
      }}
    >
      {content !== undefined && <div class="dialog-body">{content}</div>}
    </dialog>
  );
}
