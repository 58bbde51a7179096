/** Certificate chains as relays have them: just enough of X.509 for a fake one. */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const OID = { ed25519: '06032b6570', ed448: '06032b6571', commonName: '0603550403', basicConstraints: '0603551d13' };
const [INTEGER, BIT_STRING, OCTETS, TEXT, SEQUENCE, SET, UTC_TIME, VERSION, EXTENSIONS] = [
  0x02, 0x03, 0x04, 0x0c, 0x30, 0x31, 0x17, 0xa0, 0xa3,
];
const TRUE = Buffer.from('0101ff', 'hex');

/**
 * @param {number} length how many certificates; the last one signs itself and is the identity
 * @param {'ed25519'|'ed448'} algorithm
 */
export function certificateChain(length, algorithm) {
  const names = Array.from({ length }, (_, index) => (index === 0 ? 'localhost' : `fake authority ${index}`));
  const pairs = names.map(() => generateKeyPairSync(algorithm));
  const certificates = names.map((subject, index) => {
    const issuer = Math.min(index + 1, length - 1);
    return certificate({
      subject,
      issuer: names[issuer],
      publicKey: pairs[index].publicKey,
      signer: pairs[issuer].privateKey,
      algorithm,
      authority: index > 0,
    });
  });
  return { certificates, key: pairs[0].privateKey, algorithm, fingerprint: createHash('sha256').update(certificates.at(-1)).digest() };
}

/** An SPKI with its signature by the leaf's key, as hellos carry it. */
export function signedKey(spki, { key, algorithm }) {
  const signed = der(SEQUENCE, spki);
  return der(SEQUENCE, signed, algorithmOf(algorithm), bits(sign(null, signed, key)));
}

export function pem(certificates) {
  return certificates
    .map((bytes) => `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`)
    .join('');
}

function certificate({ subject, issuer, publicKey, signer, algorithm, authority }) {
  const extensions = der(
    SEQUENCE,
    der(SEQUENCE, hex(OID.basicConstraints), TRUE, der(OCTETS, der(SEQUENCE, ...(authority ? [TRUE] : [])))),
  );
  const body = der(
    SEQUENCE,
    der(VERSION, der(INTEGER, Buffer.from([2]))),
    der(INTEGER, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithmOf(algorithm),
    name(issuer),
    der(SEQUENCE, time('200101000000Z'), time('491231235959Z')),
    name(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(EXTENSIONS, extensions),
  );
  return der(SEQUENCE, body, algorithmOf(algorithm), bits(sign(null, body, signer)));
}

const hex = (text) => Buffer.from(text, 'hex');
const algorithmOf = (algorithm) => der(SEQUENCE, hex(OID[algorithm]));
const bits = (bytes) => der(BIT_STRING, Buffer.from([0]), bytes);
const time = (text) => der(UTC_TIME, Buffer.from(text));
const name = (text) => der(SEQUENCE, der(SET, der(SEQUENCE, hex(OID.commonName), der(TEXT, Buffer.from(text)))));

function der(tag, ...parts) {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}
