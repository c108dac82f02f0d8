import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { test } from 'node:test';
import openapiTS, { astToString } from 'openapi-typescript';

test('the types are those of the description of the API', async () => {
  const made = astToString(await openapiTS(pathToFileURL('../crates/http/openapi.json')));
  const kept = readFileSync('src/api.d.ts', 'utf8');
  assert.ok(kept.endsWith(made), 'src/api.d.ts lags behind crates/http/openapi.json: npm run types');
});
