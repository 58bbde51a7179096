/** Relay addresses, certificate chains, and the session key that a relay signs. */
import { createHash, verify, X509Certificate } from 'node:crypto';
import { ProtocolError } from './box.mjs';
import { fromSpki } from './encoding.mjs';

const DEFAULT_PORT = 5223;
const SIGNATURE_OID = { ed25519: '2b6570', ed448: '2b6571' };
const [SEQUENCE, OID, BIT_STRING] = [0x30, 0x06, 0x03];

/**
 * @param {string} text `smp://FINGERPRINT[:PASSWORD]@HOST[,HOST…][:PORT]`
 * @returns {{keyHash: Buffer, password: string|null, hosts: string[], port: number}}
 */
export function parseAddress(text) {
  const match = /^smp:\/\/([\w-]+)=*(?::([^@]*))?@((?:\[[^\]]+\]|[^:/\]])+?)(?::(\d+))?\/?$/.exec(text);
  if (!match) throw new Error(`not a relay's address: ${text}`);
  const [, fingerprint, password, hosts, port] = match;
  const keyHash = Buffer.from(fingerprint, 'base64url');
  if (keyHash.length !== 32) throw new Error(`the address has a fingerprint of ${keyHash.length} bytes`);
  return {
    keyHash,
    password: password ? decodeURIComponent(password) : null,
    hosts: hosts.split(',').map((host) => host.replace(/^\[(.*)\]$/, '$1')),
    port: port === undefined ? DEFAULT_PORT : Number(port),
  };
}

/**
 * Checks a chain, leaf first: 2 to 4 certificates, each signed by the next, the last by itself, and one above the leaf has the
 * fingerprint of the address.
 */
export function checkChain(chain, keyHash) {
  if (chain.length < 2 || chain.length > 4) throw new ProtocolError(`${chain.length} certificates, 2 to 4 are allowed`);
  const certificates = chain.map((der) => new X509Certificate(der));
  certificates.forEach((certificate, index) => {
    const issuer = certificates[index + 1] ?? certificate;
    if (!certificate.checkIssued(issuer) || !certificate.verify(issuer.publicKey)) {
      throw new ProtocolError(
        `certificate ${index + 1} of ${chain.length} is not signed by ${issuer === certificate ? 'itself' : 'the next'}`,
      );
    }
  });
  if (!chain.slice(1).some((der) => fingerprint(der).equals(keyHash))) {
    throw new ProtocolError('no certificate has the fingerprint of the address');
  }
}

export function fingerprint(der) {
  return createHash('sha256').update(der).digest();
}

/**
 * The relay's X25519 key for a session, if the leaf certificate signed it.
 *
 * @param {Buffer} signedKey DER: SEQUENCE { SEQUENCE { SPKI }, signature algorithm, BIT STRING }
 */
export function sessionKey(signedKey, leaf) {
  const outer = element(signedKey, SEQUENCE);
  const signed = element(outer.content, SEQUENCE);
  const algorithm = element(signed.after, SEQUENCE);
  const bits = element(algorithm.after, BIT_STRING).content;
  const oid = element(algorithm.content, OID).content.toString('hex');
  const { publicKey } = new X509Certificate(leaf);
  if (oid !== SIGNATURE_OID[publicKey.asymmetricKeyType]) {
    throw new ProtocolError(`the session key is signed with ${oid}, the certificate's key is ${publicKey.asymmetricKeyType}`);
  }
  if (bits[0] !== 0 || !verify(null, signed.whole, publicKey, bits.subarray(1))) {
    throw new ProtocolError("the session key's signature is wrong");
  }
  const key = fromSpki(signed.content);
  if (key.kind !== 'x25519') throw new ProtocolError(`the session key is an ${key.kind} key`);
  return key.publicKey;
}

/** One DER element of type `tag` at the front of `bytes`. */
function element(bytes, tag) {
  if (bytes.length < 2 || bytes[0] !== tag)
    throw new ProtocolError(`no DER element ${tag.toString(16)}: ${bytes.subarray(0, 8).toString('hex')}`);
  const longForm = bytes[1] > 0x80 ? bytes[1] - 0x80 : 0;
  const start = 2 + longForm;
  if (longForm > 2 || bytes.length < start) throw new ProtocolError('a DER length that no key has');
  const end = start + (longForm > 0 ? bytes.readUIntBE(2, longForm) : bytes[1]);
  if (end > bytes.length) throw new ProtocolError('a DER element is cut off');
  return { whole: bytes.subarray(0, end), content: bytes.subarray(start, end), after: bytes.subarray(end) };
}
