"""A signed token is taken only if everything about it is right; its sender is never told what was wrong."""

import asyncio
import base64
import hmac
import json
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from joserfc.jwk import Key, OKPKey, RSAKey
from structlog.testing import capture_logs

from services.kit.auth.principal import Kind, Principal
from services.kit.auth.sources import SourceError
from services.kit.auth.tokens import SignedTokens, TokenRefused
from services.kit.errors import BadCredentials, DependencyUnavailable, Overloaded
from tests.support.tokens import claims, key_set, new_key, signed, verifier
from tests.support.until import until

NOW = 1_800_000_000


@dataclass
class Clock:
    """How many seconds have passed. The time of day stands still otherwise, so that the edges are sharp."""

    passed: float = 0.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock, monotonic = Clock(), time.monotonic
    monkeypatch.setattr(time, "time", lambda: NOW + clock.passed)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + clock.passed)
    return clock


@pytest.fixture
def key() -> Key:
    return new_key()


@pytest.fixture
def tokens(tmp_path: Path, key: Key) -> SignedTokens:
    (tmp_path / "keys.json").write_text(key_set(key))
    return verifier(tmp_path)[0]


async def is_taken(tokens: SignedTokens, token: str) -> bool:
    try:
        await tokens.principal(token)
    except BadCredentials:
        return False
    return True


async def why(tokens: SignedTokens, token: str) -> str:
    """For what reason a token is refused."""
    with pytest.raises(BadCredentials) as refused:
        await tokens.principal(token)
    assert (
        str(refused.value)
        == "The credentials are unknown, expired or revoked: check them, or replace them by new ones."
    )
    assert refused.value.metadata == {}
    with pytest.raises(TokenRefused) as reason:
        await tokens.verify(token)
    return str(reason.value)


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        ({"kind": "operator"}, Principal(kind=Kind.OPERATOR, name="ada", credential="token")),
        ({"kind": "service"}, Principal(kind=Kind.SERVICE, name="ada", credential="token")),
        ({"kind": "client", "customers": "all"}, Principal(kind=Kind.CLIENT, name="ada", credential="token")),
        ({"kind": "runner", "queues": "all"}, Principal(kind=Kind.RUNNER, name="ada", credential="token")),
        (
            {"kind": "runner", "queues": ["images", "thumbs"]},
            Principal(kind=Kind.RUNNER, name="ada", queues=frozenset(["images", "thumbs"]), credential="token"),
        ),
    ],
)
async def test_a_good_token_says_who_calls(
    tokens: SignedTokens, key: Key, grant: dict[str, Any], expected: Principal
) -> None:
    assert await tokens.principal(signed(key, claims(innosystem=grant))) == expected


async def test_a_client_is_bound_to_its_customers(tokens: SignedTokens, key: Key) -> None:
    customer = uuid4()
    found = await tokens.principal(signed(key, claims(innosystem={"kind": "client", "customers": [str(customer)]})))
    assert found.customers == frozenset({customer})
    assert found.actor == "client/ada"


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
async def test_a_key_of_each_type_signs_by_its_algorithm(tmp_path: Path, algorithm: str) -> None:
    key = new_key(algorithm)
    (tmp_path / "keys.json").write_text(key_set(key))
    tokens, _ = verifier(tmp_path)
    assert (await tokens.principal(signed(key, claims(), algorithm))).actor == "operator/ada"


