/** Sessions that other programs held, made again from their keys: every block, authorization, message and forwarded command. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { agree, keyPair, pad, reversed, seal, signatureHolds, unpad, open } from './box.mjs';
import * as commands from './commands.mjs';
import { concat, EMPTY, fromSpki, i64, large, Reader, short, spki, u16, u8 } from './encoding.mjs';
import { checkChain, sessionKey } from './identity.mjs';
import {
  clientHello,
  decodeBatch,
  decodeTransmission,
  Direction,
  encodeBatch,
  encodeTransmission,
  firstChains,
  parseServerHello,
} from './protocol.mjs';

const FILES = ['smp_v6_v10.json', 'smp_v11_v18.json', 'smp_v19.json', 'smp_proxy.json'];
const FORWARDED_LENGTH = 16226;
/** How far from other messages of its session the one message without a recorded time may be. */
const SECONDS_TRIED = 60;

/** Where the vectors are: SMP_VECTORS, or the folder of the crate that they judge as well. */
export function vectorsFolder() {
  return process.env.SMP_VECTORS ?? new URL('../../crates/smp-protocol/tests/vectors', import.meta.url).pathname;
}

export function goldenSessions(folder = vectorsFolder()) {
  if (!existsSync(`${folder}/${FILES[0]}`)) throw new Error(`no ${FILES[0]} in ${folder}: set SMP_VECTORS to the folder that has it`);
  return FILES.flatMap((file) => JSON.parse(readFileSync(`${folder}/${file}`)).sessions);
}

/** Replays sessions; `counts` says how many of each thing came out as recorded, `wrong` lists what did not. */
export class Replay {
  counts = {};
  wrong = [];
  /** SEND bodies by their SHA-256, to make long messages again. */
  #bodies = new Map();
  /** DH secrets of queues by the hex of the recipient's id. */
  #secrets = new Map();
  #newByCorrId = new Map();
  #times = [];
  #proxySessionId = EMPTY;
  /** Secrets of forwarded commands by the hex of their nonce. */
  #proxySecrets = new Map();

  constructor(sessions) {
    for (const session of sessions) this.#recordKeys(session);
    for (const session of sessions.toSorted(sendersFirst)) this.#replay(session);
  }

