"""Enrolment tokens: created, typed, checked, spent."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.hosts import token_text
from receiver.hosts.enrolled import Added
from receiver.hosts.identity import Denied, Identity
from receiver.hosts.keys import HostKeys
from receiver.hosts.public_key import KeyRefused, parse_untrusted
from receiver.hosts.tokens import KEPT_SECONDS, KEY_BYTES_MAX, Token, TokenError, Tokens, key_lines_untrusted
from tests.receiver.hosts.conftest import Keys

NOW = 1_790_000_000.0
DAY = 86400.0
PEER = "10.0.0.7"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def tokens(state: Path) -> Tokens:
    return Tokens(state)


def made(tokens: Tokens, host: str | None = "web01", uses: int = 1) -> tuple[Token, str]:
    return tokens.create(host=host, uses=uses, expires_in_seconds=DAY, now=NOW)


def names(found: list[Identity]) -> list[str]:
    return [identity.name for identity in found]


def gets_in(state: Path, line: str, peer: str = PEER) -> str | None:
    found = HostKeys(state).find(parse_untrusted(line).fingerprint, peer)
    return found.name if isinstance(found, Identity) else None


def test_a_token_is_what_was_shown_and_nothing_else(tokens: Tokens) -> None:
    """One letter off is a wrong password."""
    token, text = made(tokens)
    assert tokens.check(text, NOW) == token
    other = "2" if text[-1] != "2" else "3"
    assert tokens.check(text[:-1] + other, NOW) == Denied("a wrong password: it is no token")
    assert isinstance(tokens.check("", NOW), Denied)
    assert isinstance(tokens.check("../../etc/passwd", NOW), Denied)


def test_a_token_may_be_typed_from_paper(tokens: Tokens) -> None:
    """Case, dashes and blanks do not matter, and no letter looks like another."""
    token, text = made(tokens)
    for typed in (
        text.upper(),
        text.replace("-", ""),
        f" {text.replace('-', ' ')}\n",
        text.replace("-", "--"),
    ):
        assert tokens.check(typed, NOW) == token
    assert not set("0o1il") & set(token_text.LETTERS)


def test_an_unknown_token_is_compared_like_a_known_one(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of the answer does not tell which ids there are."""
    _, text = made(tokens)
    compared: list[str] = []
    matches = token_text.matches

    def watched(salt: str, kept: str, secret: str) -> bool:
        compared.append(kept)
        return matches(salt, kept, secret)

    monkeypatch.setattr(token_text, "matches", watched)
    unknown = token_text.spell(token_text.new_id(), token_text.new_secret())
    for typed in (text, unknown, "hunter2", ""):
        tokens.check(typed, NOW)
    assert [len(kept) for kept in compared] == [64] * 4


def test_the_secret_is_nowhere_on_the_disk(tokens: Tokens, state: Path) -> None:
    """Who reads a backup cannot enrol a host."""
    _, text = made(tokens)
    secret = "".join(text.split("-")[2:])
    for path in state.rglob("*.json"):
        content = path.read_text()
        assert secret not in content
        assert text not in content


def test_a_token_ends_when_it_says(tokens: Tokens) -> None:
    """The last second still counts."""
    token, text = made(tokens)
    assert tokens.check(text, NOW + DAY - 1) == token
    assert tokens.check(text, NOW + DAY) == Denied(f"token {token.id} expired {token.expires}")


def test_logging_in_spends_nothing_a_stored_key_does(tokens: Tokens, keys: Keys, state: Path) -> None:
    """ssh-copy-id logs in up to three times to store one key."""
    token, text = made(tokens)
    for _ in range(3):
        assert tokens.check(text, NOW) == token
    assert names(tokens.enrol(token.id, keys.ed25519.encode(), PEER, NOW)) == ["web01"]
    assert gets_in(state, keys.ed25519) == "web01"
    assert tokens.check(text, NOW) == Denied(f"token {token.id} has no uses left")
    with pytest.raises(TokenError, match="no uses left"):
        tokens.enrol(token.id, keys.rsa.encode(), PEER, NOW)
    assert gets_in(state, keys.rsa) is None


def test_a_token_of_several_uses_enrols_several_keys(tokens: Tokens, keys: Keys) -> None:
    """One token for a rack."""
    token, _ = made(tokens, uses=2)
    for line in keys.more[:2]:
        tokens.enrol(token.id, line.encode(), PEER, NOW)
    with pytest.raises(TokenError, match="no uses left"):
        tokens.enrol(token.id, keys.more[2].encode(), PEER, NOW)


def test_a_revoked_or_expired_token_stores_nothing_even_mid_session(
    tokens: Tokens, keys: Keys, state: Path
) -> None:
    """The client may log in first and send its key later."""
    token, _ = made(tokens)
    with pytest.raises(TokenError, match="expired"):
        tokens.enrol(token.id, keys.rsa.encode(), PEER, NOW + DAY)
    assert tokens.revoke(token.id)
    assert not tokens.revoke(token.id)
    with pytest.raises(TokenError, match="was revoked"):
        tokens.enrol(token.id, keys.rsa.encode(), PEER, NOW)
    assert gets_in(state, keys.rsa) is None


