#!/usr/bin/env node
// An adapter to copy, in a language of its own: JSON lines on standard input and output.
// The case system here is a folder with one JSON file for each case. Node 20, no package.
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";

let folder; // from the settings, which are the first line

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const at = (reference) => {
  if (!UUID.test(reference)) throw new Raised("schema"); // not a reference that we gave
  return path.join(folder, `${reference}.json`);
};

class Raised extends Error {
  constructor(word) { super(word); this.word = word; }
}

const read = (reference) => {
  try { return JSON.parse(fs.readFileSync(at(reference), "utf8")); }
  catch (error) { if (error.code === "ENOENT") return null; throw error; }
};

// What lies under the name is the whole case or nothing, also after a power cut.
const write = (reference, value) => {
  const part = path.join(folder, `${reference}.part`);
  const file = fs.openSync(part, "w", 0o600);
  fs.writeSync(file, JSON.stringify(value));
  fs.fsyncSync(file);
  fs.closeSync(file);
  fs.renameSync(part, at(reference));
  const held = fs.openSync(folder, "r");
  fs.fsyncSync(held);
  fs.closeSync(held);
};

const clear = (reference) => fs.rmSync(path.join(folder, `${reference}.part`), { force: true });

// The same content, whatever the order of its members.
const plain = (value) => {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, plain(value[key])]));
};
const same = (one, other) => JSON.stringify(plain(one)) === JSON.stringify(plain(other));
const content = ({ case_ref, sections, sender, invented }) => ({ case_ref, sections, sender, invented });

const filed = (reference, already) => ({ outcome: "filed", reference, already, not_held: [] });

const acts = {
  describe: () => ({ name: "jsonlines", memory: "lookup", skills: ["read", "update", "erase"] }),
  check: () => { fs.accessSync(folder, fs.constants.R_OK | fs.constants.W_OK); return null; },
  find: ({ business_id }) => {
    clear(business_id); // what a killed process left half written
    return fs.existsSync(at(business_id)) ? filed(business_id, true) : null;
  },
  read: ({ reference }) => {
    const found = read(reference);
    return found && { ...found, business_id: reference };
  },
  file: ({ business_id, case: given }) => {
    const there = read(business_id);
    if (there) {
      return same(there, content(given)) ? filed(business_id, true) : { outcome: "declined", code: "id-conflict" };
    }
    // Map here, from our codes to yours; what has no place: { outcome: "cannot_map", where: ["section.field: code"] }
    const gender = given.sections.identity_core?.gender;
    if (gender !== undefined && !GENDERS.has(gender)) {
      return { outcome: "cannot_map", where: ["identity_core.gender: unknown-code"] };
    }
    write(business_id, content(given));
    return filed(business_id, false);
  },
  file_many: ({ all }) => all.map(acts.file),
  update: ({ reference, case: given }) => {
    if (!read(reference)) return { outcome: "declined", code: "not-found" };
    write(reference, content(given));
    return filed(reference, true);
  },
  erase: ({ reference }) => {
    const existed = fs.existsSync(at(reference));
    clear(reference);
    fs.rmSync(at(reference), { force: true });
    return { outcome: "erased", existed };
  },
};
const GENDERS = new Set([
  "Feminine", "Masculine", "TransgenderFeminine", "TransgenderMasculine", "NonConforming", "NonSpecifiedUnknown",
]);

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const request = JSON.parse(line);
  if (folder === undefined) { folder = request.settings.folder; continue; }
  try {
    const act = acts[request.do];
    if (!act) throw new Raised("schema");
    say({ id: request.id, gives: act(request.with ?? {}) });
  } catch (error) {
    // Words of the protocol alone: an exception's own text may repeat what it was given.
    say({ id: request.id, raises: error.word ?? "unavailable", where: [] });
  }
}
