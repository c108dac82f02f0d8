import { shortTask } from '../lib/format.ts';

/** The part of an id that tells it from its neighbours; the whole id is its title. */
export function TaskName({ id }: { id: string }) {
  return <code title={id}>{shortTask(id)}</code>;
}
