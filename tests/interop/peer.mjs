// A peer written from docs/protocol.md alone, in another language and with other libraries.
//
// Reads one JSON document on stdin (keys of both sides, envelopes that Python made, headers for the
// way back) and writes one on stdout: what it could verify and open, and envelopes of its own.

import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
import * as jose from "jose";
import { blind, headerDigest, open, seal, unb64u, utf8 } from "./wire.mjs";

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

// What a signature of each kind signs, and how it is checked (C2SP signed-note, tlog-cosignature).
const u64 = (number) => Buffer.from(BigInt(number).toString(16).padStart(16, "0"), "hex");
const short = (text) => Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]);
const ed25519 = (key, message, value) => {
  const jwk = { kty: "OKP", crv: "Ed25519", x: key.toString("base64url") };
  return verify(null, message, createPublicKey({ key: jwk, format: "jwk" }), value);
};
const kinds = {
  1: (_, key, text, value) => ed25519(key, Buffer.from(text), value),
  4: (_, key, text, value) => {
    const line = `cosignature/v1\ntime ${value.readBigUInt64BE()}\n`;
    return ed25519(key, Buffer.from(line + text), value.subarray(8));
  },
  6: (name, key, text, value) => {
    const [origin, size, root] = text.split("\n");
    const time = value.subarray(0, 8);
    const subtree = [short(origin), u64(0), u64(size), Buffer.from(root, "base64")];
    const message = Buffer.concat([Buffer.from("subtree/v1\n\0"), short(name), time, ...subtree]);
    return ml_dsa44.verify(value.subarray(8), message, key);
  },
};

function noteSignedBy(vkey, text, lines) {
  const [name, id, ...rest] = vkey.split("+");
  const material = Buffer.from(rest.join("+"), "base64");
  const own = sha256(Buffer.from(`${name}\n`), material).subarray(0, 4);
  if (own.toString("hex") !== id) throw new Error("verifier key");
  return lines.some((line) => {
    const [, who, value] = line.match(/^\u2014 (\S+) (\S+)$/u) ?? [];
    const blob = Buffer.from(value ?? "", "base64");
    if (who !== name || !blob.subarray(0, 4).equals(own)) return false;
    return kinds[material[0]](name, material.subarray(1), text, blob.subarray(4));
  });
}

function prove({ proof, leaf, vkeys, salt, subject }) {
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
    origin: origin === vkeys[0].split("+")[0],
    signed: vkeys.length === 3 && vkeys.every((vkey) => noteSignedBy(vkey, text, lines)),
    unsigned: !vkeys.some((vkey) => noteSignedBy(vkey, text.replace("\n", "x\n"), lines)),
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
