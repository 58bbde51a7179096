import { setTimeout as sleep } from 'node:timers/promises';

/** How long after its planned end a call may take to be over. */
const GRACE_S = 30;

/**
 * Runs one call of a page with another end (a page, a command, or a process' own standard streams) and carries the messages between them.
 *
 * @param {import('./page-peer.mjs').PagePeer} page
 * @param {{onMessage(listener: (line: string) => void): void, deliver(line: string): void}} other
 * @param {{role: 'caller'|'callee', seconds: number, end: 'self'|'peer'}} plan the page ends the call `seconds` after it connected, or
 *   waits for the other end's x.call.end, 30 s longer than that
 * @returns {Promise<object>} the page's report
 */
export async function runCall(page, other, { role, seconds, end }) {
  page.onMessage((line) => other.deliver(line));
  other.onMessage((line) => page.deliver(line));
  await page.start(role);
  await Promise.race([page.connected, page.over]);
  await Promise.race([sleep((end === 'self' ? seconds : seconds + GRACE_S) * 1000, null, { ref: false }), page.over]);
  if (end === 'self') await page.end();
  else await page.abandon(`no x.call.end ${seconds + GRACE_S} s after the call connected`);
  return page.over;
}