  #recordKeys({ blocks }) {
    for (const item of blocks.flatMap(({ transmissions }) => transmissions)) {
      if (item.tag === 'NEW') this.#newByCorrId.set(item.corr_id, item);
      const created = item.tag === 'IDS' && this.#newByCorrId.get(item.corr_id);
      if (created) {
        const dhKey = keyPair('x25519', hex(created.decoded.recipient_dh_key.private));
        this.#secrets.set(item.decoded.rcv_id, agree(dhKey, fromSpki(hex(item.decoded.server_dh_spki)).publicKey));
      }
      const seconds = item.decoded?.plain_decoded?.timestamp_seconds;
      if (seconds) this.#times.push(seconds);
    }
  }

  #replay(recorded) {
    const session = this.#hellos(recorded);
    for (const block of recorded.blocks) {
      const items = block.transmissions.map((item) =>
        block.from === 'client' ? this.#sent(session, item) : this.#received(session, item),
      );
      this.#block(session, block, encodeBatch(items));
    }
  }

  /** @returns {object} the session as encodeTransmission wants it, with `chains` */
  #hellos({ name, server_hello: server, client_hello: client, smp_version: version, session_id: id, block_encryption: encryption }) {
    const hello = parseServerHello(Buffer.from(server.plain_b64, 'base64'));
    this.#same(`${name}: range`, [hello.min, hello.max], [server.decoded.version_min, server.decoded.version_max]);
    this.#same(`${name}: session id`, hello.sessionId.toString('hex'), id);
    const keyHash = hex(client.decoded.key_hash);
    let serverKey = null;
    if (hello.signedKey) {
      checkChain(hello.chain, keyHash);
      serverKey = sessionKey(hello.signedKey, hello.chain[0]);
      this.#count('chains and signed session keys');
      this.#same(`${name}: session key`, serverKey.toString('hex'), server.decoded.server_dh_public);
    }
    const key = client.client_dh_private && keyPair('x25519', hex(client.client_dh_private));
    this.#same(`${name}: client hello`, clientHello({ version, keyHash, key }).toString('hex'), client.plain, 'hellos');
    const session = { name, version, sessionId: hello.sessionId, serverKey, chains: null };
    if (encryption) {
      const secret = agree(key, serverKey);
      session.chains = firstChains(hello.sessionId, secret);
      this.#same(
        `${name}: first chains`,
        concat(session.chains.toClient, session.chains.toServer).toString('hex'),
        encryption.first_32_bytes_server_to_client_chain_key + encryption.next_32_bytes_client_to_server_chain_key,
        'first chain keys',
      );
    }
    session.directions = {
      server: new Direction(session.chains?.toClient ?? null),
      client: new Direction(session.chains?.toServer ?? null),
    };
    return session;
  }

  #block(session, { from, encryption, block_sha256: digest, block_b64: whole }, text) {
    const fresh = () => new Direction(encryption ? hex(encryption.chain_key) : null);
    const what = `${session.name}: block ${digest.slice(0, 8)} of the ${from}`;
    let block = session.directions[from].wrap(text);
    if (sha256(block) !== digest) {
      // Blocks that were not recorded came before this one.
      const direction = fresh();
      block = direction.wrap(text);
      session.directions[from] = direction;
      this.#count('gaps in chains');
    }
    this.#same(what, sha256(block), digest, `blocks of the ${from}`);
    if (whole)
      this.#same(
        `${what}, whole`,
        fresh().unwrap(Buffer.from(whole, 'base64')).toString('hex'),
        text.toString('hex'),
        'whole blocks opened',
      );
    this.#same(`${what}, opened`, fresh().unwrap(block).equals(text), true);
    this.#same(`${what}, its items`, encodeBatch(decodeBatch(text)).equals(text), true);
  }

  #sent(session, item) {
    const command = this.#command(session, item);
    if (item.tag === 'SEND') this.#rememberBody(command);
    const bytes = encodeTransmission(session, { corrId: hex(item.corr_id), entityId: hex(item.entity_id), command, key: keyOf(item) });
    this.#sameBytes(`${session.name}: ${item.tag}, ${item.note}`, bytes, item.bytes, item.authorization_by?.kind);
    if (item.authorization_by?.kind === 'ed25519 signature') this.#verify(session, item, command);
    return bytes;
  }

  #verify(session, item, command) {
    const authorized = concat(short(session.sessionId), short(hex(item.corr_id)), short(hex(item.entity_id)), command);
    const holds = signatureHolds(hex(item.authorization_by.public_key), authorized, hex(item.authorization));
    this.#same(`${session.name}: the signature of ${item.tag}`, holds, true);
  }

  /** The command encoded from its decoded parts where these are recorded, otherwise its bytes. */
  #command(session, item) {
    const encode = ENCODERS[item.tag];
    const encoded = encode?.(session.version, item.decoded ?? {}, this);
    if (encoded) {
      this.#sameBytes(`${session.name}: the command ${item.tag}, ${item.note}`, encoded, item.command, 'commands encoded');
      return encoded;
    }
    return typeof item.command === 'string' ? hex(item.command) : filled(item.command);
  }

  /** The block inside PFWD, made again and sealed. */
  forwarded(decoded) {
    const inner = decoded.inner_transmission;
    const proxied = { version: decoded.forward_version, sessionId: this.#proxySessionId, serverKey: hex(decoded.relay_dh_public) };
    const item = encodeTransmission(proxied, {
      corrId: hex(inner.corr_id),
      entityId: hex(inner.entity_id),
      command: hex(inner.command),
      key: keyOf(inner),
    });
    const key = keyPair('x25519', hex(decoded.command_dh_private));
    const secret = agree(key, proxied.serverKey);
    this.#same('PFWD: secret', secret.toString('hex'), decoded.secret);
    this.#same(
      'PFWD: inner block',
      encodeBatch([item]).toString('hex'),
      decoded.inner_block,
      inner.authorization_by?.kind && `forwarded, ${inner.authorization_by.kind}`,
    );
    const box = seal(secret, hex(decoded.nonce), pad(encodeBatch([item]), FORWARDED_LENGTH));
    this.#same('PFWD: box', sha256(box), decoded.encrypted_sha256, 'forwarded blocks');
    this.#proxySecrets.set(decoded.nonce, secret);
    return commands.proxyForward(decoded.forward_version, key, box);
  }

  #received(session, item) {
    const bytes = typeof item.bytes === 'string' ? hex(item.bytes) : this.#longAnswer(session, item);
    if (bytes === null) return EMPTY;
    this.#sameBytes(`${session.name}: ${item.tag}`, bytes, item.bytes);
    const { corrId, entityId, body } = decodeTransmission(session, bytes);
    this.#same(`${session.name}: ids of ${item.tag}`, [corrId.toString('hex'), entityId.toString('hex')], [item.corr_id, item.entity_id]);
    const answer = commands.parseAnswer(session.version, body);
    this.#same(`${session.name}: tag`, answer.tag, item.tag);
    const expected = EXPECTED[item.tag]?.(item.decoded, session.version);
    if (expected) this.#same(`${session.name}: fields of ${item.tag}`, plainly(answer, expected), expected, 'answers parsed');
    this.#opened(session, item, answer);
    return bytes;
  }

  #opened(session, item, answer) {
    const what = `${session.name}: plain ${item.tag}`;
    if (item.tag === 'PKEY') {
      this.#proxySessionId = answer.sessionId;
      this.#same(
        what,
        sessionKey(answer.signedKey, answer.chain[0]).toString('hex'),
        item.decoded.relay_dh_public,
        'chains and signed session keys',
      );
    }
    if (item.tag === 'PRES') {
      const text = unpad(open(this.#proxySecrets.get(item.corr_id), reversed(hex(item.corr_id)), answer.box));
      this.#same(what, text.toString('hex'), item.decoded.inner_block, 'forwarded blocks');
    }
    if (item.tag === 'NMSG') {
      const { msgId, seconds } = commands.openNotification(hex(item.decoded.dh_secret), answer);
      this.#same(what, concat(short(msgId), i64(seconds)).toString('hex'), item.decoded.plain, 'notifications opened');
    }
    if (item.tag === 'MSG' && item.decoded.plain_decoded) {
      const { quota, seconds, notify, body } = commands.openMessage(this.#secrets.get(item.entity_id), answer);
      const recorded = item.decoded.plain_decoded;
      this.#same(
        what,
        [quota, seconds, notify],
        [recorded.quota ?? false, recorded.timestamp_seconds, recorded.notification_flag && recorded.notification_flag === 'T'],
      );
      if (!quota) this.#sameBytes(`${what}, body`, body, recorded.sent_body);
      this.#count('messages opened');
    }
  }

  #longAnswer({ version, sessionId }, item) {
    const head = concat(
      short(EMPTY),
      version < 7 ? short(sessionId) : EMPTY,
      short(hex(item.corr_id)),
      short(hex(item.entity_id)),
      `${item.tag} `,
    );
    if (item.tag === 'PKEY') {
      const { session_id: id, version_min: min, version_max: max, certificates_der_b64: chain, signed_key_der_b64: key } = item.decoded;
      const base64 = (text) => large(Buffer.from(text, 'base64'));
      return concat(head, short(hex(id)), u16(min), u16(max), u8(chain.length), ...chain.map(base64), base64(key));
    }
    if (item.tag === 'PRES') {
      const padded = pad(hex(item.decoded.inner_block), FORWARDED_LENGTH);
      return concat(head, seal(this.#proxySecrets.get(item.corr_id), hex(item.decoded.response_nonce), padded));
    }
    const [secret, msgId] = [this.#secrets.get(item.entity_id), hex(item.decoded.msg_id)];
    const message = (plain) => concat(head, short(msgId), seal(secret, msgId, pad(plain, 16106)));
    if (!item.decoded.plain_decoded) return this.#messageOfUnknownTime(item, message);
    if (typeof item.decoded.plain === 'string') return message(hex(item.decoded.plain));
    const { timestamp_seconds: seconds, notification_flag: flag, sent_body: body } = item.decoded.plain_decoded;
    return message(concat(i64(seconds), `${flag} `, this.#bodies.get(body.sha256)));
  }

  #messageOfUnknownTime(item, message) {
    const bodies = [...this.#bodies.values()].filter((body) => body.length < 100);
    for (let seconds = Math.min(...this.#times); seconds <= Math.max(...this.#times) + SECONDS_TRIED; seconds += 1) {
      for (const body of bodies) {
        const bytes = message(concat(i64(seconds), 'F ', body));
        if (sha256(bytes) === item.bytes.sha256) return bytes;
      }
    }
    this.wrong.push(`no message comes out as ${item.bytes.sha256}`);
    return null;
  }

  #rememberBody(command) {
    const body = command.subarray('SEND F '.length);
    this.#bodies.set(sha256(body), body);
  }

  #sameBytes(what, bytes, recorded, kind) {
    if (typeof recorded === 'string') this.#same(what, bytes.toString('hex'), recorded, kind);
    else this.#same(what, [bytes.length, sha256(bytes)], [recorded.len, recorded.sha256], kind);
  }

  #same(what, got, recorded, kind) {
    const [a, b] = [JSON.stringify(got), JSON.stringify(recorded)];
    if (a !== b) this.wrong.push(`${what}: ${a} where ${b} was recorded`);
    else if (kind) this.#count(kind);
  }

  #count(kind) {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
  }
}

/** Bodies are known once the sender's session is replayed. */
function sendersFirst(a, b) {
  return Number(b.name.endsWith('sender')) - Number(a.name.endsWith('sender'));
}

const hex = (text) => Buffer.from(text, 'hex');
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const recordedKey = ({ type, private: secret }) => keyPair(type, hex(secret));

function keyOf({ authorization_by: by }) {
  if (!by) return null;
  return by.kind === 'ed25519 signature' ? keyPair('ed25519', hex(by.seed)) : keyPair('x25519', hex(by.private_key));
}

/** A long command of which only the head is recorded, and which goes on as its head ends. */
function filled({ len, head }) {
  const bytes = Buffer.alloc(len, hex(head).at(-1));
  bytes.set(hex(head));
  return bytes;
}

const ENCODERS = {
  NEW: (
    version,
    { recipient_auth_key: authKey, recipient_dh_key: dhKey, basic_auth: password, subscribe, queue_mode: mode, link_data: link },
  ) =>
    commands.newQueue(version, {
      authKey: recordedKey(authKey),
      dhKey: recordedKey(dhKey),
      mode,
      // It is recorded for all queues but those with links, which had it too.
      password: password === undefined ? (link ? 'testpass' : null) : password,
      subscribe: subscribe ?? true,
      link: link && { linkId: hex(link.link_id ?? ''), senderId: hex(link.sender_id), fixed: hex(link.fixed), user: hex(link.user) },
    }),
  KEY: (_, { sender_key: key }) => key && commands.secure(recordedKey(key)),
  SKEY: (_, { sender_key: key }) => key && commands.senderSecure(recordedKey(key)),
  LKEY: (_, { sender_key: key }) => key && commands.linkSecure(recordedKey(key)),
  RKEY: (_, { keys }) => keys && commands.recipientKeys(keys.map(recordedKey)),
  NKEY: (_, { notifier_key: authKey, recipient_notification_dh: dhKey }) =>
    commands.enableNotifications({ authKey: recordedKey(authKey), dhKey: recordedKey(dhKey) }),
  LSET: (_, { link_id: linkId, fixed, user }) => fixed && commands.setLink({ linkId: hex(linkId), fixed: hex(fixed), user: hex(user) }),
  PRXY: (_, { hosts, port, key_hash: keyHash, basic_auth: password }) =>
    commands.proxySession({ hosts, port, keyHash: hex(keyHash) }, password),
  PFWD: (_, decoded, replay) => replay.forwarded(decoded),
  SEND: (_, { client_envelope: envelope }) => envelope && commands.send(clientEnvelope(envelope), envelope.sender_e2e_key !== null),
};

/** The layer between sender and recipient, which a relay does not look into. */
function clientEnvelope({ version, sender_e2e_key: key, dh_secret: secret, nonce, client_message_plain: plain, padded_len: length }) {
  return concat(
    u16(version),
    key ? concat('1', short(spki(recordedKey(key)))) : '0',
    hex(nonce),
    seal(hex(secret), hex(nonce), pad(hex(plain), length)),
  );
}

/** Fields of answers as `plainly` writes them. */
const EXPECTED = {
  IDS: (ids, version) => ({
    recipientId: ids.rcv_id,
    senderId: ids.snd_id,
    dhKey: publicKeyOf(ids.server_dh_spki),
    linkId: ids.link_id ?? null,
    serviceId: ids.service_id ?? null,
    notifier: ids.notifier ?? null,
    mode: version >= 15 ? ids.queue_mode : version >= 9 ? { T: 'M', F: 'C' }[ids.sender_can_secure] : null,
  }),
  SOK: ({ service_id: serviceId }) => ({ serviceId }),
  ERR: ({ parameter_text: error }) => ({ error }),
  INFO: ({ parameter_text: text }) => ({ text }),
  MSG: ({ msg_id: msgId }) => ({ msgId }),
  NID: ({ notifier_id: notifierId, server_dh_spki: dhKey }) => ({ notifierId, dhKey: publicKeyOf(dhKey) }),
  NMSG: ({ nonce, enc_meta: box }) => ({ nonce, box }),
  LNK: ({ snd_id: senderId, fixed, user }) => ({ senderId, fixed, user }),
  PKEY: ({ session_id: sessionId, version_min: min, version_max: max }) => ({ sessionId, min, max }),
};

function publicKeyOf(spkiHex) {
  return new Reader(hex(spkiHex)).rest().subarray(12).toString('hex');
}

/** The fields of `answer` that `expected` has, buffers as hex. */
function plainly(answer, expected) {
  return Object.fromEntries(
    Object.keys(expected).map((name) => [name, Buffer.isBuffer(answer[name]) ? answer[name].toString('hex') : answer[name]]),
  );
}