WRONG_CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"exp": None}, "exp"),
    ({"exp": NOW - 30}, "expired"),
    ({"exp": True}, "exp"),
    ({"exp": "never"}, "exp"),
    ({"exp": -(10**400)}, "expired"),
    ({"exp": 10**400}, "more than 604800 s"),
    ({"exp": NOW + 604_801}, "more than 604800 s"),
    ({"iat": None}, "iat"),
    ({"iat": NOW + 31}, "issued in the future"),
    ({"nbf": NOW + 31}, "not yet valid"),
    ({"aud": None}, "aud"),
    ({"aud": "other"}, "aud"),
    ({"aud": ["other", "another"]}, "aud"),
    ({"aud": {"innosystem": 1}}, "aud"),
    ({"aud": []}, "aud"),
    ({"iss": None}, "issuer is unknown"),
    ({"iss": "https://other.example"}, "issuer is unknown"),
    ({"iss": ["innosystem"]}, "issuer is unknown"),
    ({"sub": None}, "sub"),
    ({"sub": 7}, "sub"),
    ({"sub": ""}, "sub"),
    ({"sub": "ada/eve"}, "no name of a caller"),
    ({"sub": "ada\n"}, "no name of a caller"),
    ({"sub": "a" * 201}, "no name of a caller"),
    ({"innosystem": None}, "grants nothing"),
    ({"innosystem": "operator"}, "grants nothing"),
    ({"innosystem": {}}, "grants nothing"),
    ({"innosystem": {"kind": "root"}}, "grants nothing"),
    ({"innosystem": {"kind": "OPERATOR"}}, "grants nothing"),
    ({"innosystem": {"kind": "operator", "more": 1}}, "grants nothing"),
    ({"innosystem": {"kind": "client"}}, "needs customers"),
    ({"innosystem": {"kind": "client", "customers": []}}, "grants nothing"),
    ({"innosystem": {"kind": "client", "customers": ["ada"]}}, "grants nothing"),
    ({"innosystem": {"kind": "runner"}}, "needs queues"),
    ({"innosystem": {"kind": "runner", "queues": []}}, "grants nothing"),
    ({"innosystem": {"kind": "runner", "queues": "images"}}, "grants nothing"),
    ({"innosystem": {"kind": "runner", "queues": "all", "customers": "all"}}, "customers are for a client"),
    ({"innosystem": {"kind": "operator", "queues": "all"}}, "queues are for a runner"),
]


@pytest.mark.parametrize(("changed", "reason"), WRONG_CLAIMS)
async def test_a_token_with_a_wrong_claim_is_refused(
    tokens: SignedTokens, key: Key, changed: dict[str, Any], reason: str
) -> None:
    assert reason in await why(tokens, signed(key, claims(**changed)))


@pytest.mark.parametrize(
    "edge", [{"exp": NOW - 29}, {"iat": NOW + 30}, {"nbf": NOW + 30}, {"iat": NOW - 1, "exp": NOW + 604_799}]
)
async def test_clocks_may_differ_by_the_skew_and_a_life_may_be_as_long_as_allowed(
    tokens: SignedTokens, key: Key, edge: dict[str, int]
) -> None:
    assert await is_taken(tokens, signed(key, claims(**edge)))


async def test_the_skew_and_the_life_are_settings(tmp_path: Path, key: Key) -> None:
    (tmp_path / "keys.json").write_text(key_set(key))
    strict, _ = verifier(tmp_path, auth_clock_skew_seconds=0, auth_token_seconds_max=60)
    assert "expired" in await why(strict, signed(key, claims(iat=NOW - 60, exp=NOW)))
    assert "more than 60 s" in await why(strict, signed(key, claims(exp=NOW + 61)))
    assert await is_taken(strict, signed(key, claims(exp=NOW + 60)))


async def test_one_of_several_audiences_is_enough(tokens: SignedTokens, key: Key) -> None:
    assert await is_taken(tokens, signed(key, claims(aud=["other", "innosystem"])))


async def test_a_forged_signature_is_refused(tokens: SignedTokens, key: Key) -> None:
    head, body, signature = signed(key, claims()).split(".")
    stolen = f"{head}.{part(claims(sub='eve'))}.{signature}"
    assert "signature" in await why(tokens, stolen)
    assert "signature" in await why(tokens, signed(new_key(), claims()))
    assert "signature" in await why(tokens, f"{head}.{body}.")
    assert "signature" in await why(tokens, f"{head}.{body}.%%%")