def test_a_key_that_is_there_already_costs_no_use(tokens: Tokens, keys: Keys, state: Path) -> None:
    """`propagate` run twice is no mistake."""
    token, _ = made(tokens, uses=2)
    for _ in range(3):
        assert names(tokens.enrol(token.id, keys.ed25519.encode(), PEER, NOW)) == ["web01"]
    (left,) = tokens.all()
    assert left.uses_left == 1


def test_a_token_does_not_take_a_key_from_another_host(tokens: Tokens, keys: Keys, state: Path) -> None:
    """A public key is public: who sends it has not shown that it is his."""
    HostKeys(state).add("db01", keys.rsa)
    token, text = made(tokens)
    with pytest.raises(KeyRefused, match="already the key of db01"):
        tokens.enrol(token.id, keys.rsa.encode(), PEER, NOW)
    assert gets_in(state, keys.rsa) == "db01"
    assert tokens.check(text, NOW) == token, "a refused key costs nothing"


def test_several_keys_are_stored_all_or_none(tokens: Tokens, keys: Keys, state: Path) -> None:
    """One bad line: nothing stored, nothing spent."""
    token, text = made(tokens)
    for bad in (keys.weak_rsa, "nonsense\n", f'command="x" {keys.rsa}'):
        with pytest.raises(KeyRefused):
            tokens.enrol(token.id, f"{keys.ed25519}{bad}".encode(), PEER, NOW)
    assert gets_in(state, keys.ed25519) is None
    assert tokens.check(text, NOW) == token
    assert names(tokens.enrol(token.id, (keys.ed25519 + keys.rsa).encode(), PEER, NOW)) == ["web01"] * 2


def test_a_disk_that_fills_up_gives_the_use_back(
    tokens: Tokens, keys: Keys, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person at the host tries again."""
    token, text = made(tokens)

    def full(*_: object, **__: object) -> list[Added]:
        raise KeyRefused("no space")

    with monkeypatch.context() as patch:
        patch.setattr(HostKeys, "enrol", full)
        with pytest.raises(KeyRefused):
            tokens.enrol(token.id, keys.ed25519.encode(), PEER, NOW)
    assert tokens.check(text, NOW) == token


def test_an_unbound_host_is_named_by_its_address(tokens: Tokens, keys: Keys, state: Path) -> None:
    """What the client claims is a comment, no more."""
    token, _ = made(tokens, host=None, uses=3)
    assert names(tokens.enrol(token.id, keys.ed25519.encode(), PEER, NOW)) == [PEER]
    assert names(tokens.enrol(token.id, keys.rsa.encode(), "2001:db8::1", NOW)) == ["2001:db8::1"]
    assert HostKeys(state).host(PEER).keys[0].comment == "root@web01"
    with pytest.raises(TokenError, match="address is not known"):
        tokens.enrol(token.id, keys.ecdsa.encode(), "unknown", NOW)


def test_an_unbound_token_never_joins_a_host_that_is_there(tokens: Tokens, keys: Keys, state: Path) -> None:
    """Else a token for anybody would open everybody's name space, from a borrowed address."""
    HostKeys(state).add(PEER, keys.ed25519)
    token, _ = made(tokens, host=None, uses=5)
    assert names(tokens.enrol(token.id, keys.rsa.encode(), PEER, NOW)) == [f"{PEER}-2"]
    assert names(tokens.enrol(token.id, keys.ecdsa.encode(), PEER, NOW)) == [f"{PEER}-3"]
    # Nor in the company of a key that the host has: that key is public.
    with pytest.raises(KeyRefused, match=f"already the key of {PEER}"):
        tokens.enrol(token.id, (keys.ed25519 + keys.more[0]).encode(), PEER, NOW)
    assert [key.comment for key in HostKeys(state).host(PEER).keys] == ["root@web01"]


def test_a_host_that_is_enrolled_may_propagate_again_from_another_address(
    tokens: Tokens, keys: Keys, state: Path
) -> None:
    """It is let in already, under the name it has; unless its addresses forbid it."""
    HostKeys(state).add("web01", keys.ed25519)
    HostKeys(state).add("db01", keys.rsa, addresses=["10.0.0.1"])
    token, text = made(tokens, host=None)
    assert names(tokens.enrol(token.id, keys.ed25519.encode(), "10.9.9.9", NOW)) == ["web01"]
    with pytest.raises(KeyRefused, match=r"enrolled already, but .* may not come from 10.9.9.9"):
        tokens.enrol(token.id, keys.rsa.encode(), "10.9.9.9", NOW)
    assert tokens.check(text, NOW) == token


def test_a_second_key_of_a_host_is_told(tokens: Tokens, keys: Keys, state: Path) -> None:
    """A reinstalled host, or somebody else: the log has to show it."""
    HostKeys(state).add("web01", keys.ed25519)
    token, _ = made(tokens)
    (added,) = tokens.enrol(token.id, keys.rsa.encode(), PEER, NOW)
    assert added.detail == f"{parse_untrusted(keys.rsa).fingerprint} beside 1 other key(s), which stay valid"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "1 to 8 public keys"),
        (b"\n# none\n", "1 to 8 public keys"),
        (b"x\n" * 9, "1 to 8 public keys .* not 9"),
        (b"x" * (KEY_BYTES_MAX + 1), "bytes are too many"),
        (b"\xff\xfe\0\0", "not a public key"),
    ],
)
def test_a_clients_standard_input_is_bounded(data: bytes, reason: str) -> None:
    """It is read before anybody has looked at it."""
    with pytest.raises(KeyRefused, match=reason):
        key_lines_untrusted(data)


