// The wire as docs/protocol.md has it, in another language and with other libraries: sealing, scopes, JCS.

import { createHash, createHmac } from "node:crypto";
import * as HPKE from "hpke";
import { AEAD_AES_256_GCM, KDF_SHAKE256, KEM_MLKEM768_X25519 } from "@panva/hpke-noble";
import * as jose from "jose";

export const b64u = (bytes) => Buffer.from(bytes).toString("base64url");
export const unb64u = (text) => new Uint8Array(Buffer.from(text, "base64url"));
export const utf8 = (text) => new TextEncoder().encode(text);
export const suite1 = new HPKE.CipherSuite(KEM_MLKEM768_X25519, KDF_SHAKE256, AEAD_AES_256_GCM);
// Recipient_structure: each piece ends in 0xFF, which is not UTF-8.
const info = new Uint8Array([...utf8("JOSE-HPKE rcpt"), 0xff, ...utf8("A256GCM"), 0xff]);

// RFC 8785 for what a header contains.
export function jcs(value) {
  if (Array.isArray(value)) return `[${value.map(jcs).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const members = Object.keys(value).sort().map((k) => `${JSON.stringify(k)}:${jcs(value[k])}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value);
}

export function headerDigest({ parts, ...header }, toKeys) {
  const text = jcs({ ...header, to_keys: toKeys });
  return createHash("sha256").update(`referral-broker/1 header\n${text}`).digest();
}

const aesKey = (cek, use) => crypto.subtle.importKey("raw", cek, "AES-GCM", false, [use]);
const gcm = (iv, aad) => ({ name: "AES-GCM", iv, additionalData: aad, tagLength: 128 });

async function openSuite1(jwe, aad, jwk) {
  const header = JSON.parse(Buffer.from(jwe.protected, "base64url"));
  const privateKey = await suite1.DeserializePrivateKey(unb64u(jwk.priv));
  const cek = await suite1.Open(privateKey, unb64u(header.ek), unb64u(jwe.encrypted_key), { info });
  const sealed = Buffer.concat([unb64u(jwe.ciphertext), unb64u(jwe.tag)]);
  const params = gcm(unb64u(jwe.iv), utf8(`${jwe.protected}.${b64u(aad)}`));
  return new Uint8Array(await crypto.subtle.decrypt(params, await aesKey(cek, "decrypt"), sealed));
}

async function openSuite2(jwe, aad, jwk) {
  const key = await jose.importJWK(jwk, "ECDH-ES+A256KW");
  return (await jose.flattenedDecrypt({ ...jwe, aad: b64u(aad) }, key)).plaintext;
}

async function sealSuite1(plaintext, aad, kid, jwk) {
  const cek = crypto.getRandomValues(new Uint8Array(32));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const publicKey = await suite1.DeserializePublicKey(unb64u(jwk.pub));
  const wrapped = await suite1.Seal(publicKey, cek, { info });
  const header = { alg: "HPKE-9-KE", enc: "A256GCM", kid, ek: b64u(wrapped.encapsulatedSecret) };
  const protectedHeader = b64u(utf8(JSON.stringify(header)));
  const params = gcm(iv, utf8(`${protectedHeader}.${b64u(aad)}`));
  const sealed = await crypto.subtle.encrypt(params, await aesKey(cek, "encrypt"), plaintext);
  return {
    protected: protectedHeader,
    encrypted_key: b64u(wrapped.ciphertext),
    iv: b64u(iv),
    ciphertext: b64u(sealed.slice(0, -16)),
    tag: b64u(sealed.slice(-16)),
  };
}

async function sealSuite2(plaintext, aad, kid, jwk) {
  const header = { alg: "ECDH-ES+A256KW", enc: "A256GCM", kid };
  const { aad: _, ...jwe } = await new jose.FlattenedEncrypt(plaintext)
    .setProtectedHeader(header)
    .setAdditionalAuthenticatedData(aad)
    .encrypt(await jose.importJWK(jwk, header.alg));
  return jwe;
}

export const open = { 1: openSuite1, 2: openSuite2 };
export const seal = { 1: sealSuite1, 2: sealSuite2 };

// --- Consent: what the hub sees stands for what is inside ------------------------------------

const prefixed = (text) => {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
};

export function blind({ grantKey, purpose, section }) {
  const label = Buffer.from("referral-broker/1 scope\n");
  const data = Buffer.concat([label, prefixed(purpose), prefixed(section)]);
  return createHmac("sha256", unb64u(grantKey)).update(data).digest().subarray(0, 16).toString("base64url");
}
