// Which page is shown.

import type { ComponentChildren } from 'preact';
import { route } from '../state/view.ts';
import { Empty, Link } from '../parts/basic.tsx';
import { Shell } from '../parts/shell.tsx';
import { AppsPage } from './apps.tsx';

export function Screen() {
  return <Shell>{page()}</Shell>;
}

function page(): ComponentChildren {
  const { place } = route.value;
  switch (place.at) {
    case 'apps':
      return <AppsPage key={place.group} group={place.group} />;
    default:
      return (
        <Empty title="Page not found" icon="warning">
          <p>Nothing is shown under this address.</p>
          <Link to={{ at: 'apps', group: '/' }} class="button">All applications</Link>
        </Empty>
      );
  }
}
