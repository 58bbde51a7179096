/** Clients of different versions on one queue. */
import { keyPair } from '../box.mjs';
import { secure } from '../commands.mjs';
import { expect, Queue } from './walk.mjs';
import { deliver } from './messages.mjs';

/** @param {number[]} versions in rising order */
export function mixed(versions) {
  return async (walk) => {
    const [oldest, newest] = [versions[0], versions.at(-1)];
    const [old, young] = await walk.step(`connections of v${oldest} and v${newest}`, () =>
      Promise.all([walk.connect(oldest), walk.connect(newest)]),
    );
    for (const [from, to] of [
      [old, young],
      [young, old],
    ]) {
      await walk.check(`SEND from v${from.version} to v${to.version}`, async () => {
        const queue = await Queue.create(to, { password: walk.address.password });
        await deliver(queue, { from, to, body: 'unsecured', notify: true });
        const key = keyPair('ed25519');
        expect(await queue.ask(to, secure(key)), 'OK');
        await deliver(queue, { from, to, body: 'secured', key });
      });
    }
  };
}
