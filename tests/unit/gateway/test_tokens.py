"""gateway.auth.tokens and gateway.auth.issuer_keys"""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.auth import issuer_keys
from gateway.auth.issuer_keys import IssuerKeys
from gateway.auth.tokens import TokenVerifier
from gateway.errors import CredentialUncheckable, Unauthenticated
from gateway.settings.guards import IssuerSettings
from tests.fakes.issuer import AUDIENCE, Issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer for one test."""
    with Issuer() as running:
        yield running


def settings(issuer: Issuer, **fields: Any) -> IssuerSettings:
    """Settings that take the issuer's tokens."""
    return IssuerSettings(**{"issuer": issuer.url, "audiences": [AUDIENCE], "insecure_http": True} | fields)


def verifier(issuer: Issuer, **fields: Any) -> TokenVerifier:
    """A verifier of the issuer's tokens."""
    return TokenVerifier([settings(issuer, **fields)])


@pytest.fixture
def verify(issuer: Issuer) -> TokenVerifier:
    """A verifier of the issuer's tokens."""
    return verifier(issuer)


async def refusal(verify: TokenVerifier, token: str) -> Unauthenticated:
    """The error that a token must be refused with."""
    with pytest.raises(Unauthenticated) as caught:
        await verify.authenticate(token)
    return caught.value


async def test_good_token(verify: TokenVerifier, issuer: Issuer) -> None:
    """A good token is its client's, with the scopes among its claims; metrics name its issuer."""
    principal = await verify.authenticate(issuer.token(scope="openid admin predict:digits feedback:* fly:*"))
    assert (principal.client, principal.group) == ("ada", issuer.url)
    assert principal.scopes == {"predict:digits", "feedback:*"}


async def test_mapping(issuer: Issuer) -> None:
    """Scopes come from the claim by the map, from the issuer, and from the client's name."""
    verify = verifier(
        issuer,
        client_claim="email",
        scopes_claim="roles",
        scope_map={"operator": ["admin"]},
        scopes=["predict:public"],
        clients={"svc@project": ["predict:digits"]},
        required_claims={"email_verified": True},
    )
    claims = {"email": "svc@project", "email_verified": True, "roles": ["operator", "nobody", 7]}
    principal = await verify.authenticate(issuer.token(**claims))
    assert principal.scopes == {"admin", "predict:public", "predict:digits"}
    assert (principal.client, principal.group) == ("svc@project", "")
    other = await verify.authenticate(issuer.token(**claims | {"email": "other@project", "roles": 7}))
    assert other.scopes == {"predict:public"}
    assert "email_verified" in str(await refusal(verify, issuer.token(**claims | {"email_verified": "true"})))


@pytest.mark.parametrize(
    ("claims", "reason", "text"),
    [
        ({"aud": "https://other.test"}, "CREDENTIAL_INVALID", "another audience"),
        ({"aud": None}, "CREDENTIAL_INVALID", "no claim `aud`"),
        ({"iss": "https://other.test"}, "CREDENTIAL_INVALID", "issuer"),
        ({"iss": None}, "CREDENTIAL_INVALID", "issuer"),
        ({"exp": 1}, "CREDENTIAL_EXPIRED", "expired"),
        ({"exp": None}, "CREDENTIAL_INVALID", "no claim `exp`"),
        ({"exp": "soon"}, "CREDENTIAL_INVALID", "not valid"),
        ({"nbf": 4e9}, "CREDENTIAL_INVALID", "not valid"),
        ({"sub": None}, "CREDENTIAL_INVALID", "names no client"),
        ({"sub": "x" * 300}, "CREDENTIAL_INVALID", "names no client"),
        ({"padding": "x" * 9000}, "CREDENTIAL_INVALID", "longer than"),
    ],
)
async def test_bad_claims(
    verify: TokenVerifier, issuer: Issuer, claims: dict[str, Any], reason: str, text: str
) -> None:
    """A token that is not for this gateway, now, is refused and says why."""
    error = await refusal(verify, issuer.token(**claims))
    assert error.reason == reason
    assert text in error.message


async def test_leeway(issuer: Issuer) -> None:
    """Clocks may differ by the leeway and no more, however often the token comes; no time is too far off."""
    assert (await verifier(issuer).authenticate(issuer.token(exp=10**400))).client == "ada"
    token = issuer.token(exp=int(time.time()) - 10)
    assert (await verifier(issuer, leeway=30).authenticate(token)).client == "ada"
    assert (await refusal(verifier(issuer, leeway=1), token)).reason == "CREDENTIAL_EXPIRED"
    expires = int(time.time()) + 2
    brief = issuer.token(exp=expires)
    verify = verifier(issuer, leeway=0)
    await verify.authenticate(brief)
    await asyncio.sleep(expires - time.time() + 0.1)
    assert (await refusal(verify, brief)).reason == "CREDENTIAL_EXPIRED"


