/** One walk through a relay in one version: sections of steps, what each step found, and queues to walk with. */
import { agree, keyPair } from '../box.mjs';
import { connect, describe } from '../client.mjs';
import { newQueue, openMessage } from '../commands.mjs';
import { SINCE } from '../protocol.mjs';

/** Seconds that the clocks of relay and client may be apart. */
const CLOCK_SECONDS = 120;

/** Ends a section whose next steps need what failed. */
class Abandoned extends Error {}

export class Walk {
  steps = [];
  #connections = [];
  #report;

  /**
   * @param {object} options `address` of the relay as parseAddress gives it, `version`, `proxy` (an address or null), `quota` of its queues
   * @param {(step: {version: number, name: string, ok: boolean, milliseconds: number, error?: string}) => void} report
   */
  constructor({ address, version, proxy = null, quota }, report) {
    Object.assign(this, { address, version, proxy, quota });
    this.#report = report;
  }

  /** Steps over connections of their own. A step that fails ends its section. */
  async section(run) {
    try {
      await run(this);
    } catch (error) {
      if (!(error instanceof Abandoned)) throw error;
    } finally {
      for (const connection of this.#connections.splice(0)) connection.close();
    }
  }

  /** @returns {Promise<any>} what `action` returns */
  async step(name, action) {
    const began = performance.now();
    const done = (outcome) => {
      const step = { version: this.version, name, ...outcome, milliseconds: Math.round(performance.now() - began) };
      this.steps.push(step);
      this.#report(step);
    };
    try {
      const result = await action();
      done({ ok: true });
      return result;
    } catch (error) {
      done({ ok: false, error: error.message });
      throw new Abandoned(name);
    }
  }

  /** A step that those after it do not need. */
  async check(name, action) {
    try {
      await this.step(name, action);
    } catch (error) {
      if (!(error instanceof Abandoned)) throw error;
    }
  }

  has(feature) {
    return this.version >= SINCE[feature];
  }

  async connect(version = this.version, address = this.address) {
    const connection = await connect(address, version);
    this.#connections.push(connection);
    return connection;
  }

  /** As many connections as asked for, in one step. */
  connections(count) {
    return this.step(`${count} connections`, () => Promise.all(Array.from({ length: count }, () => this.connect())));
  }

  /** The kind of key that a version can authorise with; Ed25519 works in every version. */
  get keyKind() {
    return this.has('authenticators') ? 'x25519' : 'ed25519';
  }

  /** What SUB and NSUB are answered with. */
  get subscribed() {
    return this.has('services') ? 'SOK' : 'OK';
  }
}

/** A queue as its recipient has it. */
export class Queue {
  /** @param {object} [options] what newQueue takes; keys are made here */
  static async create(connection, { password, corrId, ...options }) {
    const keys = {
      authKey: keyPair(connection.version < SINCE.authenticators ? 'ed25519' : 'x25519'),
      dhKey: keyPair('x25519'),
      ...options,
    };
    const command = newQueue(connection.version, { password, subscribe: true, mode: 'C', ...keys });
    const ids = expect(await connection.ask(command, { key: keys.authKey, corrId }), 'IDS');
    return new Queue(keys, ids);
  }

  constructor({ authKey, dhKey }, ids) {
    checkId(ids.recipientId, 'recipient');
    checkId(ids.senderId, 'sender');
    ensure(!ids.recipientId.equals(ids.senderId), 'recipient and sender have the same id');
    Object.assign(this, { ids, key: authKey, id: ids.recipientId, senderId: ids.senderId, secret: agree(dhKey, ids.dhKey) });
  }

  ask(connection, command, key = this.key) {
    return connection.ask(command, { entityId: this.id, key });
  }

  /** The next message that is delivered, opened and compared with what was sent. */
  async receive(connection, body, notify = false) {
    return this.check(await connection.event('MSG', this.id), body, notify);
  }

  check(answer, body, notify = false) {
    expect(answer, 'MSG');
    const message = openMessage(this.secret, answer);
    ensure(!message.quota, 'the message is a quota marker');
    ensure(message.body.equals(Buffer.from(body)), `the body is ${preview(message.body)}, not ${preview(Buffer.from(body))}`);
    ensure(message.notify === notify, `the notification flag is ${message.notify}`);
    checkTime(message.seconds);
    return answer.msgId;
  }
}

export function ensure(condition, what) {
  if (!condition) throw new Error(what);
}

/** @param {string} wanted a tag, or ERR and the whole error */
export function expect(answer, wanted) {
  ensure(describe(answer) === wanted || answer.tag === wanted, `${wanted} should come, not ${describe(answer)}`);
  return answer;
}

export function checkId(id, whose) {
  ensure(id.length >= 16 && id.length <= 24, `the ${whose}'s id has ${id.length} bytes`);
}

export function checkTime(seconds) {
  const off = Math.abs(seconds - Date.now() / 1000);
  ensure(off <= CLOCK_SECONDS, `the time ${seconds} is ${Math.round(off)} s off`);
}

function preview(bytes) {
  return bytes.length > 40 ? `${bytes.length} bytes ${bytes.subarray(0, 8).toString('hex')}…` : JSON.stringify(String(bytes));
}
