/** The queues of the fake relay, and its commands on them. */
import { randomBytes } from 'node:crypto';
import { agree, keyPair, NONCE_LENGTH, pad, seal } from '../box.mjs';
import { concat, EMPTY, encodedKey, i64, large, maybe, short } from '../encoding.mjs';
import { maxBody } from '../protocol.mjs';
import { authorizedBy, idFrom } from './verify.mjs';

const ERR = (error) => `ERR ${error}`;
const UNSIGNED = ['PING', 'RSLV', 'LGET'];

export class Queues {
  #all = new Set();
  #events = [];

  constructor({ quota, password, fault }) {
    Object.assign(this, { quota, password, fault });
  }

  /** @returns {Buffer|string} the answer's body */
  answer(item, client) {
    const { name, authorization, entityId } = item;
    if (!item.sameSession) return ERR('SESSION');
    if (!Object.hasOwn(COMMANDS, name)) return ERR('CMD UNKNOWN');
    if (UNSIGNED.includes(name) && authorization.length > 0) return ERR('CMD HAS_AUTH');
    if (!UNSIGNED.includes(name) && name !== 'SEND' && authorization.length === 0) return ERR('CMD NO_AUTH');
    if (!['PING', 'RSLV', 'NEW'].includes(name) && entityId.length === 0) return ERR('CMD NO_ENTITY');
    try {
      return COMMANDS[name](this, item, client);
    } catch (error) {
      if (error.name === 'ProtocolError') return ERR('CMD SYNTAX');
      throw error;
    }
  }

