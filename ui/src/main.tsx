import { render } from 'preact';
import { effect } from '@preact/signals';
import { Screen } from './pages/screen.tsx';
import { installShortcuts } from './parts/shortcuts.tsx';
import { start } from './state/store.ts';
import { title } from './state/view.ts';

// The page's own head line is drawn by then; the reading begins before the rest is.
start();
effect(() => {
  document.title = `${title.value} · Marathon`;
});
installShortcuts();
const root = document.getElementById('app')!;
root.textContent = '';
render(<Screen />, root);
