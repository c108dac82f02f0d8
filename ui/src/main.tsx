import { render } from 'preact';
import { effect } from '@preact/signals';
import { Screen } from './pages/screen.tsx';
import { installShortcuts } from './parts/shortcuts.tsx';
import { start } from './state/store.ts';
import { applyTheme, theme, title } from './state/view.ts';

// Runs before the body is there: the theme holds from the first paint on, and the reading begins at once.
applyTheme(theme.value);
start();

document.addEventListener('DOMContentLoaded', () => {
  effect(() => {
    document.title = `${title.value} · Marathon`;
  });
  installShortcuts();
  render(<Screen />, document.getElementById('app')!);
});
