"""A key is exactly what its JWK says, and its id is its thumbprint."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwcrypto.jwk import JWK

from keys import jwk
from schemas.errors import SchemaRefused

# RFC 8037, appendix A.1 to A.3.
RFC_8037_PRIVATE = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
RFC_8037_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"

ALGS = [jwk.ED25519, jwk.ES256, jwk.HPKE_9_KE, jwk.ECDH_ES_A256KW]


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    assert jwk.thumbprint(RFC_8037_PRIVATE) == RFC_8037_THUMBPRINT
    assert jwk.thumbprint(jwk.public_half(RFC_8037_PRIVATE)) == RFC_8037_THUMBPRINT
    assert isinstance(jwk.public_key(jwk.public_half(RFC_8037_PRIVATE)), Ed25519PublicKey)
    assert jwk.private_key(RFC_8037_PRIVATE)


@pytest.mark.parametrize("alg", [jwk.ED25519, jwk.ES256])
def test_jwcrypto_computes_the_same_thumbprint(alg: str) -> None:
    key = jwk.generate(alg)
    assert JWK(**key).thumbprint() == jwk.thumbprint(key)


@pytest.mark.parametrize("alg", ALGS)
def test_a_new_key_can_be_read_back_and_fits_its_algorithm(alg: str) -> None:
    key = jwk.generate(alg)
    public = jwk.public_half(key)
    assert jwk.private_key(key)
    assert jwk.public_key(public)
    assert jwk.fits(public, alg)
    assert not jwk.fits(public, "RS256")
    assert len(jwk.thumbprint(key)) == 43
    assert len(public) == len(key) - 1


def test_no_suite_has_another_algorithm() -> None:
    with pytest.raises(SchemaRefused):
        jwk.generate("RS256")


@pytest.mark.parametrize("alg", ALGS)
def test_a_public_key_with_a_private_or_foreign_member_is_refused(alg: str) -> None:
    private = jwk.generate(alg)
    for extra in ({"use": "sig"}, {"x5c": "AAAA"}, {"key_ops": "sign"}):
        with pytest.raises(SchemaRefused):
            jwk.public_key({**jwk.public_half(private), **extra})
    with pytest.raises(SchemaRefused):
        jwk.public_key(private)
    with pytest.raises(SchemaRefused):
        jwk.private_key(jwk.public_half(private))


@pytest.mark.parametrize("alg", ALGS)
def test_two_halves_of_different_keys_are_refused(alg: str) -> None:
    one, other = jwk.generate(alg), jwk.generate(alg)
    with pytest.raises(SchemaRefused):
        jwk.private_key({**one, **jwk.public_half(other)})


P256 = {key: value for key, value in jwk.generate(jwk.ES256).items() if key != "d"}
HYBRID = jwk.public_half(jwk.generate(jwk.HPKE_9_KE))
MALFORMED = {
    "no kind": {"x": "AAAA"},
    "another kind": {"kty": "RSA", "n": "AAAA", "e": "AQAB"},
    "a symmetric key": {"kty": "oct", "k": "AAAA"},
    "X25519 where Ed25519 should be": {**jwk.public_half(RFC_8037_PRIVATE), "crv": "X25519"},
    "another curve": {**P256, "crv": "P-384"},
    "a short coordinate": {**P256, "x": "AAAA"},
    "a point that is not on the curve": {**P256, "x": P256["y"], "y": P256["x"]},
    "no coordinate": {"kty": "EC", "crv": "P-256", "x": P256["x"]},
    "padding": {**P256, "x": P256["x"] + "="},
    "trailing bits": {**jwk.public_half(RFC_8037_PRIVATE), "x": RFC_8037_PRIVATE["x"][:-1] + "p"},
    "a short hybrid key": {**HYBRID, "pub": HYBRID["pub"][:-4]},
    "a long hybrid key": {**HYBRID, "pub": HYBRID["pub"] + "AAAA"},
    "a hybrid key of another algorithm": {**HYBRID, "alg": "HPKE-10-KE"},
}


@pytest.mark.parametrize("key", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_key_is_refused(key: dict[str, str]) -> None:
    with pytest.raises(SchemaRefused):
        jwk.public_key(key)


def test_a_short_seed_is_refused() -> None:
    private = jwk.generate(jwk.HPKE_9_KE)
    with pytest.raises(SchemaRefused):
        jwk.private_key({**private, "priv": "AAAA"})


def test_a_thumbprint_is_over_the_required_members_in_order() -> None:
    assert list(jwk.public_half(dict(reversed(list(P256.items()))))) == ["crv", "kty", "x", "y"]
    assert json.dumps(jwk.public_half(HYBRID)).startswith('{"alg"')
