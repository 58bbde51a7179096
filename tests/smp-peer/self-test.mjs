/**
 * Proves the peer itself: sessions of other programs come out byte for byte, and the walk tells a good relay from a bad one.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { abuse, CASE_NAMES } from './abuse.mjs';
import { agree, keyPair, open, pad, ProtocolError, seal, unpad } from './box.mjs';
import { parseAnswer } from './commands.mjs';
import { connect } from './client.mjs';
import { concat, i64, large, maybe, Reader, short, u16 } from './encoding.mjs';
import { certificateChain, signedKey } from './fake/certificate.mjs';
import { FakeRelay } from './fake/relay.mjs';
import { goldenSessions, Replay } from './golden.mjs';
import { checkChain, fingerprint, parseAddress, sessionKey } from './identity.mjs';
import { decodeBatch, encodeBatch } from './protocol.mjs';
import { walkThrough } from './walk.mjs';

const LIMIT = { timeout: 300_000 };
/** Node's TLS server cannot be told to offer none. */
const TICKETS = 'no session tickets';
/** What must come out of the recorded sessions, so that none of it is left out unnoticed. */
const GOLDEN = {
  hellos: 25,
  'blocks of the client': 260,
  'blocks of the server': 311,
  'answers parsed': 146,
  'ed25519 signature': 24,
  'x25519 authenticator': 194,
  'chains and signed session keys': 23,
  'commands encoded': 68,
  'first chain keys': 16,
  'gaps in chains': 4,
  'messages opened': 51,
  'whole blocks opened': 2,
  'notifications opened': 1,
  'forwarded, x25519 authenticator': 3,
  'forwarded blocks': 6,
};
/** What a relay may do wrong, and the steps that must notice. */
const FAULTS = {
  'session id': ['TLS, identity, hello'],
  signature: ['TLS, identity, hello'],
  entity: ['SEND unsecured', 'SUB with another key: AUTH'],
  'trailing byte': ['NEW, subscribed'],
  time: ['SEND unsecured'],
  flag: ['SEND unsecured'],
  body: ['SEND unsecured'],
  'any key': ['SEND without authorization to a secured queue: AUTH', 'SUB with another key: AUTH', 'NSUB with another key: AUTH'],
  'kept message': ['ACK'],
  order: ['ACK brings the next message', 'a block of 5 SEND, delivered in order'],
  'no marker': ['the quota marker after the last'],
  'too long': ['SEND of 16049 bytes: LARGE_MSG'],
  'any id': ['NEW with a sender id that is not from the correlation id: refused'],
  'no END': ['END for the first'],
  silence: ['GET from an empty queue'],
};
const CLOSED = { closed: true, answers: [] };
/** What the fake relay does; a real one may do otherwise. */
const EXPECTED_OF_FAKE = {
  'short-block': CLOSED,
  'wrong-length': CLOSED,
  'garbage-block': CLOSED,
  'bad-padding': CLOSED,
  'wrong-session': { closed: false, answers: [{ text: 'ERR AUTH', unasked: false, times: 1 }] },
  replay: { closed: false, taken: 2, delivered: 2 },
  'zero-count': CLOSED,
  'lying-count': CLOSED,
  'trailing-bytes': CLOSED,
  'lying-item': CLOSED,
  'empty-item': CLOSED,
  'odd-corr-id': CLOSED,
  'long-authorization': { closed: false },
  slow: { closed: false, bytesSent: 1, answers: [] },
  'other-identity': { closed: true, blocksThatCame: 0 },
  'wrong-version': { closed: true, version: 21, blocksThatCame: 0 },
  'garbage-hello': { closed: true, blocksThatCame: 0 },
  'no-handshake': { closed: false, blocksThatCame: 0 },
  'flood-new': { made: 30, refused: null },
  pings: { pongs: 255, closed: false },
};

test('sessions of other programs come out byte for byte', LIMIT, (t) => {
  const { counts, wrong } = new Replay(goldenSessions());
  assert.deepEqual(wrong, []);
  assert.deepEqual(counts, GOLDEN);
  t.diagnostic(
    Object.entries(counts)
      .map(([name, count]) => `${count} ${name}`)
      .join(', '),
  );
});

test('a changed byte of a recorded session is noticed', LIMIT, () => {
  const change = (text) => `${text[0] === '0' ? '1' : '0'}${text.slice(1)}`;
  const changed = goldenSessions().slice(0, 1);
  const [block] = changed[0].blocks;
  block.block_sha256 = change(block.block_sha256);
  assert.equal(new Replay(changed).wrong.length, 1);
});

