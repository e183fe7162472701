"""The log: what was decided, in an order that nobody can change afterwards.

An RFC 6962 Merkle tree in two SQL databases' tables, in the file formats of C2SP, so that the tools
of others check it too. Reading order:

merkle tiles        hashes, proofs, the 256-wide tiles; pure
note checkpoint     signed notes, keys, checkpoints, cosignatures; pure
leaves              an event becomes a leaf and its opening
store sequencer     tables, pending leaves, and how they become a signed head
proof export        what is handed out: one proof, or the whole log as files
monitor witness     following a log from outside, and cosigning it
policy verify       the offline verifier, with verdict and offline: standard library and
                    `cryptography` alone
"""
