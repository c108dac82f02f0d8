// Tables of rows; each part has one `check`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diffLines, folded } from '../../src/lib/diff.ts';
import { fieldLines } from '../../src/lib/fields.ts';
import { nextSort, readFilters, readSort, writeQuery } from '../../src/lib/filters.ts';
import { ago, amount, bytes, duration, mebibytes, shortTask } from '../../src/lib/format.ts';
import { get, parse as parseJson, pathOf, put } from '../../src/lib/json.ts';
import { LINES_MAX, NOTHING, appended, found } from '../../src/lib/log.ts';
import { format, parse } from '../../src/lib/route.ts';
import { FrameReader } from '../../src/lib/sse.ts';

test('numbers and times as people read them', () => {
  const now = Date.parse('2026-01-01T00:10:00.000Z');
  for (const [got, want] of [
    [amount(0.1 + 0.2), '0.3'], [amount(1234.5), '1,235'], [amount(NaN), '0'],
    [mebibytes(128), '128 MiB'], [mebibytes(1536), '1.5 GiB'], [mebibytes(3 * 1024 * 1024), '3 TiB'], [bytes(12), '12 B'], [bytes(2048), '2 KiB'],
    [duration(20), '20 ms'], [duration(1500), '1.5 s'], [duration(61_000), '1 min 1 s'], [duration(3_600_000 * 50), '2 d 2 h'], [duration(-5), '0 s'],
    [ago('2026-01-01T00:09:58.000Z', now), 'just now'], [ago('2026-01-01T00:09:00.000Z', now), '1 min ago'], [ago(undefined, now), '–'], [ago('nonsense', now), '–'],
    [shortTask('shop_web.instance-88183d50-e800-11f1-9aa7-cf26a857dda1._app.3'), '88183d50.3'], [shortTask('old.88183d50-e800'), '88183d50-e800'],
  ]) assert.equal(got, want);
});

test('places in the address, there and back', () => {
  for (const hash of [
    '#/apps', '#/group/%2Fshop', '#/apps/%2Fshop%2Fweb', '#/apps/%2Fshop%2Fweb/configuration', '#/apps/%2Fshop%2Fweb/why', '#/apps/%2Fweb/web.instance-1._app.1',
    '#/apps/%2Fweb/edit', '#/create', '#/deployments', '#/pods', '#/pods/%2Fp', '#/pods/%2Fp/edit', '#/create-pod', '#/cluster', '#/events', '#/about',
    '#/apps?filterText=a+b&filterStatus=running', '#/apps/%2Fweb/configuration?version=2026-01-01T00%3A00%3A00.000Z',
  ]) {
    const { place, query } = parse(hash);
    assert.equal(format(place, query), hash);
    assert.notEqual(place.at, 'nowhere', hash);
  }
  for (const [hash, at] of [['', 'apps'], ['#', 'apps'], ['#/', 'apps'], ['#/nope', 'nowhere'], ['#/apps/%2Fa/debug', 'app'], ['#/apps/%zz', 'app'], ['#/events/x', 'nowhere']] as const) {
    assert.equal(parse(hash).place.at, at, hash);
  }
});

test('filters in the address, there and back', () => {
  const text = 'filterText=web+api&filterStatus=running&filterStatus=waiting&filterHealth=unhealthy&filterLabels=tier%3Adb%3Ax&filterVolumes=true&sort=cpus&order=desc';
  const query = new URLSearchParams(text);
  assert.equal(String(writeQuery(readFilters(query), readSort(query))), text);
  const bad = new URLSearchParams('filterStatus=nope&filterLabels=nocolon&sort=x');
  assert.equal(String(writeQuery(readFilters(bad), readSort(bad))), '');
  assert.deepEqual(nextSort({ by: 'name', descending: false }, 'cpus'), { by: 'cpus', descending: true });
  assert.deepEqual(nextSort({ by: 'cpus', descending: true }, 'cpus'), { by: 'cpus', descending: false });
});

