// A peer written from docs/protocol.md alone, in another language and with other libraries.
//
// Reads one JSON document on stdin (keys of both sides, envelopes that Python made, headers for the
// way back) and writes one on stdout: what it could verify and open, and envelopes of its own.

import { createHash, createHmac, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import * as HPKE from "hpke";
import { AEAD_AES_256_GCM, KDF_SHAKE256, KEM_MLKEM768_X25519 } from "@panva/hpke-noble";
import * as jose from "jose";

const b64u = (bytes) => Buffer.from(bytes).toString("base64url");
const unb64u = (text) => new Uint8Array(Buffer.from(text, "base64url"));
const utf8 = (text) => new TextEncoder().encode(text);
const suite1 = new HPKE.CipherSuite(KEM_MLKEM768_X25519, KDF_SHAKE256, AEAD_AES_256_GCM);
// Recipient_structure: each piece ends in 0xFF, which is not UTF-8.
const info = new Uint8Array([...utf8("JOSE-HPKE rcpt"), 0xff, ...utf8("A256GCM"), 0xff]);

// RFC 8785 for what a header contains.
function jcs(value) {
  if (Array.isArray(value)) return `[${value.map(jcs).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const members = Object.keys(value).sort().map((k) => `${JSON.stringify(k)}:${jcs(value[k])}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value);
}

function headerDigest({ parts, ...header }, toKeys) {
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

const open = { 1: openSuite1, 2: openSuite2 };
const seal = { 1: sealSuite1, 2: sealSuite2 };

async function read({ suite, envelope, senderKey, recipientKey }) {
  const jws = JSON.parse(envelope);
  const key = await jose.importJWK(senderKey, { 1: "Ed25519", 2: "ES256" }[suite]);
  const { payload, protectedHeader } = await jose.flattenedVerify(jws, key);
  const content = JSON.parse(Buffer.from(payload));
  const aad = headerDigest(content, content.parts.map((part) => part.to_key));
  const opened = await open[suite](content.parts[0].jwe, aad, recipientKey);
  return {
    suite,
    kid: protectedHeader.kid,
    thumbprint: await jose.calculateJwkThumbprint(senderKey),
    opened: Buffer.from(opened).toString("utf8").trimEnd(),
  };
}

async function write({ suite, header, plaintext, kid, senderKey, recipientKid, recipientKey }) {
  const aad = headerDigest(header, [recipientKid]);
  const padded = new Uint8Array(4096).fill(0x20);
  padded.set(utf8(plaintext));
  const jwe = await seal[suite](padded, aad, recipientKid, recipientKey);
  const payload = utf8(JSON.stringify({ ...header, parts: [{ to_key: recipientKid, jwe }] }));
  const alg = { 1: "Ed25519", 2: "ES256" }[suite];
  const jws = await new jose.FlattenedSign(payload)
    .setProtectedHeader({ alg, kid, typ: "referral-envelope+jws" })
    .sign(await jose.importJWK(senderKey, alg));
  return { suite, envelope: JSON.stringify(jws) };
}

// --- Consent: what the hub sees stands for what is inside ------------------------------------

const prefixed = (text) => {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
};

function blind({ grantKey, purpose, section }) {
  const label = Buffer.from("referral-broker/1 scope\n");
  const data = Buffer.concat([label, prefixed(purpose), prefixed(section)]);
  return createHmac("sha256", unb64u(grantKey)).update(data).digest().subarray(0, 16).toString("base64url");
}

// --- The log: RFC 6962, C2SP signed-note, tlog-checkpoint, tlog-proof --------------------------

const sha256 = (...pieces) => createHash("sha256").update(Buffer.concat(pieces)).digest();
const node = (left, right) => sha256(Buffer.from([1]), left, right);

// RFC 9162, 2.1.3.2.
function rootFrom(leaf, index, size, path) {
  let [fn, sn, r] = [BigInt(index), BigInt(size) - 1n, leaf];
  for (const p of path) {
    if (sn === 0n) throw new Error("path too long");
    if ((fn & 1n) === 1n || fn === sn) {
      r = node(p, r);
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else r = node(r, p);
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  if (sn !== 0n) throw new Error("path too short");
  return r;
}

function noteSignedBy(vkey, text, lines) {
  const [name, id, ...rest] = vkey.split("+");
  const material = Buffer.from(rest.join("+"), "base64");
  const own = sha256(Buffer.from(`${name}\n`), material).subarray(0, 4);
  if (material[0] !== 1 || own.toString("hex") !== id) throw new Error("verifier key");
  const x = material.subarray(1).toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return lines.some((line) => {
    const [, who, value] = line.match(/^\u2014 (\S+) (\S+)$/u) ?? [];
    const blob = Buffer.from(value ?? "", "base64");
    return who === name && blob.subarray(0, 4).equals(own) && verify(null, Buffer.from(text), key, blob.subarray(4));
  });
}

function prove({ proof, leaf, vkey, salt, subject }) {
  const [head, ...after] = proof.split("\n\n");
  const [first, index, ...path] = head.split("\n");
  const checkpoint = after.join("\n\n");
  const cut = checkpoint.lastIndexOf("\n\n");
  const text = checkpoint.slice(0, cut + 1);
  const lines = checkpoint.slice(cut + 2).trimEnd().split("\n");
  const [origin, size, root] = text.split("\n");
  const steps = path.map((step) => Buffer.from(step, "base64"));
  const data = unb64u(leaf);
  const made = rootFrom(sha256(Buffer.from([0]), data), index.replace("index ", ""), size, steps);
  const label = Buffer.from("referral-broker/1 leaf\n");
  const commitment = sha256(label, unb64u(salt), unb64u(subject)).toString("base64url");
  return {
    format: first,
    origin: origin === vkey.split("+")[0],
    signed: noteSignedBy(vkey, text, lines),
    included: made.toString("base64") === root,
    about: JSON.parse(Buffer.from(data)).commitment === commitment,
  };
}

const task = JSON.parse(readFileSync(0, "utf8"));
const result = {
  read: await Promise.all(task.read.map(read)),
  written: await Promise.all(task.write.map(write)),
  scopes: task.scopes.map(blind),
  proofs: task.proofs.map(prove),
};
process.stdout.write(JSON.stringify(result));