async def test_algorithms(verify: TokenVerifier, issuer: Issuer) -> None:
    """None and a shared secret, even the public key itself, are no signatures; nor is another key's."""
    public = issuer._keys["k1"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    raw = json.dumps(issuer.jwk("k1")).encode()
    await refusal(verify, issuer.signed(None, "none", {"kid": "k1"}))
    for secret in (pem, raw):
        # By hand: the library refuses to misuse a public key.
        head, body, _ = issuer.signed("x" * 32, "HS256", {"kid": "k1"}).split(".")
        mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(f"{head}.{body}".encode(), secret)
        await refusal(verify, f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    stranger = ec.generate_private_key(ec.SECP256R1())
    assert "not valid" in (await refusal(verify, issuer.signed(stranger, "ES256", {"kid": "k1"}))).message
    # A key that the token brings along counts for nothing.
    own = jwt.algorithms.ECAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    await refusal(verify, issuer.signed(stranger, "ES256", {"kid": "k1", "jwk": own, "jku": f"{issuer.url}/keys"}))


async def test_rsa_without_an_algorithm(issuer: Issuer) -> None:
    """A published key that names no algorithm is good for those of the settings that fit it, and for no others."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "r1"}
    issuer.behaviour["/keys"] = json.dumps({"keys": [public, issuer.jwk("k1")]}).encode()
    verify = verifier(issuer, algorithms=["RS256", "PS256", "ES256"])
    for algorithm in ("RS256", "PS256"):
        await verify.authenticate(issuer.signed(key, algorithm, {"kid": "r1"}))
    await refusal(verify, issuer.signed(key, "RS512", {"kid": "r1"}))
    # Without an id the one key for the algorithm is meant.
    await verify.authenticate(issuer.signed(key, "RS256", {}))


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_symmetric_algorithms_cannot_be_set(algorithm: str) -> None:
    """Settings cannot name an algorithm that anybody, or the issuer's every client, could sign with."""
    with pytest.raises(ValidationError):
        IssuerSettings(issuer="https://i.test", audiences=["a"], algorithms=[algorithm])


@pytest.mark.parametrize(
    ("fields", "valid"),
    [
        ({"issuer": "https://i.test"}, True),
        ({"issuer": "http://i.test"}, False),
        ({"issuer": "http://i.test", "insecure_http": True}, False),
        ({"issuer": "http://127.0.0.1:1"}, False),
        ({"issuer": "http://127.0.0.1:1", "insecure_http": True}, True),
        ({"issuer": "https://i.test", "jwks_url": "file:///etc/passwd"}, False),
        ({"issuer": "https://i.test:x"}, False),
        ({"issuer": "i.test"}, False),
    ],
)
def test_urls(fields: dict[str, Any], valid: bool) -> None:
    """Keys come over https; over http from this machine alone, if allowed."""
    if valid:
        IssuerSettings(audiences=["a"], **fields)
    else:
        with pytest.raises(ValidationError, match="expected an https URL"):
            IssuerSettings(audiences=["a"], **fields)


async def test_rotation(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key is found when its first token comes, an old one goes; guesses do not make the issuer busy."""
    verify = verifier(issuer)
    old = issuer.token()
    await verify.authenticate(old)
    issuer.rotate("k2")
    fetched = len(issuer.requests)
    assert "signing key" in (await refusal(verify, issuer.token("k2"))).message
    assert len(issuer.requests) == fetched, "within the interval nothing is fetched"
    (_, keys) = verify._issuers[issuer.url]
    monkeypatch.setattr(keys, "_min_interval", 0.0)
    tokens = [issuer.token("k2", jti=str(number)) for number in range(20)]
    assert {p.client for p in await asyncio.gather(*(verify.authenticate(token) for token in tokens))} == {"ada"}
    assert len(issuer.requests) == fetched + 2, "one fetch for all: the configuration and the keys"
    await refusal(verify, old)


async def test_age(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past their age keys are fetched again, though no caller waits for it and no key is unknown."""
    verify = verifier(issuer, max_key_age=0.01)
    (_, keys) = verify._issuers[issuer.url]
    monkeypatch.setattr(keys, "_min_interval", 0.0)
    token = issuer.token()
    await verify.authenticate(token)
    issuer.rotate("k2")
    await asyncio.sleep(0.02)
    assert (await verify.authenticate(token)).client == "ada"
    await asyncio.shield(keys._fetching)
    await refusal(verify, token)


@pytest.mark.parametrize(
    "behaviour",
    [
        {"/keys": 500},
        {"/keys": 302},
        {"/keys": b"{"},
        {"/keys": b"[]"},
        {"/keys": b'{"keys": []}'},
        {"/keys": b'{"keys": [7, {}, {"kty": "oct", "k": "eA", "kid": "k1"}]}'},
        {"/keys": b"[" * 100_000},
        {"/keys": b" " * (issuer_keys.MAX_BYTES + 1)},
        {"/.well-known/openid-configuration": b'{"issuer": "https://other.test", "jwks_uri": "x"}'},
        {"/.well-known/openid-configuration": b'{"issuer": "ISSUER", "jwks_uri": "http://169.254.169.254/keys"}'},
        {"/.well-known/openid-configuration": b'{"issuer": "ISSUER", "jwks_uri": "file:///etc/passwd"}'},
    ],
    ids=lambda behaviour: " ".join(f"{path} {str(answer)[:20]}" for path, answer in behaviour.items()),
)
async def test_bad_issuer(issuer: Issuer, behaviour: dict[str, bytes | int]) -> None:
    """While the issuer answers nonsense a token cannot be checked, which is not its owner's fault: retry later."""
    issuer.behaviour = {
        path: answer.replace(b"ISSUER", issuer.url.encode()) if isinstance(answer, bytes) else answer
        for path, answer in behaviour.items()
    }
    with pytest.raises(CredentialUncheckable) as caught:
        await verifier(issuer).authenticate(issuer.token())
    assert caught.value.retry_after


async def test_hanging_issuer(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer that hangs holds nobody up who is known, and others for no longer than the time-out."""
    monkeypatch.setattr(issuer_keys, "FETCH_TIMEOUT", 0.3)
    verify = verifier(issuer, max_key_age=0.01)
    token = issuer.token()
    await verify.authenticate(token)
    issuer.slow = True
    (_, keys) = verify._issuers[issuer.url]
    monkeypatch.setattr(keys, "_min_interval", 0.0)
    await asyncio.sleep(0.02)
    started = time.monotonic()
    # The keys are past their age, and stay in force.
    assert (await verify.authenticate(issuer.token(jti="2"))).client == "ada"
    assert time.monotonic() - started < 0.2
    with pytest.raises(CredentialUncheckable):
        await verify.authenticate(issuer.token(headers={"kid": "k9"}))
    assert 0.1 < time.monotonic() - started < 3.0
    await verify.close()


async def test_caller_who_leaves(issuer: Issuer) -> None:
    """A caller who gives up while the keys are fetched takes nothing from those who wait."""
    issuer.slow = True
    verify = verifier(issuer)
    tasks = [asyncio.create_task(verify.authenticate(issuer.token(jti=str(n)))) for n in range(2)]
    await asyncio.sleep(0.1)
    tasks[0].cancel()
    issuer.hang.set()
    assert (await tasks[1]).client == "ada"
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_several_issuers(issuer: Issuer) -> None:
    """One issuer's keys are worth nothing for another's tokens."""
    with Issuer() as other:
        verify = TokenVerifier([settings(issuer), settings(other, scopes=["admin"])])
        assert (await verify.authenticate(other.token())).scopes == {"admin"}
        forged = issuer.token(iss=other.url)
        await refusal(verify, forged)


@given(
    st.text(max_size=50)
    | st.tuples(*[st.binary(max_size=20)] * 3).map(
        lambda parts: ".".join(base64.urlsafe_b64encode(part).decode() for part in parts)
    )
    | st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64"]), st.none() | st.text(max_size=5)).map(
        lambda head: base64.urlsafe_b64encode(json.dumps(head).encode()).decode() + ".e30.x"
    )
)
def test_any_text(token: str) -> None:
    """Whatever is presented that is no token is Unauthenticated and nothing else."""
    verify = TokenVerifier([IssuerSettings(issuer="https://i.test", audiences=["a"])])
    asyncio.run(refusal(verify, token))


async def test_keys_without_a_loop_of_requests(issuer: Issuer) -> None:
    """Unknown key ids cost one fetch each interval, however many come."""
    keys = IssuerKeys(settings(issuer))
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await keys.key(f"guess{number}", "ES256")
    assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]
