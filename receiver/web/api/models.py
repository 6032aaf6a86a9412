"""What the API takes and gives. Records of the stores are given as they are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from receiver.catalogue.brief import Brief
from receiver.hosts.blocks import Block
from receiver.hosts.contacts import Contact
from receiver.spool.incoming import Incoming
from receiver.spool.manifest import Manifest, StoredFile
from receiver.spool.pins import NOTE_MAX
from receiver.triage.groups import Group, Repetition

Verdict = Literal["receiving", "complete", "truncated", "damaged", "unknown"]
PAGE_MAX = 1000


def _number(value: object) -> object:
    """Of a query's text only plain decimal digits are a number: no sign, no blank, no underscore."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("a number is wanted, in decimal digits")
    return value


Number = Annotated[int, BeforeValidator(_number)]
Limit = Annotated[Number, Field(ge=1, le=PAGE_MAX, description="At most this many.")]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class Input(BaseModel):
    """What a client says: a word that nobody knows is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DumpQuery(Input):
    """The filters of `kdump-receiver list`."""

    host: Word | None = Field(None, description="Only this host's.")
    since: Word | None = Field(None, description="Not older than: 2h, 3d, today, 2026-11-23T10:00.")
    verdict: Verdict | None = None
    group: Word | None = Field(None, description="Only of this group; a signature, which may be cut short.")
    limit: Limit = 100
    cursor: Word | None = Field(None, description="`next` of the page before.")


class GroupQuery(Input):
    """The filters of `kdump-receiver groups`."""

    host: Word | None = Field(None, description="Only crashes of this host.")
    since: Word | None = Field(None, description="Only crashes not older than.")
    limit: Limit = 1000


class RepetitionQuery(Input):
    """`kdump-receiver groups --by`."""

    by: Literal["reason", "host", "model"] | None = None


class HostQuery(Input):
    """A page of hosts, by name."""

    after: Word | None = Field(None, description="Only names behind this one.")
    limit: Limit = 1000


class EventQuery(Input):
    """Events, the oldest first."""

    after: Annotated[Number, Field(ge=0, le=2**62)] | None = Field(
        None, description="Only events behind this id; without it, the newest."
    )
    limit: Limit = 100
    name: Word | None = Field(None, description="Only of these names, with commas between: upload.finished")
    host: Word | None = None
    dump: Word | None = Field(None, description="Only of the dump of this whole id.")


class KeyInput(Input):
    """A host's public key, as `host add` takes it."""

    key: Annotated[str, Field(min_length=1, max_length=16 << 10)]
    addresses: Annotated[list[Word], Field(max_length=256)] = []
    shared: bool = False
    weak_rsa: bool = False


class KeyQuery(Input):
    """Which key; without it, all of them."""

    fingerprint: Word | None = None


class BlockInput(Input):
    """Why a host is shut out."""

    note: Annotated[str, Field(max_length=500)] = ""


class PinInput(Input):
    """Why a dump is kept."""

    note: Annotated[str, Field(max_length=NOTE_MAX)] = ""


class TokenInput(Input):
    """`token create`."""

    host: Word | None = None
    uses: Annotated[int, Field(ge=1, le=100_000)] = 1
    expires_in_seconds: Annotated[int, Field(ge=60, le=10 * 366 * 86400)] = 86_400
    note: Annotated[str, Field(max_length=500)] = ""


class DumpList(BaseModel):
    """A page of dumps, the newest first; `next` is the cursor of the page behind it."""

    dumps: list[Brief]
    next: str | None


class DumpDetail(BaseModel):
    """A dump, and the uploads that are on their way into it."""

    dump: Manifest
    receiving: list[Incoming]


class Files(BaseModel):
    """The files of a dump; `ours` are those that the receiver wrote beside them."""

    files: list[StoredFile]
    ours: list[str]


class Groups(BaseModel):
    """The groups of crashes, the most frequent first."""

    groups: list[Group]


class Repetitions(BaseModel):
    """What repeats, the most frequent first."""

    repetitions: list[Repetition]


class Key(BaseModel):
    """One of a host's keys."""

    fingerprint: str
    algorithm: str
    bits: int
    comment: str
    addresses: list[str]
    shared: bool
    added: str
    how: str


class HostView(BaseModel):
    """A host: its keys, when it was last here, whether it is shut out."""

    name: str
    keys: list[Key]
    damaged: list[str]
    block: Block | None
    contact: Contact | None


class Hosts(BaseModel):
    """A page of hosts, by name; `next` is the `after` of the page behind it."""

    hosts: list[HostView]
    next: str | None


class Removed(BaseModel):
    """The fingerprints of the keys that let nobody in any more."""

    removed: list[str]


class TokenView(BaseModel):
    """An enrolment token; never its secret."""

    id: str
    host: str | None
    state: Literal["usable", "used up", "expired"]
    uses: int
    uses_left: int
    expires: str
    created: str
    note: str


class TokenMade(TokenView):
    """A new token, with its text, this once."""

    token: str


class Tokens(BaseModel):
    """All enrolment tokens, the oldest first."""

    tokens: list[TokenView]


class Uploads(BaseModel):
    """The uploads under way."""

    uploads: list[Incoming]


class EventView(BaseModel):
    """Something that happened; `fields` are those of its line in the log."""

    id: int
    time: str
    name: str
    host: str | None
    dump: str | None
    fields: dict[str, Any]


class Events(BaseModel):
    """Events, the oldest first; `last` is the id to go on behind."""

    events: list[EventView]
    last: int


class Me(BaseModel):
    """Who asks. `csrf` is what a browser shows with whatever changes something."""

    name: str
    role: Literal["viewer", "operator"]
    how: Literal["machine", "cookie", "bearer"]
    csrf: str


class FieldError(BaseModel):
    """What does not fit, and where."""

    where: str
    reason: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldError] | None = None