test('encodings read back what they wrote, and refuse what is cut off', () => {
  for (const length of [0, 1, 254, 255]) assert.deepEqual(new Reader(short(Buffer.alloc(length, 7))).short(), Buffer.alloc(length, 7));
  assert.throws(() => short(Buffer.alloc(256)), RangeError);
  assert.deepEqual(new Reader(large(Buffer.alloc(16000))).large(), Buffer.alloc(16000));
  assert.equal(new Reader(u16(0xfffe)).u16(), 0xfffe);
  assert.equal(new Reader(i64(1795464201)).i64(), 1795464201);
  const read = (bytes) => new Reader(bytes);
  const optional = (bytes) => {
    const reader = read(bytes);
    return reader.maybe(reader.short);
  };
  assert.equal(optional(maybe(null, short)), null);
  assert.equal(String(optional(maybe('word', short))), 'word');
  for (const cut of [Buffer.from([2, 1]), Buffer.alloc(0)]) assert.throws(() => read(cut).short(), ProtocolError);
  assert.throws(() => optional(Buffer.from('2')), ProtocolError);
  const items = [randomBytes(3), Buffer.alloc(0), randomBytes(300)];
  assert.deepEqual(decodeBatch(encodeBatch(items)), items);
  for (const bad of [Buffer.from([0]), concat(encodeBatch(items), '#'), encodeBatch(items).subarray(0, -1)])
    assert.throws(() => decodeBatch(bad), ProtocolError);
  for (const bad of ['OKAY', 'OK yes', 'SOK', 'SOK 2', 'IDS 0']) assert.throws(() => parseAnswer(19, Buffer.from(bad)), ProtocolError);
});

test('boxes open for the other side only, padding is checked', () => {
  const [ours, theirs] = [keyPair('x25519'), keyPair('x25519')];
  const secret = agree(ours, theirs.publicKey);
  assert.deepEqual(agree(theirs, ours.publicKey), secret);
  const nonce = randomBytes(24);
  const box = seal(secret, nonce, pad(Buffer.from('text'), 100));
  assert.equal(String(unpad(open(secret, nonce, box))), 'text');
  box[20] ^= 1;
  assert.throws(() => open(secret, nonce, box), ProtocolError);
  assert.throws(() => pad(Buffer.alloc(99), 100), RangeError);
  for (const padded of [Buffer.from('0003ab', 'hex'), Buffer.from('00016100', 'hex'), Buffer.from('00', 'hex')])
    assert.throws(() => unpad(padded), ProtocolError);
});

test('addresses are read', () => {
  const print = randomBytes(32);
  const text = `${print.toString('base64url')}=`;
  const full = parseAddress(`smp://${text}:pass-word@relay.example,abc.onion:15223`);
  assert.deepEqual(full, { keyHash: print, password: 'pass-word', hosts: ['relay.example', 'abc.onion'], port: 15223 });
  assert.deepEqual(parseAddress(`smp://${text}@[::1]`), { keyHash: print, password: null, hosts: ['::1'], port: 5223 });
  for (const wrong of [`smp://${text}`, `https://${text}@host`, `smp://${text.slice(8)}@host`, 'smp://@host'])
    assert.throws(() => parseAddress(wrong), Error);
});

for (const algorithm of ['ed25519', 'ed448']) {
  test(`chains and session keys are checked, ${algorithm}`, () => {
    const spki = Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), randomBytes(32)]);
    const [chain, other] = [certificateChain(2, algorithm), certificateChain(2, algorithm)];
    for (const length of [2, 3, 4]) {
      const longer = certificateChain(length, algorithm);
      checkChain(longer.certificates, longer.fingerprint);
      assert.throws(() => checkChain(longer.certificates, other.fingerprint), /fingerprint of the address/);
    }
    for (const length of [1, 5]) {
      const { certificates, fingerprint: print } = certificateChain(length, algorithm);
      assert.throws(() => checkChain(certificates, print), /2 to 4 are allowed/);
    }
    assert.throws(() => checkChain([chain.certificates[0], other.certificates[1]], other.fingerprint), /not signed by the next/);
    assert.throws(() => checkChain(chain.certificates, fingerprint(chain.certificates[0])), /fingerprint of the address/);
    assert.deepEqual(sessionKey(signedKey(spki, chain), chain.certificates[0]), spki.subarray(12));
    assert.throws(() => sessionKey(signedKey(spki, other), chain.certificates[0]), /signature is wrong/);
    assert.throws(() => sessionKey(signedKey(spki, chain).subarray(0, 40), chain.certificates[0]), ProtocolError);
  });
}