@pytest.mark.parametrize("none", ["none", "None", "NONE", "nOnE", "", None, 5, ["EdDSA"]])
async def test_a_token_without_a_signature_is_refused(tokens: SignedTokens, none: object) -> None:
    token = f"{part({'alg': none, 'kid': 'k1'})}.{part(claims())}."
    assert "algorithm" in await why(tokens, token)


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
async def test_a_public_key_is_no_secret_to_sign_with(tmp_path: Path, algorithm: str) -> None:
    key = new_key(algorithm)
    (tmp_path / "keys.json").write_text(key_set(key))
    tokens, _ = verifier(tmp_path)
    public = key.as_dict(private=False)
    pem = key.as_pem(private=False) if isinstance(key, RSAKey | OKPKey) else b""
    for secret in (pem, pem.strip(), json.dumps(public).encode(), str(public.get("x", public.get("n"))).encode()):
        text = f"{part({'alg': 'HS256', 'kid': 'k1'})}.{part(claims())}"
        mac = part(hmac.digest(secret, text.encode(), sha256))
        assert "algorithm is 'HS256'" in await why(tokens, f"{text}.{mac}")


@pytest.mark.parametrize("claimed", ["ES256", "RS256", "PS256", "ES384", "Ed25519", "HS256"])
async def test_the_algorithm_follows_from_the_key_and_not_from_the_token(
    tokens: SignedTokens, key: Key, claimed: str
) -> None:
    _, body, signature = signed(key, claims()).split(".")
    assert "the key's is EdDSA" in await why(tokens, f"{part({'alg': claimed, 'kid': 'k1'})}.{body}.{signature}")


@pytest.mark.parametrize(
    "kid",
    [None, 7, ["k1"], {"k1": 1}, "", "k2", "K1", "k1\x00", " k1", "../k1", "keys.json", "file://keys.example/keys",
     "http://eve.example/keys", "' OR 1=1 --", "k1" * 2000],
)  # fmt: skip
async def test_a_key_id_is_only_looked_up(tokens: SignedTokens, key: Key, kid: object) -> None:
    token = f"{part({'alg': 'EdDSA', 'kid': kid})}.{signed(key, claims()).partition('.')[2]}"
    assert "key" in (reason := await why(tokens, token))
    assert len(reason) < 200


async def test_keys_and_addresses_in_a_header_are_ignored(tokens: SignedTokens) -> None:
    eve = new_key(kid="eve")
    public = eve.as_dict(private=False)
    told = signed(eve, claims(), kid="k1", jwk=public, jku="https://eve.example/keys", x5u="https://eve.example/x")
    assert "signature" in await why(tokens, told)


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"b64": False}, {"b64": False, "crit": ["b64"]}])
async def test_a_header_that_asks_for_more_is_refused(
    tokens: SignedTokens, key: Key, header: dict[str, object]
) -> None:
    token = f"{part({'alg': 'EdDSA', 'kid': 'k1', **header})}.{signed(key, claims()).partition('.')[2]}"
    assert "header" in await why(tokens, token)


@pytest.mark.parametrize(
    "twice", ['"sub": "ada"', '"exp": 1900000000', '"innosystem": {"kind": "operator"}', '"x": 1, "x": 2']
)
async def test_a_claim_that_is_there_twice_is_refused(tokens: SignedTokens, key: Key, twice: str) -> None:
    text = json.dumps(claims())[:-1] + f", {twice}}}"
    assert "claims can't be read" in await why(tokens, signed(key, text))


async def test_a_grant_that_is_there_twice_is_refused(tokens: SignedTokens, key: Key) -> None:
    text = json.dumps(claims()).replace('"kind"', '"kind": "runner", "kind"')
    assert "claims can't be read" in await why(tokens, signed(key, text))


