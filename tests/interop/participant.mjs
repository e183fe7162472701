// A participant written from docs/protocol.md and schemas/published alone.
//
//   node participant.mjs enrol  FOLDER ID   makes keys, keeps them in FOLDER, prints its directory entry
//   node participant.mjs work   FOLDER      talks to a hub as FOLDER/task.json says, prints what happened
//
// It is no gateway: it keeps nothing but its keys, believes the entries of the directory that it is
// given (TUF is a library's work) and has no rules. But it takes every step of the wire.

import { createHash, createHmac, randomBytes, randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as jose from "jose";
import { b64u, blind, headerDigest, jcs, open, seal, suite1, unb64u, utf8 } from "./wire.mjs";

const JOSE = { "content-type": "application/jose+json" };
const BUCKETS = [4096, 16384, 65536, 262144];
const HOUR = 3600_000;
const now = () => new Date().toISOString();
const later = (ms) => new Date(Date.now() + ms).toISOString();
const day = (ms = 0) => later(ms).slice(0, 10);
const sha256 = (data) => createHash("sha256").update(data).digest();

// RFC 9562, 5.7: 48 bits of milliseconds, then chance.
function uuid7() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// --- Keys and the entry in the directory (section 9, Directory entry) --------------------------

async function thumbprint(jwk) {
  // An AKP key's required members are alg, kty, pub (RFC 9964); jose knows the others.
  if (jwk.kty !== "AKP") return jose.calculateJwkThumbprint(jwk);
  return b64u(sha256(jcs({ alg: jwk.alg, kty: jwk.kty, pub: jwk.pub })));
}

async function made(use, suite) {
  if (use === "seal" && suite === 1) {
    const pair = await suite1.GenerateKeyPair(true);
    const pub = b64u(await suite1.SerializePublicKey(pair.publicKey));
    const priv = b64u(await suite1.SerializePrivateKey(pair.privateKey));
    return { alg: "HPKE-9-KE", jwk: { kty: "AKP", alg: "HPKE-9-KE", pub, priv } };
  }
  const alg = use === "seal" ? "ECDH-ES+A256KW" : { 1: "Ed25519", 2: "ES256" }[suite];
  const curve = alg === "ECDH-ES+A256KW" ? { crv: "P-256" } : {};
  const { privateKey } = await jose.generateKeyPair(alg, { extractable: true, ...curve });
  return { alg, jwk: await jose.exportJWK(privateKey) };
}

async function enrol(folder, id) {
  const keys = [];
  for (const suite of [1, 2])
    for (const use of ["sign", "seal"]) {
      const { alg, jwk } = await made(use, suite);
      keys.push({ kid: await thumbprint(jwk), use, suite, alg, jwk });
    }
  writeFileSync(join(folder, "keys.json"), JSON.stringify({ id, keys }), { mode: 0o600 });
  const published = keys.map(({ jwk: { d, priv, ...jwk }, ...key }) => ({
    ...key,
    jwk,
    compartment: key.use === "seal" ? "casework" : null,
    status: "active",
    not_before: later(-HOUR),
    not_after: later(24 * HOUR),
  }));
  return {
    id,
    name: "A participant in another language",
    country: id.slice(0, 2).toUpperCase(),
    kind: "state",
    function: "nrm",
    suites: [1, 2],
    compartments: ["casework"],
    keys: published,
    entry_issued_at: now(),
  };
}

// --- Signed objects (sections 1 and 2) ---------------------------------------------------------

class Participant {
  constructor(folder) {
    this.task = JSON.parse(readFileSync(join(folder, "task.json")));
    Object.assign(this, JSON.parse(readFileSync(join(folder, "keys.json"))));
    this.others = new Map(this.task.entries.map((entry) => [entry.id, entry]));
    this.incarnation = b64u(randomBytes(16));
    this.numbers = new Map();
  }

  key(use, suite) {
    return this.keys.find((key) => key.use === use && key.suite === suite);
  }

  async signed(content, typ, suite = 1) {
    const { alg, kid, jwk } = this.key("sign", suite);
    const jws = await new jose.FlattenedSign(utf8(JSON.stringify(content)))
      .setProtectedHeader({ alg, kid, typ })
      .sign(await jose.importJWK(jwk, alg));
    return JSON.stringify(jws);
  }

  // Adds our signature to an agreement that the other party has signed.
  async countersigned(raw) {
    const jws = JSON.parse(raw);
    const { alg, kid, jwk } = this.key("sign", 1);
    const own = await new jose.FlattenedSign(unb64u(jws.payload))
      .setProtectedHeader({ alg, kid, typ: "referral-agreement+jws" })
      .sign(await jose.importJWK(jwk, alg));
    jws.signatures.push({ protected: own.protected, signature: own.signature });
    return JSON.stringify(jws);
  }

  // The content, if the key that signed it is `by`'s, in the directory, for signing.
  async verified(raw, typ, by) {
    const jws = JSON.parse(raw);
    const header = jose.decodeProtectedHeader(jws);
    if (Object.keys(header).sort().join() !== "alg,kid,typ") throw new Error("header");
    if (header.typ !== typ) throw new Error(`typ ${header.typ}`);
    const key = this.others.get(by).keys.find((one) => one.kid === header.kid);
    if (key?.use !== "sign" || key.alg !== header.alg) throw new Error("key");
    await jose.flattenedVerify(jws, await jose.importJWK(key.jwk, key.alg));
    return JSON.parse(Buffer.from(jws.payload, "base64url"));
  }

  // --- HTTP (sections 4 and 6) -----------------------------------------------------------------

  async request(method, path, body) {
    const url = this.task.hub + path;
    const { alg, kid, jwk } = this.key("sign", 1);
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const covered = ['"@method"', '"@target-uri"'];
    const lines = [`"@method": ${method}`, `"@target-uri": ${url}`];
    if (body !== undefined) {
      headers["content-digest"] = `sha-256=:${sha256(body).toString("base64")}:`;
      covered.push('"content-digest"');
      lines.push(`"content-digest": ${headers["content-digest"]}`);
    }
    const created = Math.floor(Date.now() / 1000);
    const nonce = b64u(randomBytes(16));
    const name = { Ed25519: "ed25519", ES256: "ecdsa-p256-sha256" }[alg];
    const params =
      `(${covered.join(" ")});created=${created};keyid="${kid}";alg="${name}"` +
      `;nonce="${nonce}";tag="referral-broker"`;
    const base = utf8([...lines, `"@signature-params": ${params}`].join("\n"));
    const key = await jose.importJWK(jwk, alg);
    const value = Buffer.from(await crypto.subtle.sign({ name: "Ed25519" }, key, base));
    headers["signature-input"] = `sig1=${params}`;
    headers.signature = `sig1=:${value.toString("base64")}:`;
    return fetch(url, { method, headers, body });
  }

  async ask(path) {
    const answer = await this.request("GET", path);
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  // Our country enrolled us a moment ago: a hub that has not read the directory since knows nobody
  // of our name yet.
  async introduce() {
    for (let tries = 30; ; tries--) {
      const answer = await this.request("POST", "/incarnation", JSON.stringify({ incarnation: this.incarnation }));
      if (answer.ok) return;
      if (answer.status !== 401 || tries === 0) throw new Error(`/incarnation: ${answer.status} ${await answer.text()}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  async tell(path, content) {
    const answer = await this.request("POST", path, JSON.stringify(content));
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? null : answer.json();
  }

  async hand(path, jws) {
    const answer = await fetch(this.task.hub + path, { method: "POST", headers: JOSE, body: jws });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
    return text;
  }

  // --- Messages (section 3) --------------------------------------------------------------------

  async send(to, { casework, hours, ...fields }) {
    const suite = Math.min(...this.others.get(to).suites);
    const at = new Date();
    const place = `${to} ${fields.lane}`;
    const number = (this.numbers.get(place) ?? 0) + 1;
    this.numbers.set(place, number);
    const header = {
      suite,
      version: 1,
      id: uuid7(),
      replaces: null,
      from: this.id,
      to,
      stream: { incarnation: this.incarnation, number },
      in_reply_to: null,
      issued_at: at.toISOString(),
      expires_at: later(24 * HOUR),
      answer_by: hours ? new Date(at.getTime() + hours * HOUR).toISOString() : null,
      pauses_clock: false,
      agreement: this.task.agreement_id,
      attachments: [],
      ...fields,
    };
    const keys = this.others
      .get(to)
      .keys.filter((key) => key.use === "seal" && key.suite === suite && key.status === "active");
    const contents = keys.map((key) => (key.compartment === "casework" ? casework : {}));
    const texts = contents.map((content) => utf8(JSON.stringify(content)));
    const size = BUCKETS.find((bucket) => texts.every((text) => text.length <= bucket));
    const aad = headerDigest(header, keys.map((key) => key.kid));
    const parts = [];
    for (const [index, key] of keys.entries()) {
      const padded = new Uint8Array(size).fill(0x20);
      padded.set(texts[index]);
      parts.push({ to_key: key.kid, jwe: await seal[suite](padded, aad, key.kid, key.jwk) });
    }
    const jws = await this.signed({ ...header, parts }, "referral-envelope+jws", suite);
    const evidence = await this.verified(
      await this.hand("/envelopes", jws), "referral-evidence+jws", this.task.hub_id);
    const [fact] = evidence.facts;
    const digest = b64u(sha256(unb64u(JSON.parse(jws).payload)));
    if (fact.fact !== "submitted" || fact.envelope !== header.id || fact.digest !== digest)
      throw new Error("the hub's word is about something else");
    return header.id;
  }

  async opened(jws, by) {
    const { parts, ...header } = await this.verified(jws, "referral-envelope+jws", by);
    const aad = headerDigest(header, parts.map((part) => part.to_key));
    const own = parts.find((part) => part.to_key === this.key("seal", header.suite).kid);
    const plain = await open[header.suite](own.jwe, aad, this.key("seal", header.suite).jwk);
    const inside = JSON.parse(Buffer.from(plain));
    const named = (inside.scopes ?? []).filter((one) => one.scope !== null);
    for (const { scope, purpose, section } of named)
      if (scope !== blind({ grantKey: inside.grant_key, purpose, section })) throw new Error("scope");
    const outside = header.consent?.scopes ?? [];
    if ([...outside].sort().join() !== named.map((one) => one.scope).sort().join())
      throw new Error("scopes");
    return { header, inside };
  }

  // --- Consent (section 3, and section 9, Consent) ----------------------------------------------

  async consent(to, scopes) {
    const grantKey = b64u(randomBytes(32));
    const until = day(30 * 24 * HOUR);
    const record = {
      schema_version: "https://w3id.org/dpv/schema/dpv-27560#record",
      record_id: randomUUID(),
      pii_principal_id: "pseudonym-node",
      privacy_notice: "invented-1",
      language: "sqi",
      how: "read-out",
      interpreter: false,
      scopes,
      controller: this.id,
      recipient: to,
      jurisdiction: this.id.slice(0, 2).toUpperCase(),
      withdrawal_method: "any worker, any time",
      retention_until: until,
      status: "ConsentGiven",
      given_at: now(),
      valid_until: until,
      presumed_child: false,
      guardian: null,
      guardian_until: null,
      derived_from: null,
    };
    const label = Buffer.concat([Buffer.from("referral-broker/1 record\n"), Buffer.from(jcs(record))]);
    const statement = {
      version: 1,
      grant: randomUUID(),
      from: this.id,
      to,
      scopes: scopes.map((scope) => blind({ grantKey, ...scope })),
      valid_from: day(),
      until,
      record_digest: createHmac("sha256", unb64u(grantKey)).update(label).digest("base64url"),
      derived_from: null,
      issued_at: now(),
    };
    const raw = await this.signed(statement, "referral-grant+jws");
    await this.hand("/grants", raw);
    const tag = { grant: statement.grant, scopes: statement.scopes, until };
    return { tag, grantKey, record, raw };
  }
}

// What schemas/published says of a message type, beside its shape.
const schema = (type) => JSON.parse(readFileSync(new URL(`./published/messages/${type}.json`, import.meta.url)));

// --- One conversation ----------------------------------------------------------------------------

async function work(folder) {
  const self = new Participant(folder);
  const { task } = self;
  const seen = { facts: [], read: [] };
  await self.introduce();
  await self.hand("/agreements", await self.countersigned(task.agreement));
  const scopes = [{ purpose: "protection", section: "case_admin" }];

  const { tag, grantKey, record, raw } = await self.consent(task.to, scopes);
  const casework = (type, body, more = {}) => ({
    type,
    type_version: 1,
    business_id: uuid7(),
    case_ref: "NODE-1",
    body,
    grant_key: grantKey,
    ...more,
  });
  await self.send(task.to, {
    lane: "routine",
    kind: schema("consent.record")["x-kind"],
    thread: randomUUID(),
    consent: { ...tag, scopes: [] },
    casework: casework("consent.record", { record, statement: b64u(utf8(raw)) }),
  });
  const asked = await self.send(task.to, {
    lane: "routine",
    kind: schema("referral.request")["x-kind"],
    thread: randomUUID(),
    hours: schema("referral.request")["x-answer-within"].hours.normal,
    consent: tag,
    casework: casework("referral.request", { urgency: "normal", services: ["safe_house"] }, {
      scopes: scopes.map((scope, index) => ({
        scope: tag.scopes[index],
        ...scope,
        processing_basis: "national-law",
        transfer_basis: "national-law",
      })),
      sections: { case_admin: { status: "Active" } },
    }),
  });

  // Until it is answered, and we know that it was read.
  const done = () =>
    seen.read.some((one) => one.about === asked) &&
    seen.facts.some(([, fact, about]) => fact === "read" && about === asked);
  for (let visit = 0; visit < 60 && !done(); visit++)
    for (const lane of ["urgent", "routine"]) {
      const wait = lane === "routine" ? "&wait=1" : "";
      const { items } = await self.ask(`/mailbox?lane=${lane}&limit=50${wait}`);
      for (const { kind, jws } of items) {
        if (kind === "evidence") {
          const by = JSON.parse(Buffer.from(JSON.parse(jws).payload, "base64url")).by;
          const evidence = await self.verified(jws, "referral-evidence+jws", by);
          seen.facts.push(...evidence.facts.map(({ fact, envelope }) => [by, fact, envelope]));
          continue;
        }
        const { header, inside } = await self.opened(jws, task.to);
        seen.read.push({ type: inside.type, body: inside.body, about: header.in_reply_to });
        const fact = {
          fact: "delivered",
          envelope: header.id,
          digest: b64u(sha256(unb64u(JSON.parse(jws).payload))),
          at: now(),
          code: null,
          stream_number: null,
          erasures: [],
        };
        const evidence = { version: 1, id: uuid7(), by: self.id, to: task.to, issued_at: now(), facts: [fact] };
        await self.hand("/evidence", await self.signed(evidence, "referral-evidence+jws"));
      }
      if (items.length > 0)
        await self.tell("/mailbox/acknowledgements", { deliveries: items.map((item) => item.delivery) });
    }
  return seen;
}

const [command, folder, id] = process.argv.slice(2);
const result = command === "enrol" ? await enrol(folder, id) : await work(folder);
process.stdout.write(JSON.stringify(result));
