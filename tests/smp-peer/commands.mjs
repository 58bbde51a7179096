/** Commands as bytes, and answers out of bytes, in the layout of each version. */
import { NONCE_LENGTH, open, ProtocolError, unpad } from './box.mjs';
import { concat, EMPTY, encodedKey, large, maybe, Reader, short, u16, u8 } from './encoding.mjs';
import { SINCE } from './protocol.mjs';

const MSG_PADDED = 16106;
const NMSG_PADDED = 128;
const QUOTA = 'QUOTA ';

export const PING = Buffer.from('PING');
export const SUB = Buffer.from('SUB');
export const GET = Buffer.from('GET');
export const OFF = Buffer.from('OFF');
export const DEL = Buffer.from('DEL');
export const QUE = Buffer.from('QUE');
export const NDEL = Buffer.from('NDEL');
export const NSUB = Buffer.from('NSUB');
export const LDEL = Buffer.from('LDEL');
export const LGET = Buffer.from('LGET');

/**
 * @param {object} queue `authKey` and `dhKey` are the recipient's; `mode` M lets the sender secure the queue, C does not
 * @param {string|null} queue.password the relay's
 * @param {{linkId?: Buffer, senderId: Buffer, fixed: Buffer, user: Buffer}|null} [queue.link] v15 on; `linkId` for mode C only
 * @param {{authKey: object, dhKey: object}|null} [queue.notifier] v17 on
 */
export function newQueue(version, { authKey, dhKey, password, subscribe, mode, link = null, notifier = null }) {
  return concat(
    'NEW ',
    encodedKey(authKey),
    encodedKey(dhKey),
    version >= SINCE.senderSecures ? maybe(password, short) : password === null ? EMPTY : concat('A', short(password)),
    subscribe ? 'S' : 'C',
    version >= SINCE.links ? maybe({ mode, link }, encodeQueueData) : version >= SINCE.senderSecures ? (mode === 'M' ? 'T' : 'F') : EMPTY,
    version >= SINCE.notifierInNew ? maybe(notifier, (keys) => concat(encodedKey(keys.authKey), encodedKey(keys.dhKey))) : EMPTY,
  );
}

function encodeQueueData({ mode, link }) {
  return concat(
    mode,
    maybe(link, ({ linkId, senderId, fixed, user }) =>
      concat(mode === 'C' ? short(linkId) : EMPTY, short(senderId), large(fixed), large(user)),
    ),
  );
}

export const secure = (senderKey) => concat('KEY ', encodedKey(senderKey));
export const senderSecure = (senderKey) => concat('SKEY ', encodedKey(senderKey));
export const linkSecure = (senderKey) => concat('LKEY ', encodedKey(senderKey));
export const recipientKeys = (keys) => concat('RKEY ', u8(keys.length), ...keys.map(encodedKey));
export const send = (body, notify = false) => concat(notify ? 'SEND T ' : 'SEND F ', body);
export const acknowledge = (msgId) => concat('ACK ', short(msgId));
export const setLink = ({ linkId, fixed, user }) => concat('LSET ', short(linkId), large(fixed), large(user));
export const enableNotifications = ({ authKey, dhKey }) => concat('NKEY ', encodedKey(authKey), encodedKey(dhKey));
export const resolve = (name) => concat('RSLV ', name);

/** Asks a relay to connect to the one at `address`; the password is that of the relay asked. */
export function proxySession({ hosts, port, keyHash }, password) {
  return concat('PRXY ', u8(hosts.length), ...hosts.map(short), short(String(port)), short(keyHash), maybe(password, short));
}

export const proxyForward = (version, key, box) => concat('PFWD ', u16(version), encodedKey(key), box);

const ANSWERS = {
  OK: () => ({}),
  PONG: () => ({}),
  END: () => ({}),
  DELD: () => ({}),
  IDS: readIds,
  SOK: (reader) => ({ serviceId: reader.maybe(reader.short) }),
  MSG: (reader) => ({ msgId: reader.short(), box: reader.rest() }),
  NID: (reader) => ({ notifierId: reader.short(), dhKey: reader.x25519() }),
  NMSG: (reader) => ({ nonce: reader.take(NONCE_LENGTH), box: reader.short() }),
  LNK: (reader) => ({ senderId: reader.short(), fixed: reader.large(), user: reader.large() }),
  PKEY: readProxyKey,
  PRES: (reader) => ({ box: reader.rest() }),
  INFO: (reader) => ({ text: String(reader.rest()) }),
  RNAME: (reader) => ({ text: String(reader.rest()) }),
  ERR: (reader) => ({ error: String(reader.rest()) }),
};

/** @returns {object} `tag` and the fields of the answer */
export function parseAnswer(version, body) {
  const space = body.indexOf(' ');
  const tag = String(space < 0 ? body : body.subarray(0, space));
  if (!Object.hasOwn(ANSWERS, tag)) throw new ProtocolError(`an unknown answer: ${JSON.stringify(String(body.subarray(0, 40)))}`);
  const reader = new Reader(space < 0 ? EMPTY : body.subarray(space + 1));
  const fields = ANSWERS[tag](reader, version);
  reader.end(tag);
  return { tag, ...fields };
}

function readIds(reader, version) {
  const ids = {
    recipientId: reader.short(),
    senderId: reader.short(),
    dhKey: reader.x25519(),
    mode: null,
    linkId: null,
    serviceId: null,
    notifier: null,
  };
  if (version >= SINCE.links) {
    ids.mode = reader.maybe(() => reader.letter('MC'));
    ids.linkId = reader.maybe(reader.short);
  } else if (version >= SINCE.senderSecures) {
    ids.mode = reader.letter('TF') === 'T' ? 'M' : 'C';
  }
  if (version >= SINCE.services) ids.serviceId = reader.maybe(reader.short);
  if (version >= SINCE.notifierInNew) ids.notifier = reader.maybe(() => ({ id: reader.short(), dhKey: reader.x25519() }));
  return ids;
}

function readProxyKey(reader) {
  const [sessionId, min, max] = [reader.short(), reader.u16(), reader.u16()];
  const chain = reader.list(reader.u8(), reader.large);
  return { sessionId, min, max, chain, signedKey: reader.large() };
}

/**
 * Opens what a relay delivers to a recipient; `secret` is the queue's DH secret.
 *
 * @returns {{quota: boolean, seconds: number, notify?: boolean, body?: Buffer}}
 */
export function openMessage(secret, { msgId, box }) {
  if (msgId.length !== NONCE_LENGTH) throw new ProtocolError(`a message id of ${msgId.length} bytes`);
  const padded = open(secret, msgId, box, 'message');
  if (padded.length !== MSG_PADDED) throw new ProtocolError(`a message of ${padded.length} bytes`);
  const text = unpad(padded, 'message');
  const reader = new Reader(text);
  if (text.length === QUOTA.length + 8 && text.subarray(0, QUOTA.length).equals(Buffer.from(QUOTA))) {
    reader.take(QUOTA.length);
    return { quota: true, seconds: reader.i64() };
  }
  const [seconds, notify] = [reader.i64(), reader.letter('TF') === 'T'];
  reader.letter(' ');
  return { quota: false, seconds, notify, body: reader.rest() };
}

/** @returns {{msgId: Buffer, seconds: number}} what a notification says to the recipient */
export function openNotification(secret, { nonce, box }) {
  const padded = open(secret, nonce, box, 'notification');
  if (padded.length !== NMSG_PADDED) throw new ProtocolError(`a notification of ${padded.length} bytes`);
  const reader = new Reader(unpad(padded, 'notification'));
  return { msgId: reader.short(), seconds: reader.i64() };
}
