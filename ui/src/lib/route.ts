// The place in the interface, as the part of the url behind `#` says it. Everything a screen shows is there, so a
// link shows somebody else the same. The paths are those of the original's interface: old bookmarks work.

export type AppTab = 'instances' | 'configuration' | 'deployments' | 'why' | 'volumes' | 'events';
export const APP_TABS: readonly AppTab[] = ['instances', 'configuration', 'deployments', 'why', 'volumes', 'events'];

export type Place =
  | { at: 'apps'; group: string }
  | { at: 'app'; id: string; tab: AppTab }
  | { at: 'task'; app: string; task: string }
  | { at: 'create' }
  | { at: 'edit'; id: string }
  | { at: 'deployments' }
  | { at: 'pods' }
  | { at: 'pod'; id: string }
  | { at: 'pod-create' }
  | { at: 'pod-edit'; id: string }
  | { at: 'cluster' }
  | { at: 'events' }
  | { at: 'about' }
  | { at: 'nowhere'; path: string };

export interface Route {
  place: Place;
  query: URLSearchParams;
}

/** Ids come from other pages, too: whatever cannot be decoded stays as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function absolute(id: string): string {
  return '/' + id.split('/').filter((it) => it !== '').join('/');
}

export function parse(hash: string): Route {
  const bare = hash.replace(/^#/, '');
  const cut = bare.indexOf('?');
  const path = cut < 0 ? bare : bare.slice(0, cut);
  const query = new URLSearchParams(cut < 0 ? '' : bare.slice(cut + 1));
  return { place: placeOf(path), query };
}

function placeOf(path: string): Place {
  const parts = path.split('/').filter((it) => it !== '').map(decoded);
  const [first, second, third] = parts;
  switch (first) {
    case undefined:
      return { at: 'apps', group: '/' };
    case 'apps': {
      if (second === undefined) return { at: 'apps', group: '/' };
      const id = absolute(second);
      if (third === undefined) return { at: 'app', id, tab: 'instances' };
      if (third === 'edit') return { at: 'edit', id };
      if (third === 'debug') return { at: 'app', id, tab: 'why' };
      const tab = APP_TABS.find((it) => it === third);
      return tab ? { at: 'app', id, tab } : { at: 'task', app: id, task: third };
    }
    case 'group':
      return { at: 'apps', group: absolute(second ?? '') };
    case 'create':
      return { at: 'create' };
    case 'pods':
      if (second === undefined) return { at: 'pods' };
      return third === 'edit' ? { at: 'pod-edit', id: absolute(second) } : { at: 'pod', id: absolute(second) };
    case 'create-pod':
      return { at: 'pod-create' };
    case 'deployments':
    case 'cluster':
    case 'events':
    case 'about':
      return second === undefined ? { at: first } : { at: 'nowhere', path };
    default:
      return { at: 'nowhere', path };
  }
}

export function format(place: Place, query?: URLSearchParams): string {
  const tail = query && [...query].length > 0 ? `?${query}` : '';
  return `#/${pathOf(place)}${tail}`;
}

function pathOf(place: Place): string {
  const seg = encodeURIComponent;
  switch (place.at) {
    case 'apps':
      return place.group === '/' ? 'apps' : `group/${seg(place.group)}`;
    case 'app':
      return `apps/${seg(place.id)}${place.tab === 'instances' ? '' : `/${place.tab}`}`;
    case 'task':
      return `apps/${seg(place.app)}/${seg(place.task)}`;
    case 'edit':
      return `apps/${seg(place.id)}/edit`;
    case 'create':
      return 'create';
    case 'pod':
      return `pods/${seg(place.id)}`;
    case 'pod-edit':
      return `pods/${seg(place.id)}/edit`;
    case 'pod-create':
      return 'create-pod';
    case 'nowhere':
      return place.path.replace(/^\/+/, '');
    default:
      return place.at;
  }
}
