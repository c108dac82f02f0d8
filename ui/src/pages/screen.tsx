// Which page is shown.

import type { ComponentChildren } from 'preact';
import { route } from '../state/view.ts';
import { Empty, Link } from '../parts/basic.tsx';
import { Shell } from '../parts/shell.tsx';
import { AboutPage } from './about.tsx';
import { AppPage } from './app.tsx';
import { AppsPage } from './apps.tsx';
import { ClusterPage } from './cluster.tsx';
import { DeploymentsPage } from './deployments.tsx';
import { CreatePage, EditPage } from './edit.tsx';
import { EventsPage } from './events.tsx';
import { PodCreatePage, PodEditPage, PodPage, PodsPage } from './pods.tsx';
import { TaskPage } from './task.tsx';

export function Screen() {
  return <Shell>{page()}</Shell>;
}

function page(): ComponentChildren {
  const { place } = route.value;
  switch (place.at) {
    case 'apps': return <AppsPage key={place.group} group={place.group} />;
    case 'app': return <AppPage key={place.id} id={place.id} tab={place.tab} />;
    case 'task': return <TaskPage key={place.task} app={place.app} task={place.task} />;
    case 'create': return <CreatePage />;
    case 'edit': return <EditPage key={place.id} id={place.id} />;
    case 'deployments': return <DeploymentsPage />;
    case 'pods': return <PodsPage />;
    case 'pod': return <PodPage key={place.id} id={place.id} />;
    case 'pod-create': return <PodCreatePage />;
    case 'pod-edit': return <PodEditPage key={place.id} id={place.id} />;
    case 'cluster': return <ClusterPage />;
    case 'events': return <EventsPage />;
    case 'about': return <AboutPage />;
    case 'nowhere':
      return (
        <Empty title="Page not found" icon="warning">
          <p>Nothing is shown under <code>{place.path}</code>.</p>
          <Link to={{ at: 'apps', group: '/' }} class="button">All applications</Link>
        </Empty>
      );
  }
}
