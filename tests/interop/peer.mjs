// A peer written from docs/protocol.md alone, in another language and with other libraries.
//
// Reads one JSON document on stdin (keys of both sides, envelopes that Python made, headers for the
// way back) and writes one on stdout: what it could verify and open, and envelopes of its own.

import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
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