@given(st.binary(max_size=400))
def test_garbage_on_standard_input_raises_one_error(data: bytes) -> None:
    """Whatever a client with a token sends."""
    with contextlib.suppress(KeyRefused):
        key_lines_untrusted(data)


def test_the_same_key_twice_is_one(keys: Keys) -> None:
    """ssh-copy-id from an agent repeats itself."""
    assert len(key_lines_untrusted((keys.rsa + keys.rsa).encode())) == 1


@given(st.text(max_size=300))
def test_whatever_is_typed_is_a_token_or_not(typed: str) -> None:
    """No password breaks the parser, and ids are safe as file names."""
    found = token_text.parse_untrusted(typed)
    assert found is None or token_text.is_id(found[0])


def test_what_is_spelled_is_read_back() -> None:
    """Every token that is made can be typed."""
    for _ in range(1000):
        identifier, secret = token_text.new_id(), token_text.new_secret()
        assert token_text.parse_untrusted(token_text.spell(identifier, secret)) == (identifier, secret)


SPENDING = """
import sys
from pathlib import Path
from receiver.hosts.tokens import Tokens, TokenError

tokens = Tokens(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    identifier, key = line.split(" ", 1)
    try:
        tokens.enrol(identifier, key.encode(), "10.0.0.7", float(sys.argv[2]))
        print("stored", flush=True)
    except TokenError:
        print("refused", flush=True)
"""


def test_two_processes_cannot_both_spend_the_last_use(tokens: Tokens, keys: Keys, state: Path) -> None:
    """Two workers, one token, two keys at the same moment: one of them wins, every time."""
    command = [sys.executable, "-c", SPENDING, str(state), str(NOW)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for n in range(20):
            token, _ = made(tokens, host=f"host{n}")
            for process, line in zip(processes, keys.more[:2], strict=True):
                assert process.stdin is not None
                process.stdin.write(f"{token.id} {line}")
                process.stdin.flush()
            answers = []
            for process in processes:
                assert process.stdout is not None
                answers.append(process.stdout.readline())
            assert sorted(answers) == ["refused\n", "stored\n"]
            assert len(HostKeys(state).host(f"host{n}").keys) == 1
            HostKeys(state).remove(f"host{n}")
    finally:
        for process in processes:
            process.communicate(timeout=30)


def test_spending_ends_at_none(tokens: Tokens) -> None:
    """Uses are counted down on the disk."""
    token, _ = made(tokens, uses=2)
    assert [tokens.spend(token.id, NOW).uses_left for _ in range(2)] == [1, 0]
    with pytest.raises(TokenError, match="no uses left"):
        tokens.spend(token.id, NOW)
    with pytest.raises(TokenError, match="was revoked"):
        tokens.spend("222222", NOW)


def test_tokens_that_ended_long_ago_are_cleared_away(tokens: Tokens) -> None:
    """The list stays short without anybody's care; what just ended is still shown."""
    old, _ = made(tokens)
    later = NOW + DAY + 10
    assert [token.state(later) for token in tokens.all()] == ["expired"]
    new, _ = tokens.create(host=None, expires_in_seconds=DAY, now=later + KEPT_SECONDS)
    assert old.id != new.id
    assert tokens.all() == [new]


@pytest.mark.parametrize(("uses", "seconds"), [(0, 1.0), (1, 0.0), (1, -1.0), (1, 1e12)])
def test_a_token_that_is_of_no_use_is_not_made(tokens: Tokens, uses: int, seconds: float) -> None:
    """Nor one that outlives the machine."""
    with pytest.raises(TokenError):
        tokens.create(host=None, uses=uses, expires_in_seconds=seconds, now=NOW)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"id": 1}', "\0"])
def test_a_damaged_token_lets_nobody_in(tokens: Tokens, state: Path, content: str) -> None:
    """And can be revoked."""
    token, text = made(tokens)
    (state / "tokens" / f"{token.id}.json").write_text(content)
    found = tokens.check(text, NOW)
    assert isinstance(found, Denied)
    assert f"{token.id}.json" in found.reason
    assert tokens.all() == []
    assert tokens.revoke(token.id)
    assert not tokens.revoke("../hosts")