describe('against a fake relay', { concurrency: 4, ...LIMIT }, () => {
  test('every step of the walk holds, in all versions and through a proxy', async (t) => {
    const { steps } = await walkFake(
      { certificates: 3, algorithm: 'ed448' },
      { versions: [6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20], proxied: true },
    );
    assert.deepEqual(failures(steps), []);
    t.diagnostic(`${steps.length} steps`);
  });

  test('an open relay with small queues', async () => {
    const { steps } = await walkFake({ password: null, quota: 5, certificates: 4 }, { versions: [19], quota: 5 });
    assert.deepEqual(failures(steps), []);
  });

  test('another quota than expected is noticed', async () => {
    const { steps } = await walkFake({ quota: 7 }, { versions: [19], quota: 6 });
    assert.deepEqual(failures(steps), ['QUOTA after 6 messages']);
  });

  test('a version that is not offered is noticed', async () => {
    const { steps } = await walkFake({}, { versions: [21] });
    assert.match(steps[0].error, /version 21 is not offered, the range is 6 to 20/);
  });

  for (const [fault, noticed] of Object.entries(FAULTS)) {
    test(`a relay with a fault is noticed: ${fault}`, async () => {
      const { ok, steps } = await walkFake({ fault, quota: 5 }, { versions: [19], quota: 5 });
      assert.equal(ok, false);
      const failed = failures(steps);
      for (const step of noticed) assert(failed.includes(step), `"${step}" held, only these did not: ${failed}`);
    });
  }

  for (const name of CASE_NAMES) {
    test(`abuse: ${name}`, async () => {
      await withFake({}, async (relay) => {
        const report = await abuse(parseAddress(relay.address), name, { seconds: 1, limit: 30 });
        assert.equal(report.serves, true);
        assert.equal(report.failed, undefined);
        const expected = EXPECTED_OF_FAKE[name];
        for (const [field, value] of Object.entries(expected)) assert.deepEqual(report[field], value, field);
      });
    });
  }

  test('the programs leave with the status that they promise', async () => {
    await withFake({ quota: 5, fault: 'time' }, async ({ address }) => {
      const runs = [
        ['walk.mjs', address, '--version', '19', '--quota', '5'],
        ['walk.mjs', address, '--version', '19', '--quota', '5', '--json'],
        ['walk.mjs'],
        ['walk.mjs', address, '--version', 'x'],
        ['abuse.mjs', address, 'pings', '--seconds', '0'],
        ['abuse.mjs', address, 'nothing'],
      ];
      const [lines, json, ...more] = await Promise.all(runs.map(runProgram));
      assert.equal(lines.status, 1);
      assert.match(lines.printed, /^v19 PING: OK$/m);
      assert.match(lines.printed, /^v19 SEND unsecured: FAILED, the time \d+ is \d+ s off$/m);
      const { ok, steps } = JSON.parse(json.printed);
      assert.deepEqual([json.status, ok, steps[1].name, steps[1].ok], [1, false, 'PING', true]);
      assert.deepEqual(
        more.map(({ status }) => status),
        [64, 64, 0, 64],
      );
      assert.equal(JSON.parse(more[2].printed).pongs, 255);
    });
  });

  test('answers after the end of a connection are errors, at once', async () => {
    await withFake({}, async (relay) => {
      const connection = await connect(parseAddress(relay.address), 19);
      connection.writeRaw(randomBytes(16384));
      await connection.over;
      await assert.rejects(connection.ask(Buffer.from('PING')), /no answer to PING: the connection is over/);
    });
  });
});

async function walkFake(options, { proxied = false, ...walk }) {
  return withFake(options, async (relay) => {
    const proxy = proxied ? await FakeRelay.start({ behind: [relay], password: 'of the proxy' }) : null;
    try {
      return await walkThrough({ ...walk, address: parseAddress(relay.address), proxy: proxy && parseAddress(proxy.address) });
    } finally {
      proxy?.close();
    }
  });
}

async function withFake(options, use) {
  const relay = await FakeRelay.start(options);
  try {
    return await use(relay);
  } finally {
    relay.close();
  }
}

function failures(steps) {
  return steps.filter(({ ok, name }) => !ok && name !== TICKETS).map(({ name }) => name);
}

async function runProgram([program, ...args]) {
  const run = spawn(process.execPath, [fileURLToPath(new URL(program, import.meta.url)), ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  let printed = '';
  run.stdout.on('data', (text) => (printed += text));
  const status = await new Promise((resolve) => run.on('close', resolve));
  return { status, printed };
}