@pytest.mark.parametrize(
    "payload",
    [b"", b"7", b"[]", b"null", b"{", b'"{}"', b"\xff{}", b"\xef\xbb\xbf{}", '{"exp": 1}'.encode("utf-16"),
     b"[" * 6000, b'{"a":' * 1000 + b"1" + b"}" * 1000, b'{"exp": NaN}', b'{"exp": Infinity}',
     b'{"exp": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
async def test_claims_that_are_no_object_are_refused(tokens: SignedTokens, payload: bytes) -> None:
    head = part({"alg": "EdDSA", "kid": "k1"})
    assert await why(tokens, f"{head}.{part(payload)[:8000]}.AAAA") == "its claims can't be read"
    assert await why(tokens, f"{part(payload)[:8000]}.{part(claims())}.AAAA") == "its header can't be read"


@pytest.mark.parametrize("token", ["..", "a.b.c", ".a.", "é.é.é", "\udcff.a.b", "=.=.=", "eyJ.eyJ.eyJ", "a b.c.d"])
async def test_what_is_no_token_is_refused(tokens: SignedTokens, token: str) -> None:
    assert tokens.knows(token)
    assert "can't be read" in await why(tokens, token)


@pytest.mark.parametrize("token", ["", "inno_abc", "a.b", "a.b.c.d.e"])
def test_what_has_another_form_is_not_known(tokens: SignedTokens, token: str) -> None:
    assert not tokens.knows(token)


async def test_a_huge_token_is_refused_before_it_is_read(tokens: SignedTokens, key: Key) -> None:
    assert "more than 8192 characters" in await why(tokens, signed(key, claims(x="a" * 8000)))
    assert "more than 8192 characters" in await why(tokens, "." * 2 + "a" * 5_000_000)


async def test_the_reason_goes_to_the_log_and_the_token_does_not(tokens: SignedTokens, key: Key) -> None:
    token = signed(key, claims(aud="other"))
    with capture_logs() as logged, pytest.raises(BadCredentials):
        await tokens.principal(token)
    [line] = logged
    assert (line["event"], line["log_level"]) == ("token_refused", "info")
    assert "aud" in line["why"]
    assert not any(piece in str(line) for piece in token.split("."))


async def test_a_known_token_is_not_verified_again_and_ends_with_its_time(
    tokens: SignedTokens, key: Key, clock: Clock
) -> None:
    token = signed(key, claims(exp=NOW + 5))
    first = await tokens.principal(token)
    assert await tokens.principal(token) is first
    # 5 seconds of life and 30 of skew.
    clock.passed = 30
    assert await tokens.principal(token) is first
    clock.passed = 36
    assert "expired" in await why(tokens, token)


async def test_a_token_is_verified_again_after_a_minute(tokens: SignedTokens, key: Key, clock: Clock) -> None:
    token = signed(key, claims())
    first = await tokens.principal(token)
    clock.passed = 61
    again = await tokens.principal(token)
    assert again == first
    assert again is not first


async def test_a_removed_key_is_refused_as_soon_as_the_file_is_read_again(tmp_path: Path, key: Key) -> None:
    other = new_key(kid="k2")
    (tmp_path / "keys.json").write_text(key_set(key, other))
    tokens, sources = verifier(tmp_path)
    token = signed(key, claims())
    await tokens.principal(token)
    (tmp_path / "keys.json").write_text(key_set(other))

    async def is_refused() -> bool:
        await sources.round()
        return not await is_taken(tokens, token)

    await until(is_refused)
    assert "no key with the ID 'k1'" in await why(tokens, token)
    assert await is_taken(tokens, signed(other, claims()))


@pytest.mark.parametrize("last", [[], [{"kty": "OKP", "crv": "X25519", "kid": "k3", "use": "enc", "x": "AA"}]])
async def test_the_tokens_of_the_only_key_are_refused_as_soon_as_it_is_removed(
    tmp_path: Path, key: Key, last: list[object]
) -> None:
    (tmp_path / "keys.json").write_text(key_set(key))
    tokens, sources = verifier(tmp_path)
    token = signed(key, claims())
    await tokens.principal(token)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": last}))

    async def is_refused() -> bool:
        await sources.round()
        return not await is_taken(tokens, token)

    await until(is_refused)
    assert "no key with the ID 'k1'" in await why(tokens, token)


async def test_a_start_without_any_key_fails(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('{"keys": []}')
    with pytest.raises(SourceError, match="no key for EdDSA"):
        verifier(tmp_path)


async def test_a_token_may_be_signed_with_a_key_as_soon_as_the_file_has_it(tmp_path: Path, key: Key) -> None:
    (tmp_path / "keys.json").write_text(key_set(key))
    tokens, _ = verifier(tmp_path)
    for number in range(5):
        new = new_key(kid=f"new {number}")
        unknown = asyncio.create_task(is_taken(tokens, signed(new_key(kid="unknown"), claims())))
        await asyncio.sleep(0)
        (tmp_path / "keys.json").write_text(key_set(key, new))
        assert await is_taken(tokens, signed(new, claims()))
        assert not await unknown


@pytest.mark.parametrize("broken", [None, "", "{", "[]", "SECRET", "TWICE"])
async def test_the_last_good_keys_go_on_for_a_bounded_time(
    tmp_path: Path, key: Key, broken: str | None, clock: Clock
) -> None:
    file = tmp_path / "keys.json"
    file.write_text(key_set(key))
    tokens, sources = verifier(tmp_path)
    if broken is None:
        file.unlink()
    elif broken == "SECRET":
        file.write_text(json.dumps({"keys": [new_key(kid="k2").as_dict(private=True)]}))
    else:
        file.write_text(key_set(key, new_key()) if broken == "TWICE" else broken)
    clock.passed = 86_300
    with capture_logs() as logged:
        with pytest.raises(DependencyUnavailable):
            # The key might be there, and no service can tell.
            await tokens.principal(signed(new_key(kid="k2"), claims()))
        await sources.round()
    assert [line["event"] for line in logged] == ["auth_source_failing"]
    assert logged[0]["last_good"] is True
    assert await is_taken(tokens, signed(key, claims()))
    clock.passed = 86_500
    with pytest.raises(DependencyUnavailable, match="token issuer"):
        await tokens.principal(signed(key, claims()))
    file.write_text(key_set(key))
    clock.passed = 86_510
    assert await is_taken(tokens, signed(key, claims()))


async def test_verifications_in_flight_are_bounded(tokens: SignedTokens, key: Key) -> None:
    sent = [asyncio.create_task(tokens.principal(signed(key, claims(jti=str(i))))) for i in range(300)]
    done = await asyncio.gather(*sent, return_exceptions=True)
    assert sum(isinstance(one, Overloaded) for one in done) == 300 - 256
    assert sum(isinstance(one, Principal) for one in done) == 256
    assert await is_taken(tokens, signed(key, claims()))


async def test_a_flood_of_forged_tokens_costs_room_only_for_the_new_tokens_of_its_own_address(
    tokens: SignedTokens, key: Key, clock: Clock
) -> None:
    flooder, other = "ipv4:192.0.2.1:1", "ipv4:192.0.2.2:1"
    known, new, late = (signed(key, claims(jti=name)) for name in ("known", "new", "late"))
    await tokens.principal(known, flooder)
    clock.passed = 61
    forged = f"{known.rpartition('.')[0]}.{'A' * 86}"
    # While it has the turn, no verification ends.
    async with tokens._turn:
        flood = [asyncio.create_task(tokens.principal(forged, f"ipv4:192.0.2.1:{port}")) for port in range(300)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await tokens.principal(late, flooder)
        right = asyncio.gather(tokens.principal(known, flooder), tokens.principal(new, other))
        await asyncio.sleep(0)
    done = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(one, Overloaded) for one in done) == 300 - 256
    assert [one.actor for one in await right] == ["operator/ada"] * 2


async def test_a_flood_of_forged_tokens_lets_the_loop_work_in_between(tokens: SignedTokens, key: Key) -> None:
    good = signed(key, claims())
    await tokens.principal(good)
    forged = f"{good.rpartition('.')[0]}.{'A' * 86}"
    flood = [asyncio.create_task(tokens.principal(forged)) for _ in range(100)]
    await asyncio.sleep(0)
    assert await is_taken(tokens, good)
    assert sum(one.done() for one in flood) < 10
    await asyncio.gather(*flood, return_exceptions=True)


KUBERNETES = "https://kubernetes.default.svc.cluster.local"
MAPPING = """
issuers:
  {issuer}:
    keys: {keys}
    audience: jobs.example
    subjects:
      system:serviceaccount:images:runner: {{kind: runner, name: images, queues: [images]}}
      system:serviceaccount:shop:orders: {{kind: client, customers: [{customer}]}}
"""


async def test_a_token_of_another_issuer_is_who_the_mapping_says(tmp_path: Path, key: Key) -> None:
    (tmp_path / "keys.json").write_text(key_set(key))
    cluster, customer = new_key("RS256", kid="cluster"), uuid4()
    (tmp_path / "cluster.json").write_text(key_set(cluster))
    mapping = MAPPING.format(issuer=KUBERNETES, keys=tmp_path / "cluster.json", customer=customer)
    tokens, _ = verifier(tmp_path, mapping)

    def token(subject: str, **changed: Any) -> str:
        of_cluster = {"iss": KUBERNETES, "aud": ["jobs.example"], "innosystem": None, **changed}
        return signed(cluster, claims(sub=subject, **of_cluster), "RS256")

    runner = await tokens.principal(token("system:serviceaccount:images:runner"))
    assert (runner.actor, runner.queues) == ("runner/images", frozenset({"images"}))
    shop = await tokens.principal(token("system:serviceaccount:shop:orders"))
    assert (shop.actor, shop.customers) == ("client/system:serviceaccount:shop:orders", frozenset({customer}))
    assert "no entry" in await why(tokens, token("system:serviceaccount:images:default"))
    # What it claims of itself counts only in our own tokens.
    claimed = token("system:serviceaccount:images:default", innosystem={"kind": "operator"})
    assert "no entry" in await why(tokens, claimed)
    assert "aud" in await why(tokens, token("system:serviceaccount:images:runner", aud="innosystem"))
    # The keys of one issuer are not those of another.
    assert "no key" in await why(tokens, token("ada", iss="innosystem", aud="innosystem"))
    ours = signed(key, claims(iss=KUBERNETES, aud="jobs.example", sub="system:serviceaccount:images:runner"))
    assert "no key" in await why(tokens, ours)


async def test_a_changed_mapping_holds_at_once_for_known_tokens(tmp_path: Path, key: Key) -> None:
    (tmp_path / "keys.json").write_text(key_set(key))
    mapping = MAPPING.format(issuer="other", keys=tmp_path / "keys.json", customer=uuid4())
    tokens, sources = verifier(tmp_path, mapping)
    token = signed(key, claims(iss="other", aud="jobs.example", sub="system:serviceaccount:images:runner"))
    assert (await tokens.principal(token)).queues == frozenset({"images"})
    (tmp_path / "mapping.yaml").write_text(mapping.replace("[images]", "[thumbs]"))

    async def has_changed() -> bool:
        await sources.round()
        return (await tokens.principal(token)).queues == frozenset({"thumbs"})

    await until(has_changed)
    (tmp_path / "mapping.yaml").write_text("issuers: {}")

    async def is_refused() -> bool:
        await sources.round()
        return not await is_taken(tokens, token)

    await until(is_refused)
    (tmp_path / "mapping.yaml").write_text("issuers: [")
    await asyncio.sleep(0)
    await sources.round()
    assert await is_taken(tokens, signed(key, claims()))
