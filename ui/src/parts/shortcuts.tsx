// The keyboard: single keys while nobody types, `g` and a letter to go somewhere.

import { closeDialog, dialog, go, route } from '../state/view.ts';

const LIST: [string, string][] = [
  ['?', 'Show this list'],
  ['/ or s', 'Search'],
  ['c', 'Create an application'],
  ['Shift c', 'Create a group'],
  ['g a', 'Go to applications'],
  ['g p', 'Go to pods'],
  ['g d', 'Go to deployments'],
  ['g c', 'Go to the cluster'],
  ['g e', 'Edit the application of this page, elsewhere: go to events'],
  ['g v', 'About, with the version'],
  ['u', 'Up: to the group, or the app'],
  ['↓ ↑, j k', 'Next and previous row of a list'],
  ['Enter', 'Open the row'],
  ['x', 'Choose the row, for an action on several'],
  ['Ctrl Enter', 'Send the form'],
  ['Esc', 'Close what is open'],
];

export function showShortcuts(): void {
  dialog.value = (
    <>
      <h2 id="dialog-title">Keyboard shortcuts</h2>
      <dl class="keys">
        {LIST.map(([keys, text]) => (
          <div key={keys}><dt><kbd>{keys}</kbd></dt><dd>{text}</dd></div>
        ))}
      </dl>
      <p class="dim">Everything can be reached by Tab, too. <a href="../help" target="_blank" rel="noreferrer">The API of this server</a></p>
      <div class="dialog-end"><button type="button" onClick={closeDialog}>Close</button></div>
    </>
  );
}

/** What the present screen offers to single keys. */
export const keysHere: { search?: () => void; createGroup?: () => void } = {};

let armed = 0;

function isTyping(target: EventTarget | null): boolean {
  if (target instanceof HTMLInputElement) return !['checkbox', 'radio', 'button'].includes(target.type);
  return target instanceof HTMLElement && (target.isContentEditable || ['TEXTAREA', 'SELECT'].includes(target.tagName));
}

export function installShortcuts(): void {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector('dialog[open]')) return;
    const after = Date.now() - armed < 1_500;
    armed = 0;
    const place = route.value.place;
    const acts: Record<string, () => void> = after
      ? {
          a: () => go({ at: 'apps', group: '/' }),
          p: () => go({ at: 'pods' }),
          d: () => go({ at: 'deployments' }),
          c: () => go({ at: 'cluster' }),
          e: () => go(place.at === 'app' ? { at: 'edit', id: place.id } : place.at === 'pod' ? { at: 'pod-edit', id: place.id } : { at: 'events' }),
          v: () => go({ at: 'about' }),
        }
      : {
          '?': showShortcuts,
          '/': () => keysHere.search?.(),
          s: () => keysHere.search?.(),
          c: () => go({ at: 'create' }),
          C: () => keysHere.createGroup?.(),
          '<': () => go({ at: 'about' }),
          u: up,
          g: () => (armed = Date.now()),
        };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function up(): void {
  const place = route.value.place;
  const parent = (id: string) => id.slice(0, Math.max(1, id.lastIndexOf('/'))) || '/';
  if (place.at === 'task') go({ at: 'app', id: place.app, tab: 'instances' });
  else if (place.at === 'edit') go({ at: 'app', id: place.id, tab: 'instances' });
  else if (place.at === 'app') go({ at: 'apps', group: parent(place.id) });
  else if (place.at === 'apps' && place.group !== '/') go({ at: 'apps', group: parent(place.group) });
  else if (place.at === 'pod' || place.at === 'pod-create') go({ at: 'pods' });
  else if (place.at === 'pod-edit') go({ at: 'pod', id: place.id });
}