test('frames, wherever the stream is cut', () => {
  const stream = 'event: a\r\ndata: {"x":1}\r\nid: 7\r\n\r\n\r\n: closed: too slow\r\n\r\ndata: one\ndata: two\n\n';
  const want = [{ event: 'a', data: '{"x":1}', id: '7' }, { comment: 'closed: too slow', data: '' }, { data: 'one\ntwo' }];
  for (let size = 1; size <= stream.length; size++) {
    const reader = new FrameReader();
    const frames = [];
    for (let at = 0; at < stream.length; at += size) frames.push(...reader.push(stream.slice(at, at + size)));
    assert.deepEqual(frames, want, `pieces of ${size}`);
  }
});

test('differences', () => {
  const check = (before: string, after: string, want: string) => {
    const words = diffLines(before.replaceAll(' ', '\n'), after.replaceAll(' ', '\n'))
      .map((it) => (it.kind === 'same' ? `=${it.left!.text}` : it.kind === 'changed' ? `${it.left!.text}>${it.right!.text}` : it.left ? `-${it.left.text}` : `+${it.right!.text}`));
    assert.equal(words.join(' '), want);
  };
  check('a b c', 'a b c', '=a =b =c');
  check('a b c', 'a x c', '=a b>x =c');
  check('a b c', 'a c', '=a -b =c');
  check('a c', 'a b c', '=a +b =c');
  check('a b c d', 'b c x d', '-a =b =c +x =d');
  check('', 'a', '>a');
  const far = diffLines('1 2 3 4 5 6 7 8 9'.replaceAll(' ', '\n'), '1 2 3 4 5 6 7 8 x'.replaceAll(' ', '\n'));
  assert.deepEqual(folded(far, 2).map((it) => (typeof it === 'number' ? it : it.kind)), [6, 'same', 'same', 'changed']);
});

test('values by path', () => {
  const root = { a: { b: [{ c: 1 }] }, keep: true };
  assert.equal(get(root, ['a', 'b', 0, 'c']), 1);
  assert.equal(get(root, ['a', 'x', 0]), undefined);
  assert.deepEqual(put(root, ['a', 'b', 0, 'c'], 2), { a: { b: [{ c: 2 }] }, keep: true });
  assert.deepEqual(put(root, ['n', 'm'], 'v'), { ...root, n: { m: 'v' } });
  assert.deepEqual(put({ n: { m: 1 }, k: 2 }, ['n', 'm'], undefined), { k: 2 }, 'what became empty goes');
  assert.deepEqual(root, { a: { b: [{ c: 1 }] }, keep: true }, 'the old value stays as it was');
  for (const [pointer, want] of [['/healthChecks(0)/path', ['healthChecks', 0, 'path']], ['/', []], ['', []], ['/constraints(2)', ['constraints', 2]], ['/env/A.B', ['env', 'A.B']]] as const) {
    assert.deepEqual(pathOf(pointer), want, pointer);
  }
  assert.ok('error' in parseJson('{\n  "a": 1,\n  oops\n}'));
});

test('a log that grows in pieces', () => {
  let lines = appended(NOTHING, 'one\ntw');
  lines = appended(lines, 'o\nthree\n');
  lines = appended(lines, '\u001b[31mred\u001b[0m\r\n');
  assert.deepEqual(lines.list, ['one', 'two', 'three', 'red']);
  assert.equal(lines.open, false);
  const many = appended(lines, 'x\n'.repeat(LINES_MAX));
  assert.equal(many.list.length, LINES_MAX);
  assert.equal(many.dropped, 4);
  assert.deepEqual(found(['Error: no', 'fine', 'no error, NO ERROR'], 'error'), [[0, 0, 5], [2, 3, 8], [2, 13, 18]]);
  assert.deepEqual(found(['a'], ''), []);
});

test('all fields of a definition', () => {
  const lines = fieldLines({ id: '/a', cmd: 'x', cpus: 0.1, env: { A: '1' }, constraints: [['hostname', 'UNIQUE']], healthChecks: [{ protocol: 'TCP' }], novel: 1, tasksRunning: 3, version: 'v' });
  const of = (name: string) => lines.find((it) => it.name === name)?.value;
  assert.equal(of('Environment'), 'A: 1');
  assert.equal(of('Constraints'), 'hostname, UNIQUE');
  assert.equal(of('Memory (MiB)'), undefined);
  assert.equal(of('novel'), '1', 'a field that nobody knew is shown, too');
  assert.equal(of('tasksRunning'), undefined, 'what is computed is no part of it');
});