  /** What became due while commands were answered. */
  deliver() {
    for (const event of this.#events.splice(0)) event();
  }

  later(event) {
    this.#events.push(event);
  }

  add(queue) {
    this.#all.add(queue);
  }

  remove(queue) {
    this.#all.delete(queue);
  }

  find(field, id) {
    return [...this.#all].find((queue) => queue[field]?.equals(id)) ?? null;
  }

  forget(client) {
    for (const queue of this.#all) {
      if (queue.subscriber === client) queue.subscriber = null;
      if (queue.notifier?.subscriber === client) queue.notifier.subscriber = null;
    }
  }

  verified(queue, keys, item) {
    return queue !== null && (this.fault === 'any key' || keys.some((key) => authorizedBy(key, item)));
  }
}

/** A command of the recipient: finds and verifies the queue first. */
function asRecipient(run) {
  return (queues, item, client) => {
    const queue = queues.find('id', item.entityId);
    return queues.verified(queue, queue?.keys ?? [], item) ? run(queue, item, client, queues) : ERR('AUTH');
  };
}

const COMMANDS = {
  PING: () => 'PONG',
  RSLV: () => ERR('NAME NO_RESOLVER'),
  NEW: create,
  SUB: asRecipient(subscribe),
  GET: asRecipient((queue, item, client) => {
    if (queue.subscriber === client) return ERR('CMD PROHIBITED');
    queue.getter = client;
    return first(queue) ?? 'OK';
  }),
  ACK: asRecipient((queue, { arguments: reader }, _, { fault }) => {
    if (queue.messages[0]?.msgId.equals(reader.short()) !== true) return ERR('NO_MSG');
    if (fault !== 'kept message') queue.messages.shift();
    if (queue.messages.length === 0) queue.full = false;
    return first(queue) ?? 'OK';
  }),
  KEY: asRecipient((queue, { arguments: reader }) => {
    queue.senderKey = reader.key();
    return 'OK';
  }),
  RKEY: asRecipient((queue, { arguments: reader }) => {
    if (queue.mode === 'M') return ERR('AUTH');
    queue.keys = reader.list(reader.u8(), reader.key);
    return 'OK';
  }),
  QUE: asRecipient(
    (queue) => `INFO ${JSON.stringify({ qiSnd: queue.senderKey !== null, qiNtf: queue.notifier !== null, qiSize: queue.messages.length })}`,
  ),
  OFF: asRecipient((queue) => {
    queue.suspended = true;
    return 'OK';
  }),
  DEL: asRecipient((queue, _, client, queues) => {
    queues.remove(queue);
    const { subscriber } = queue;
    if (subscriber && subscriber !== client) queues.later(() => subscriber.event(queue.id, subscriber.version >= 10 ? 'DELD' : 'END'));
    return 'OK';
  }),
  LSET: asRecipient((queue, { arguments: reader }) => {
    const link = { id: reader.short(), fixed: reader.large(), user: reader.large() };
    if (queue.link && !(queue.link.fixed.equals(link.fixed) && queue.link.id.equals(link.id))) return ERR('AUTH');
    Object.assign(queue, { link, linkId: link.id });
    return 'OK';
  }),
  LDEL: asRecipient((queue) => {
    Object.assign(queue, { link: null, linkId: null });
    return 'OK';
  }),
  NKEY: asRecipient((queue, { arguments: reader }) => {
    const dhKey = addNotifier(queue, reader.key(), reader.x25519());
    return concat('NID ', short(queue.notifierId), encodedKey(dhKey));
  }),
  NDEL: asRecipient((queue) => {
    Object.assign(queue, { notifier: null, notifierId: null });
    return 'OK';
  }),
  SEND: send,
  SKEY: (queues, item) => secureBySender(queues, queues.find('senderId', item.entityId), item) ?? 'OK',
  LKEY: (queues, item) => {
    const queue = queues.find('linkId', item.entityId);
    return secureBySender(queues, queue, item) ?? linkOf(queue);
  },
  LGET: (queues, { entityId }) => {
    const queue = queues.find('linkId', entityId);
    return queue?.mode === 'C' ? linkOf(queue) : ERR('AUTH');
  },
  NSUB: (queues, item, client) => {
    const queue = queues.find('notifierId', item.entityId);
    if (!queues.verified(queue, queue ? [queue.notifier.key] : [], item)) return ERR('AUTH');
    const before = queue.notifier.subscriber;
    queue.notifier.subscriber = client;
    if (before && before !== client) queues.later(() => before.event(queue.notifierId, 'END'));
    queues.later(() => notify(queue));
    return subscribed(client);
  },
};

function create(queues, item, client) {
  const {
    arguments: reader,
    session: { version },
  } = item;
  const [key, dhKey] = [reader.key(), reader.x25519()];
  const options = readOptions(version, reader);
  if (queues.password !== null && options.password !== queues.password) return ERR('AUTH');
  if (!queues.verified({}, [key], item)) return ERR('AUTH');
  if (options.link && queues.fault !== 'any id' && !options.link.senderId.equals(idFrom(item.corrId))) return ERR('CMD PROHIBITED');
  const ours = keyPair('x25519');
  const queue = {
    id: randomBytes(24),
    senderId: options.link?.senderId ?? randomBytes(24),
    linkId: null,
    notifierId: null,
    keys: [key],
    secret: agree(ours, dhKey),
    senderKey: null,
    mode: options.mode,
    link: options.link,
    notifier: null,
    messages: [],
    full: false,
    suspended: false,
    getter: null,
    subscriber: options.subscribe ? client : null,
  };
  if (options.link) queue.linkId = options.link.id ?? randomBytes(24);
  const notifierDh = options.notifier && addNotifier(queue, options.notifier.key, options.notifier.dhKey);
  queues.add(queue);
  return concat(ids(queue, version, ours, notifierDh), queues.fault === 'trailing byte' ? '0' : EMPTY);
}

/** What follows the keys in NEW; at the end of each version's layout nothing may be left. */
function readOptions(version, reader) {
  const options = { password: null, mode: 'C', link: null, notifier: null };
  const string = () => String(reader.short());
  if (version >= 9) options.password = reader.maybe(string);
  let letter = reader.letter(version < 9 ? 'ASC' : 'SC');
  if (letter === 'A') {
    options.password = string();
    letter = reader.letter('SC');
  }
  options.subscribe = letter === 'S';
  if (version >= 15)
    Object.assign(
      options,
      reader.maybe(() => readQueueData(reader)),
    );
  else if (version >= 9) options.mode = reader.letter('TF') === 'T' ? 'M' : 'C';
  if (version >= 17) options.notifier = reader.maybe(() => ({ key: reader.key(), dhKey: reader.x25519() }));
  reader.end('NEW');
  return options;
}

function readQueueData(reader) {
  const mode = reader.letter('MC');
  const link = reader.maybe(() => ({
    id: mode === 'C' ? reader.short() : null,
    senderId: reader.short(),
    fixed: reader.large(),
    user: reader.large(),
  }));
  return { mode, link };
}

function ids(queue, version, dhKey, notifierDh) {
  const flag = version >= 9 ? (queue.mode === 'M' ? 'T' : 'F') : EMPTY;
  return concat(
    'IDS ',
    short(queue.id),
    short(queue.senderId),
    encodedKey(dhKey),
    version >= 15 ? concat('1', queue.mode, maybe(queue.linkId, short)) : flag,
    version >= 16 ? '0' : EMPTY,
    version >= 17 ? maybe(queue.notifierId, (id) => concat(short(id), encodedKey(notifierDh))) : EMPTY,
  );
}

function addNotifier(queue, key, dhKey) {
  const ours = keyPair('x25519');
  queue.notifierId = randomBytes(24);
  queue.notifier = { key, secret: agree(ours, dhKey), subscriber: null, waiting: [] };
  return ours;
}

function subscribe(queue, item, client, queues) {
  if (queue.getter === client) return ERR('CMD PROHIBITED');
  const before = queue.subscriber;
  queue.subscriber = client;
  if (before && before !== client && queues.fault !== 'no END') queues.later(() => before.event(queue.id, 'END'));
  if (queue.messages.length > 0) queues.later(() => client.event(queue.id, first(queue)));
  return subscribed(client);
}

const subscribed = ({ version }) => (version >= 16 ? 'SOK 0' : 'OK');

function send(queues, item) {
  const { arguments: reader, authorization } = item;
  const notifies = reader.letter('TF') === 'T';
  reader.letter(' ');
  const body = reader.rest();
  const queue = queues.find('senderId', item.entityId);
  if (!queue || queue.suspended) return ERR('AUTH');
  const authorized = queue.senderKey === null ? authorization.length === 0 : queues.verified(queue, [queue.senderKey], item);
  if (!authorized && queues.fault !== 'any key') return ERR('AUTH');
  if (body.length > maxBody(item.session.version) + (queues.fault === 'too long' ? 1 : 0)) return ERR('LARGE_MSG');
  if (queue.full) return ERR('QUOTA');
  if (queue.messages.length === queues.quota) {
    queue.full = true;
    if (queues.fault !== 'no marker') add(queue, concat('QUOTA ', i64(now())));
    return ERR('QUOTA');
  }
  const seconds = now() + (queues.fault === 'time' ? 3600 : 0);
  const flag = notifies === (queues.fault === 'flag') ? 'F' : 'T';
  const message = add(queue, concat(i64(seconds), `${flag} `, queues.fault === 'body' ? Buffer.alloc(body.length) : body));
  if (queues.fault === 'order' && queue.messages.length > 2) queue.messages.splice(1, 0, queue.messages.pop());
  if (queue.messages.length === 1 && queue.subscriber) queues.later(() => queue.subscriber?.event(queue.id, first(queue)));
  if (notifies && queue.notifier) {
    queue.notifier.waiting.push(message);
    queues.later(() => notify(queue));
  }
  return 'OK';
}

const now = () => Math.floor(Date.now() / 1000);

function add(queue, plain) {
  const message = { msgId: randomBytes(NONCE_LENGTH), plain, seconds: now() };
  queue.messages.push(message);
  return message;
}

/** The message at the front as MSG, or null. */
function first({ messages: [message], secret }) {
  return message ? concat('MSG ', short(message.msgId), seal(secret, message.msgId, pad(message.plain, 16106))) : null;
}

function notify({ notifierId, notifier }) {
  if (!notifier?.subscriber) return;
  for (const { msgId, seconds } of notifier.waiting.splice(0)) {
    const nonce = randomBytes(NONCE_LENGTH);
    const box = seal(notifier.secret, nonce, pad(concat(short(msgId), i64(seconds)), 128));
    notifier.subscriber.event(notifierId, concat('NMSG ', nonce, short(box)));
  }
}

function secureBySender(queues, queue, item) {
  const key = item.arguments.key();
  if (queue?.mode !== 'M' || !queues.verified(queue, [key], item)) return ERR('AUTH');
  if (queue.senderKey !== null && !queue.senderKey.publicKey.equals(key.publicKey)) return ERR('AUTH');
  queue.senderKey = key;
  return null;
}

function linkOf({ senderId, link }) {
  return concat('LNK ', short(senderId), large(link.fixed), large(link.user));
}
