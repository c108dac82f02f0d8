// Filters and sorting of the list, in the url and back.

import { COLUMNS, HEALTHS, STATUSES, type Column, type Filters, type Sort } from './model.ts';

export function readFilters(query: URLSearchParams): Filters {
  const among = <T extends string>(name: string, all: readonly T[]): T[] =>
    all.filter((it) => query.getAll(name).includes(it));
  return {
    text: query.get('filterText') ?? '',
    status: among('filterStatus', STATUSES),
    health: among('filterHealth', HEALTHS),
    labels: query.getAll('filterLabels').filter((it) => it.includes(':')),
    volumes: query.get('filterVolumes') === 'true',
  };
}

export function readSort(query: URLSearchParams): Sort {
  const by = COLUMNS.find((it) => it === query.get('sort')) ?? 'name';
  return { by, descending: query.get('order') === 'desc' };
}

export function writeQuery(filters: Filters, sort: Sort): URLSearchParams {
  const query = new URLSearchParams();
  if (filters.text !== '') query.set('filterText', filters.text);
  for (const it of filters.status) query.append('filterStatus', it);
  for (const it of filters.health) query.append('filterHealth', it);
  for (const it of filters.labels) query.append('filterLabels', it);
  if (filters.volumes) query.set('filterVolumes', 'true');
  if (sort.by !== 'name') query.set('sort', sort.by);
  if (sort.descending) query.set('order', 'desc');
  return query;
}

export function toggled<T>(list: readonly T[], it: T): T[] {
  return list.includes(it) ? list.filter((other) => other !== it) : [...list, it];
}

/** A first click sorts names upwards and numbers downwards: that is what one looks for. */
export function nextSort(sort: Sort, by: Column): Sort {
  if (sort.by !== by) return { by, descending: by !== 'name' };
  return { by, descending: !sort.descending };
}
